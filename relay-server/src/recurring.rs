//! What others can have happen as often as they like, and what is told of it nevertheless: the first few in full, and of the rest how many there were.
//!
//! It knows neither what is told nor where: `lines` bounds the log with it, `audit` the lines that agents cause. Pure but for a lock.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tunnel_delivery::Timestamp;

/// The most kinds that are counted apart, some 200 bytes each; all others together count as one.
const KINDS: usize = 1 << 14;

/// How many of a kind are told in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    /// At once, after a quiet time.
    pub(crate) at_once: u32,
    /// One more after each such time. Without it there are no more until it was quiet from one [`Recurring::left_out`] to the next.
    pub(crate) again: Option<Duration>,
}

/// What was not told of one kind since it was last asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut<K> {
    /// Nothing where there are more kinds than are counted apart.
    pub(crate) kind: Option<K>,
    /// How often it happened; 0 where something was left out before, and it has not happened since.
    pub(crate) times: u64,
    /// When the first of those was; where it happened no more, the last that was told.
    pub(crate) since: Timestamp,
}

/// Counts what recurs.
#[derive(Debug)]
pub(crate) struct Recurring<K> {
    kinds: usize,
    seen: Mutex<Seen<K>>,
}

#[derive(Debug)]
struct Seen<K> {
    all: HashMap<K, Count>,
    beyond: Option<(u64, Timestamp)>,
}

#[derive(Debug)]
struct Count {
    /// How many may still be told in full.
    credit: u32,
    /// What the next credit is counted from.
    credited: Timestamp,
    measure: Measure,
    left_out: u64,
    since: Timestamp,
    /// Something happened since the last look.
    moved: bool,
    /// Something was left out at some time.
    recurred: bool,
}

impl Count {
    fn refill(&mut self, now: Timestamp) {
        let Some(again) = self.measure.again else { return };
        let whole = now.since(self.credited).as_micros() / again.as_micros().max(1);
        if whole > 0 {
            let whole = u32::try_from(whole).unwrap_or(u32::MAX);
            self.credit = self.credit.saturating_add(whole).min(self.measure.at_once);
            // What is over of a time does not count: it is never more than is said, only sometimes less.
            self.credited = now;
        }
    }

    fn is_whole(&self) -> bool {
        self.measure.again.is_none() || self.credit >= self.measure.at_once
    }
}

impl<K> Default for Recurring<K> {
    fn default() -> Recurring<K> {
        Recurring { kinds: KINDS, seen: Mutex::new(Seen { all: HashMap::new(), beyond: None }) }
    }
}

impl<K: Clone + Eq + Hash> Recurring<K> {
    fn seen(&self) -> MutexGuard<'_, Seen<K>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It happened. Whether it is to be told in full; if not, it is counted.
    pub(crate) fn happened(&self, kind: &K, measure: Measure, now: Timestamp) -> bool {
        let mut seen = self.seen();
        if let Some(count) = seen.all.get_mut(kind) {
            count.refill(now);
            count.moved = true;
            if count.credit > 0 {
                count.credit -= 1;
                return true;
            }
            if count.left_out == 0 {
                count.since = now;
            }
            count.left_out += 1;
            count.recurred = true;
            return false;
        }
        if seen.all.len() >= self.kinds {
            seen.beyond.get_or_insert((0, now)).0 += 1;
            return false;
        }
        let credit = measure.at_once.saturating_sub(1);
        let count = Count { credit, credited: now, measure, left_out: 0, since: now, moved: true, recurred: false };
        seen.all.insert(kind.clone(), count);
        true
    }

    /// What was left out since the last time, and what has come to its end. To be called every now and then: what was quiet from one time to the next is
    /// forgotten, and is told in full when it happens again.
    pub(crate) fn left_out(&self, now: Timestamp) -> Vec<LeftOut<K>> {
        let mut out = Vec::new();
        let mut seen = self.seen();
        seen.all.retain(|kind, count| {
            count.refill(now);
            let gone = !count.moved && count.is_whole();
            if count.left_out > 0 || (gone && count.recurred) {
                out.push(LeftOut { kind: Some(kind.clone()), times: count.left_out, since: count.since });
            }
            (count.left_out, count.moved) = (0, false);
            !gone
        });
        out.extend(seen.beyond.take().map(|(times, since)| LeftOut { kind: None, times, since }));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    const ONCE: Measure = Measure { at_once: 1, again: None };

    #[test]
    fn a_state_is_told_at_its_beginning_counted_and_told_at_its_end() {
        let all = Recurring::default();
        assert!(all.happened(&"full", ONCE, at(1)));
        for second in 2..50 {
            assert!(!all.happened(&"full", ONCE, at(second)));
        }
        assert_eq!(all.left_out(at(60)), [LeftOut { kind: Some("full"), times: 48, since: at(2) }]);
        assert!(!all.happened(&"full", ONCE, at(61)), "it still is as it was");
        assert_eq!(all.left_out(at(120)), [LeftOut { kind: Some("full"), times: 1, since: at(61) }]);
        assert_eq!(all.left_out(at(180)), [LeftOut { kind: Some("full"), times: 0, since: at(61) }], "it has ended");
        assert_eq!(all.left_out(at(240)), []);
        assert!(all.happened(&"full", ONCE, at(241)));
        assert_eq!(all.left_out(at(300)), [], "what was told in full is not told twice");
        assert_eq!(all.left_out(at(360)), [], "and what did not recur has no end to tell");
    }

    #[test]
    fn what_comes_now_and_then_is_always_told() {
        let all = Recurring::default();
        let measure = Measure { at_once: 2, again: Some(Duration::from_secs(60)) };
        for n in 0..100 {
            assert!(all.happened(&(), measure, at(n * 60)));
            assert_eq!(all.left_out(at(n * 60 + 30)), []);
        }
        let told = (0..600).filter(|n| all.happened(&(), measure, at(100_000 + n))).count();
        assert_eq!(told, 2 + 9, "two at once, and one each minute after");
        assert_eq!(all.left_out(at(100_600))[0].times, 600 - 11);
    }

    #[test]
    fn however_many_kinds_there_are_memory_is_bounded() {
        let all = Recurring { kinds: 3, ..Recurring::default() };
        let told = (0..10).filter(|kind| all.happened(kind, ONCE, at(1))).count();
        assert_eq!((told, all.seen().all.len()), (3, 3));
        assert_eq!(all.left_out(at(2)), [LeftOut { kind: None, times: 7, since: at(1) }]);
        assert_eq!(all.left_out(at(3)), []);
        assert!(all.happened(&9, ONCE, at(4)), "there is room again");
    }

    proptest! {
        /// Whatever happens when: each is either told or counted, once.
        #[test]
        fn nothing_is_lost_and_nothing_told_twice(
            events in proptest::collection::vec((0u8..4, 0i64..100, any::<bool>()), 0..200), at_once in 1u32..4, again in proptest::option::of(1u64..100),
        ) {
            let measure = Measure { at_once, again: again.map(Duration::from_secs) };
            let all = Recurring { kinds: 3, ..Recurring::default() };
            let (mut told, mut counted) = (0, 0);
            for (kind, second, look) in &events {
                told += u64::from(all.happened(kind, measure, at(*second)));
                if *look {
                    counted += all.left_out(at(*second)).iter().map(|l| l.times).sum::<u64>();
                }
            }
            counted += all.left_out(at(100)).iter().map(|l| l.times).sum::<u64>();
            prop_assert_eq!(told + counted, events.len() as u64);
        }
    }
}
