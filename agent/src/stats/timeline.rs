//! How deliveries lie in time: buckets of a length that grows with the time between the first and the last, so that their number stays
//! bounded, whatever order they come in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tunnel_delivery::Timestamp;

/// Lengths of buckets that people read easily, in seconds; each is a multiple of the one before it.
const STEPS: [i64; 11] = [60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_419_200, 31_449_600];
/// The most buckets while counting.
const MOST: usize = 1000;

/// A part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// When it begins.
    pub from: Timestamp,
    /// How long it is, in seconds.
    pub seconds: u64,
    /// Deliveries received in it.
    pub deliveries: u64,
    /// Of how many of them the last attempt failed.
    pub failed: u64,
}

/// Deliveries by time.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Which of the steps the buckets have.
    step: usize,
    /// By number since 1970.
    buckets: BTreeMap<i64, (u64, u64)>,
}

impl Timeline {
    /// One more.
    pub fn add(&mut self, at: Timestamp, failed: bool) {
        self.put(at.as_micros().div_euclid(1_000_000).div_euclid(STEPS[self.step]), (1, u64::from(failed)));
        if self.buckets.len() > MOST {
            self.coarser();
        }
    }

    fn put(&mut self, bucket: i64, (deliveries, failed): (u64, u64)) {
        let count = self.buckets.entry(bucket).or_default();
        count.0 += deliveries;
        count.1 += failed;
    }

    /// Goes to the next step; at the last there is none, and `false`.
    fn coarser(&mut self) -> bool {
        let Some(next) = STEPS.get(self.step + 1) else { return false };
        let times = next / STEPS[self.step];
        self.step += 1;
        for (bucket, count) in std::mem::take(&mut self.buckets) {
            self.put(bucket.div_euclid(times), count);
        }
        true
    }

    /// From the first to the last without a gap, in at most so many buckets where the steps reach so far.
    pub fn done(mut self, most: usize) -> Vec<Bucket> {
        let long = |buckets: &BTreeMap<i64, _>| match (buckets.keys().next(), buckets.keys().next_back()) {
            (Some(first), Some(last)) => last - first + 1,
            _ => 0,
        };
        while usize::try_from(long(&self.buckets)).is_ok_and(|n| n > most) && self.coarser() {}
        let (Some(first), Some(last)) = (self.buckets.keys().next(), self.buckets.keys().next_back()) else {
            return Vec::new();
        };
        let seconds = STEPS[self.step];
        // Where even the longest step is too short for a hostile clock, what is far away is left to its own bucket.
        let gapless = usize::try_from(last - first).is_ok_and(|n| n < MOST);
        let numbers: Vec<i64> =
            if gapless { (*first..=*last).collect() } else { self.buckets.keys().copied().collect() };
        numbers
            .into_iter()
            .map(|n| {
                let (deliveries, failed) = self.buckets.get(&n).copied().unwrap_or_default();
                let from = Timestamp::from_micros(n.saturating_mul(seconds).saturating_mul(1_000_000));
                Bucket { from, seconds: seconds.unsigned_abs(), deliveries, failed }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_step_is_a_multiple_of_the_one_before() {
        assert!(STEPS.windows(2).all(|w| w[1] % w[0] == 0 && w[1] > w[0]));
    }

    proptest! {
        #[test]
        fn everything_is_in_its_bucket(
            seconds in proptest::collection::vec(0i64..100_000_000, 1..3000), most in 1usize..60
        ) {
            let mut timeline = Timeline::default();
            for s in &seconds {
                timeline.add(Timestamp::from_micros(1_700_000_000_000_000 + s * 1_000_000), s % 3 == 0);
            }
            let buckets = timeline.done(most);
            prop_assert!(buckets.len() <= most.max(6), "{}", buckets.len());
            for b in &buckets {
                let from = b.from.as_micros() / 1_000_000 - 1_700_000_000;
                let within = seconds.iter().filter(|s| (from..from + b.seconds as i64).contains(s));
                prop_assert_eq!(within.clone().count() as u64, b.deliveries);
                prop_assert_eq!(within.filter(|s| *s % 3 == 0).count() as u64, b.failed);
            }
        }

        #[test]
        fn any_time_is_taken(all in proptest::collection::vec(any::<i64>(), 0..50)) {
            let mut timeline = Timeline::default();
            all.iter().for_each(|us| timeline.add(Timestamp::from_micros(*us), false));
            prop_assert_eq!(timeline.done(40).iter().map(|b| b.deliveries).sum::<u64>(), all.len() as u64);
        }
    }
}
