//! From measurements to figures: rates, percentiles, and ratios taken turn by turn. It owns no measurement.

use std::time::{Duration, Instant};

use crate::error::BenchError;

/// In how many turns what takes no disk and no network is measured.
pub(crate) const TURNS: usize = 5;

/// How often the clock is read while something quick is repeated: rarely enough not to be measured itself.
const CLOCK_EVERY: Duration = Duration::from_micros(200);

/// How often per second `call` can be made, one after the other, tried for about `limit`.
pub(crate) fn rate(limit: Duration, call: &mut dyn FnMut() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut done = 0u64;
    let mut batch = 1u64;
    loop {
        for _ in 0..batch {
            call()?;
        }
        done += batch;
        let took = start.elapsed();
        if took >= limit {
            return Ok(done as f64 / took.as_secs_f64());
        }
        // Doubling at most: the first calls are slower than the rest.
        let wanted = CLOCK_EVERY.as_secs_f64() * done as f64 / took.as_secs_f64().max(1e-9);
        batch = (wanted as u64).clamp(1, batch * 2);
    }
}

/// Rates of several things that were measured in turns. The first is usually the baseline.
#[derive(Default)]
pub(crate) struct Turns(Vec<Vec<f64>>);

impl Turns {
    /// Measures these calls in [`TURNS`] turns.
    pub(crate) fn measure(
        turn: Duration,
        calls: &mut [&mut dyn FnMut() -> Result<(), BenchError>],
    ) -> Result<Turns, BenchError> {
        let mut turns = Turns::default();
        for _ in 0..TURNS {
            let mut rates = Vec::with_capacity(calls.len());
            for call in &mut *calls {
                rates.push(rate(turn, call)?);
            }
            turns.add(rates);
        }
        Ok(turns)
    }

    /// Adds a turn: one rate for each thing, always in the same order.
    pub(crate) fn add(&mut self, rates: Vec<f64>) {
        self.0.push(rates);
    }

    /// The median rate of the thing at `at`; nothing if it was never measured.
    pub(crate) fn rate(&self, at: usize) -> Option<f64> {
        median(self.0.iter().filter_map(|turn| turn.get(at).copied()).collect())
    }

    /// The median of the turns' ratios of the thing at `at` to the one at `base`.
    pub(crate) fn ratio(&self, at: usize, base: usize) -> Option<f64> {
        median(self.0.iter().filter_map(|turn| Some(turn.get(at)? / turn.get(base)?)).collect())
    }
}

/// The middle one, or the mean of the two in the middle; what is not finite does not count.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

/// The smallest of the values that at least `percent` of them do not exceed (nearest rank); nothing of none.
pub(crate) fn percentile(sorted: &[u32], percent: f64) -> Option<u32> {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// A percentile of times in microseconds, in milliseconds.
pub(crate) fn percentile_ms(sorted: &[u32], percent: f64) -> Option<f64> {
    percentile(sorted, percent).map(|micros| f64::from(micros) / 1000.0)
}

/// A duration in whole microseconds; more than an hour is an hour.
pub(crate) fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX).min(3_600_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50.0), Some(50));
        assert_eq!(percentile(&hundred, 99.0), Some(99));
        assert_eq!(percentile(&hundred, 100.0), Some(100));
        assert_eq!(percentile(&hundred, 0.0), Some(1));
        assert_eq!(percentile(&[1, 2, 3, 4], 50.0), Some(2));
        assert_eq!(percentile(&[7], 99.0), Some(7));
        assert_eq!(percentile(&[], 50.0), None);
        assert_eq!(percentile_ms(&[1500], 50.0), Some(1.5));
    }

    #[test]
    fn a_median_is_of_what_is_finite() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, f64::INFINITY, f64::NAN]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_turn() {
        let mut turns = Turns::default();
        // The machine halves its speed in the second turn: the ratio stays.
        for turn in [[100.0, 50.0], [50.0, 25.0], [100.0, 50.0]] {
            turns.add(turn.to_vec());
        }
        assert_eq!((turns.rate(0), turns.ratio(1, 0)), (Some(100.0), Some(0.5)));
        turns.add(vec![0.0, 10.0]);
        assert_eq!(turns.ratio(1, 0), Some(0.5));
        assert_eq!(turns.rate(2), None);
    }

    #[test]
    fn a_rate_is_bounded_by_time_and_ends_with_an_error() {
        assert!(rate(Duration::from_millis(2), &mut || Ok(())).is_ok_and(|rate| rate > 0.0));
        let mut calls = 0u32;
        let made = rate(Duration::from_secs(600), &mut || {
            calls += 1;
            if calls < 1000 { Ok(()) } else { Err(BenchError::Interrupted) }
        });
        assert!(made.is_err() && calls == 1000, "{calls}");
    }
}
