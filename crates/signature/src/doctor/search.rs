//! The search for the smallest change that makes a signature hold: nothing, then one change, then two, within a fixed budget of MACs.
//! What it finds is a hint. It makes no verdict, and has no type from which one could be made.

use std::ops::RangeInclusive;

use crate::Reading;
use crate::doctor::cause::Cause;
use crate::doctor::changes::{Change, Source, changes};
use crate::doctor::draft::{Draft, Part, Sets};
use crate::doctor::keys::Candidate;
use crate::doctor::loose::Mac;
use crate::mac::Key;

/// The most MACs that one diagnosis computes.
pub const MAX_MACS: usize = 100_000;
/// The most bytes that they are computed of: with the longest of headers fewer strings can be tried.
pub const MAX_MAC_BYTES: usize = 64 * 1024 * 1024;

/// What is left of the budget.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) macs: usize,
    bytes: usize,
    /// Something was left untried.
    pub(crate) exhausted: bool,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { macs: MAX_MACS, bytes: MAX_MAC_BYTES, exhausted: false }
    }
}

impl Budget {
    fn mac_is(&mut self, key: &Key, signed: &[u8], mac: &Mac) -> bool {
        // At most four blocks besides the message's own.
        let bytes = signed.len() + 256;
        match (self.macs.checked_sub(1), self.bytes.checked_sub(bytes)) {
            (Some(macs), Some(bytes)) => {
                (self.macs, self.bytes) = (macs, bytes);
                key.mac_is(signed, &mac.bytes)
            }
            _ => {
                self.exhausted = true;
                false
            }
        }
    }
}

/// A change, or none, or two, with which the signature holds.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) reading: Reading,
    /// The label of the secret.
    pub(crate) secret: String,
    pub(crate) causes: Vec<Cause>,
    /// What was signed.
    pub(crate) signed: Vec<u8>,
    /// What the same reading gives of the delivery as it arrived.
    pub(crate) arrived: Vec<u8>,
}

/// What is searched in.
pub(crate) struct Space<'a> {
    pub(crate) drafts: &'a [Draft],
    pub(crate) keys: &'a [Candidate],
    pub(crate) macs: &'a [Mac],
    pub(crate) source: &'a Source<'a>,
    /// Where the body is not the one that was signed, the lengths that one may have had.
    pub(crate) unknown_length: Option<RangeInclusive<usize>>,
    /// The reading that matched before: its string is tried before other variants.
    pub(crate) before: Option<Reading>,
}

impl Space<'_> {
    /// The smallest change there is, of at most that many (up to two).
    pub(crate) fn search(&self, most: usize, budget: &mut Budget) -> Option<Found> {
        if self.macs.is_empty() {
            return None;
        }
        if let Some(found) = self.drafts.iter().find_map(|draft| self.with(draft, &[], 0, budget)) {
            return Some(found);
        }
        if let Some(found) = self.drafts.iter().find_map(|draft| self.of_another_length(draft, budget)) {
            return Some(found);
        }
        if let Some(found) = self.drafts.iter().find_map(|draft| self.with(draft, &[], 1, budget)) {
            return Some(found);
        }
        let mut all = Vec::with_capacity(self.drafts.len());
        for draft in self.drafts {
            let changes = changes(draft, self.source);
            if let Some(found) = changes.iter().find_map(|change| self.with(draft, &[change], 0, budget)) {
                return Some(found);
            }
            all.push((draft, changes));
        }
        if most == 1 {
            return None;
        }
        // Two changes: the reading that is known to be the sender's and the plain ones before the variants.
        let known = |draft: &Draft| draft.is_plain() || self.before.is_some_and(|before| draft.is_string_of(before));
        let (likely, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(draft, _)| known(draft));
        self.two_changes(&likely, budget).or_else(|| self.two_changes(&others, budget))
    }

    /// Whether the draft is what was signed of a body that had another length.
    fn of_another_length(&self, draft: &Draft, budget: &mut Budget) -> Option<Found> {
        draft.slot(Part::Length)?;
        self.unknown_length.clone()?.find_map(|length| {
            let sets = vec![(Part::Length, Some(length.to_string().into_bytes()))];
            self.with(draft, &[&Change { cause: Cause::BodyChanged, sets }], 0, budget)
        })
    }

    fn two_changes(&self, drafts: &[(&Draft, Vec<Change>)], budget: &mut Budget) -> Option<Found> {
        if let Some(found) = drafts.iter().find_map(|(draft, _)| self.with(draft, &[], 2, budget)) {
            return Some(found);
        }
        for (draft, changes) in drafts {
            if let Some(found) = changes.iter().find_map(|change| self.with(draft, &[change], 1, budget)) {
                return Some(found);
            }
        }
        for (draft, changes) in drafts {
            for (at, first) in changes.iter().enumerate() {
                for second in changes[at + 1..].iter().filter(|second| first.goes_with(second)) {
                    if budget.exhausted {
                        return None;
                    }
                    if let Some(found) = self.with(draft, &[first, second], 0, budget) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }

    /// Whether the draft with these changes is what was signed, with keys and MACs that are together exactly so many changes more.
    fn with(&self, draft: &Draft, changes: &[&Change], more: usize, budget: &mut Budget) -> Option<Found> {
        let sets: Vec<&Sets> = changes.iter().map(|change| &change.sets).collect();
        let mut signed = None;
        for mac in self.macs.iter().filter(|mac| self.belongs(draft, mac)) {
            for key in self.keys {
                if usize::from(mac.form.is_some()) + usize::from(key.cause.is_some()) != more {
                    continue;
                }
                let signed = signed.get_or_insert_with(|| draft.render(&sets));
                if budget.mac_is(&key.key, signed, mac) {
                    let causes = changes.iter().map(|change| change.cause.clone());
                    let causes = causes.chain(key.cause.clone()).chain(mac.form.map(Cause::SignatureForm));
                    return Some(Found {
                        reading: mac.encoding.map_or(draft.reading, |encoding| draft.reading.encoded_as(encoding)),
                        secret: key.label.clone(),
                        causes: causes.collect(),
                        signed: std::mem::take(signed),
                        arrived: draft.render(&[]),
                    });
                }
            }
        }
        None
    }

    /// In `rfc9421` a MAC is tried on the string of its own label, where there is one.
    fn belongs(&self, draft: &Draft, mac: &Mac) -> bool {
        draft.label.is_none()
            || draft.label == mac.label
            || !self.drafts.iter().any(|other| other.label.is_some() && other.label == mac.label)
    }
}

impl Draft {
    fn is_plain(&self) -> bool {
        self.reading == Reading::plain(self.reading.profile())
    }

    fn is_string_of(&self, reading: Reading) -> bool {
        self.reading == reading.encoded_as(Reading::plain(reading.profile()).encoding())
    }
}
