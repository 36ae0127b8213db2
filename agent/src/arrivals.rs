//! What an agent stored since it started, in that order: so that whoever follows can go on from where it was, whatever it missed.
//!
//! Ids only, and only in memory; the deliveries are in the archive.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tunnel_delivery::DeliveryId;

/// How many ids are kept: some 2 MiB, and at 1,000 deliveries a second more than a minute.
pub const KEPT: usize = 65_536;

/// A place in the arrivals of one agent process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which process. The default, 0, is none, so that its place is before everything that any agent stores.
    pub epoch: u64,
    /// Everything up to this number, from 1, lies behind.
    pub after: u64,
}

/// What came after a place.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The ids, oldest first.
    pub ids: Vec<DeliveryId>,
    /// How many came before them that are not known any more.
    pub missed: u64,
}

/// The arrivals of this process.
#[derive(Debug)]
pub struct Arrivals {
    epoch: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    ids: VecDeque<DeliveryId>,
    last: u64,
}

impl Arrivals {
    /// None yet. `epoch` is chosen at random by the caller; 0 is taken for 1.
    pub fn new(epoch: u64) -> Arrivals {
        Arrivals { epoch: epoch.max(1), kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here can panic half-way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more came. `tell` gets its number, in order of the numbers.
    pub(crate) fn push(&self, id: DeliveryId, tell: impl FnOnce(u64)) {
        let mut kept = self.lock();
        if kept.ids.len() == KEPT {
            kept.ids.pop_front();
        }
        kept.ids.push_back(id);
        kept.last += 1;
        tell(kept.last);
    }

    /// How many came so far.
    pub fn count(&self) -> u64 {
        self.lock().last
    }

    /// Where a follower goes on that was at `from`: now if it was nowhere, and at the start if it followed another process.
    pub fn resume(&self, from: Option<Place>) -> Place {
        let last = self.lock().last;
        let after = match from {
            None => last,
            Some(place) if place.epoch == self.epoch => place.after.min(last),
            Some(_) => 0,
        };
        Place { epoch: self.epoch, after }
    }

    /// At most `most` that came after the number.
    pub fn after(&self, number: u64, most: usize) -> Arrived {
        let kept = self.lock();
        let first = kept.last - kept.ids.len() as u64;
        let missed = first.saturating_sub(number);
        // No more than KEPT.
        let skip = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        Arrived { ids: kept.ids.iter().skip(skip).take(most).copied().collect(), missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::Timestamp;

    fn id(n: usize) -> DeliveryId {
        DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000 + n as i64 * 1000))
    }

    #[test]
    fn places_hold_within_a_process_and_begin_anew_with_the_next() {
        let arrivals = Arrivals::new(7);
        for n in 1..=5 {
            arrivals.push(id(n), |number| assert_eq!(number, n as u64));
        }
        assert_eq!(arrivals.resume(None), Place { epoch: 7, after: 5 });
        assert_eq!(arrivals.resume(Some(Place { epoch: 7, after: 2 })).after, 2);
        assert_eq!(arrivals.resume(Some(Place { epoch: 7, after: 99 })).after, 5);
        assert_eq!(arrivals.resume(Some(Place { epoch: 8, after: 2 })), Place { epoch: 7, after: 0 });
        assert_eq!(arrivals.resume(Some(Place::default())).after, 0);
        assert_eq!(arrivals.after(2, 2), Arrived { ids: vec![id(3), id(4)], missed: 0 });
        assert_eq!(arrivals.after(5, 2), Arrived { ids: vec![], missed: 0 });
    }

    #[test]
    fn what_is_not_known_any_more_is_counted() {
        let arrivals = Arrivals::new(0);
        assert_ne!(arrivals.resume(None).epoch, 0);
        for n in 1..=KEPT + 3 {
            arrivals.push(id(n), |_| ());
        }
        assert_eq!(arrivals.after(1, 1), Arrived { ids: vec![id(4)], missed: 2 });
        assert_eq!(arrivals.after(3, 1), Arrived { ids: vec![id(4)], missed: 0 });
    }
}
