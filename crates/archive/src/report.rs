//! What a check finds, and how far one is: types only.

use tunnel_delivery::DeliveryId;

use crate::rescue::Salvage;

/// How many ids of each kind a report names.
pub const NAMED: usize = 20;

/// How far a check, a rescue or a repair is. The unit is records, index entries or bytes, whichever the step reads; only the ratio
/// means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is done now, as an active participle: `reading deliveries`, `reading indexes` …
    pub step: &'static str,
    /// How much of the step is done.
    pub done: u64,
    /// How much there is, as far as it is known.
    pub total: u64,
}

/// Ids: how many there are, and the first few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// How many there are.
    pub count: u64,
    /// The first [`NAMED`] of them.
    pub first: Vec<DeliveryId>,
}

impl Named {
    /// Notes one more; an id that was noted last is not noted twice.
    pub(crate) fn note(&mut self, id: DeliveryId) {
        if self.first.last() == Some(&id) {
            return;
        }
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(id);
        }
    }
}

/// What a check found. [`Report::is_sound`] tells whether anything is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many deliveries were read whole.
    pub deliveries: u64,
    /// How many of their attempts.
    pub attempts: u64,
    /// How many bytes of bodies, each compared with its SHA-256.
    pub body_bytes: u64,
    /// How many index entries were compared with their deliveries.
    pub index_entries: u64,
    /// Why the store could not be opened or read to its end; what is counted above was read before that.
    pub unreadable: Option<String>,
    /// Deliveries whose line cannot be read: nothing is known of them but the id.
    pub lines: Named,
    /// Deliveries whose request is missing or cannot be read.
    pub requests: Named,
    /// Deliveries whose body is not what its SHA-256 says.
    pub bodies: Named,
    /// Deliveries that lack an attempt, or have one that cannot be read.
    pub attempts_unreadable: Named,
    /// Deliveries whose note cannot be read.
    pub notes: Named,
    /// Deliveries that an index lacks: a list may not show them.
    pub unindexed: Named,
    /// Deliveries that an index names, but which are not there, or not so.
    pub misindexed: Named,
    /// Requests, attempts and notes of deliveries that are not there.
    pub orphans: Named,
    /// What [`crate::rescue()`] would save of a store that cannot be read to its end.
    pub salvage: Option<Salvage>,
    /// The totals that the store keeps and what was counted, where they differ.
    pub totals: Option<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        let named = [
            &self.lines,
            &self.requests,
            &self.bodies,
            &self.attempts_unreadable,
            &self.notes,
            &self.unindexed,
            &self.misindexed,
            &self.orphans,
        ];
        self.unreadable.is_none() && self.totals.is_none() && named.iter().all(|n| n.count == 0)
    }

    /// What is wrong, one sentence each, without the ids.
    pub fn findings(&self) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(self.unreadable.as_ref().map(|why| format!("the store cannot be read to its end: {why}")));
        for (named, what) in [
            (&self.lines, "whose line cannot be read"),
            (&self.requests, "whose request is missing or cannot be read"),
            (&self.bodies, "whose body does not have its SHA-256"),
            (&self.attempts_unreadable, "with an attempt that is missing or cannot be read"),
            (&self.notes, "whose note cannot be read"),
            (&self.unindexed, "that an index lacks"),
            (&self.misindexed, "that an index names wrongly"),
            (&self.orphans, "of which only parts are there"),
        ] {
            match named.count {
                0 => {}
                1 => all.push(format!("1 delivery {what}")),
                n => all.push(format!("{n} deliveries {what}")),
            }
        }
        all.extend(self.totals.clone());
        all
    }
}
