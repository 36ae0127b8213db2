//! How long many things took: a histogram with steps of some 3 %, from which quantiles are read. It holds at most a few hundred numbers,
//! however many things it counted.

use std::collections::BTreeMap;

/// Steps within a power of two. What is below that is counted exactly.
const STEPS: u64 = 32;

/// A histogram of microseconds.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    buckets: BTreeMap<u16, u64>,
    count: u64,
    max: u64,
}

impl Durations {
    /// One more, in microseconds.
    pub fn add(&mut self, micros: u64) {
        *self.buckets.entry(bucket(micros)).or_default() += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// What a share of them did not exceed, within 1 in 32; nothing where there are none.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        // There are not so many that a float would not hold their number.
        let wanted = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut before = 0;
        self.buckets.iter().find_map(|(bucket, count)| {
            before += count;
            (before >= wanted).then(|| upper(*bucket).min(self.max))
        })
    }

    /// The longest.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }
}

fn bucket(micros: u64) -> u16 {
    if micros < STEPS {
        return micros as u16;
    }
    // The power of two, and the five bits behind its first.
    let power = u64::from(micros.ilog2());
    let step = (micros >> (power - 5)) - STEPS;
    ((power - 4) * STEPS + step) as u16
}

/// The greatest number of a bucket.
fn upper(bucket: u16) -> u64 {
    let (power, step) = (u64::from(bucket) / STEPS, u64::from(bucket) % STEPS);
    if power == 0 {
        return step;
    }
    let next = u128::from(STEPS + step + 1) << (power - 1);
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_in_its_bucket_and_that_is_narrow(micros: u64) {
            let top = upper(bucket(micros));
            prop_assert!(top >= micros && top - micros <= micros / STEPS, "{} {}", micros, top);
            prop_assert!(top == u64::MAX || bucket(top + 1) == bucket(micros) + 1);
        }

        #[test]
        fn quantiles_are_those_of_the_numbers(mut all in proptest::collection::vec(0u64..10_000_000, 1..200), share in 0.0f64..1.0) {
            let mut durations = Durations::default();
            all.iter().for_each(|n| durations.add(*n));
            all.sort_unstable();
            let exact = all[((all.len() as f64 * share).ceil() as usize).clamp(1, all.len()) - 1];
            let told = durations.quantile(share).unwrap();
            prop_assert!(told >= exact && told - exact <= exact / STEPS, "{} for {}", told, exact);
        }
    }

    #[test]
    fn of_nothing_there_is_nothing() {
        assert_eq!((Durations::default().quantile(0.5), Durations::default().max()), (None, None));
    }
}
