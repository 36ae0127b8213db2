//! What came of a replay, counted. Pure, and of the same size however many there were.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tunnel_delivery::{AnswerClass, Attempt, DeliveryId};

use crate::control::ControlError;

/// The most reasons that are told apart.
const MOST_REASONS: usize = 20;

/// What came of a replay.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Deliveries of which something was sent, or was to be.
    pub deliveries: u64,
    /// Requests that were made, every try counted.
    pub sent: u64,
    /// Requests of the course that were answered 2xx in the end.
    pub ok: u64,
    /// Those that were not, or could not be sent.
    pub failed: u64,
    /// Answers 2xx, every try counted.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// Answers 3xx.
    #[serde(rename = "3xx")]
    pub redirect: u64,
    /// Answers 4xx.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// Answers 5xx, and what is no status.
    #[serde(rename = "5xx")]
    pub server_error: u64,
    /// Tries without a whole answer, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Of those, how many because nobody was there.
    #[serde(skip)]
    pub unreachable: u64,
    /// Half of the tries took no longer than that, in milliseconds, to one per cent.
    pub p50_ms: Option<f64>,
    /// All but one of a hundred took no longer.
    pub p99_ms: Option<f64>,
    /// How long all of it took.
    pub duration_ms: f64,
    /// Left out by chaos.
    pub dropped: u64,
    /// Could not be sent at all: why, and how many.
    pub not_sent: BTreeMap<String, u64>,
    /// Had not succeeded when it was interrupted, and were to be tried again.
    pub given_up: u64,
    /// What chaos came from.
    pub seed: Option<u64>,
    /// It was stopped before its end: what is left.
    pub left: Option<Left>,
    /// What ended it.
    #[serde(skip)]
    pub broke: Option<ControlError>,
    /// What could not be sent first, with what to do about it.
    #[serde(skip)]
    pub refused: Option<ControlError>,
    #[serde(skip)]
    pub(crate) durations: Durations,
}

/// What a replay that was stopped did not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// So many requests.
    pub requests: u64,
    /// Or more: they could not all be counted.
    pub or_more: bool,
    /// The delivery behind which they begin; `None` where nothing was sent, or where chaos has another order.
    pub after: Option<DeliveryId>,
    /// So many deliveries were wanted behind it, where a number was.
    pub limit: Option<u64>,
    /// How many of the course were sent before.
    pub skip: u64,
}

impl Summary {
    /// An attempt was made.
    pub fn tried(&mut self, attempt: &Attempt) {
        self.sent += 1;
        self.durations.add(attempt.duration);
        match (AnswerClass::of(attempt), &attempt.error) {
            (_, Some(e)) => {
                use tunnel_delivery::ErrorKind::{Connect, Resolve, Tls};
                self.unreachable += u64::from(matches!(e.kind, Connect | Resolve | Tls));
                *self.errors.entry(e.kind.as_str()).or_default() += 1;
            }
            (AnswerClass::Success, None) => self.success += 1,
            (AnswerClass::Redirect, None) => self.redirect += 1,
            (AnswerClass::Refused, None) => self.client_error += 1,
            _ => self.server_error += 1,
        }
    }

    /// One could not be sent.
    pub fn refused(&mut self, why: &ControlError) {
        if self.refused.is_none() {
            self.refused = Some(why.clone());
        }
        let known = self.not_sent.contains_key(&why.message) || self.not_sent.len() < MOST_REASONS;
        let reason = if known { why.message.clone() } else { "other reasons".to_owned() };
        *self.not_sent.entry(reason).or_default() += 1;
    }

    /// It is over after so long.
    pub fn end(&mut self, took: Duration) {
        self.duration_ms = took.as_micros() as f64 / 1000.0;
        self.p50_ms = self.durations.share(0.5);
        self.p99_ms = self.durations.share(0.99);
    }

    /// Tries without a whole answer.
    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Lengths of time in steps of less than one per cent, in 40 KB.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Durations {
    counts: Vec<u64>,
    all: u64,
}

impl std::fmt::Debug for Durations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Durations({})", self.all)
    }
}

/// Each doubling has so many steps, and what is below that many microseconds one each.
const STEPS: u64 = 128;

impl Durations {
    fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = step(micros);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.all += 1;
    }

    /// What that share of them is not longer than, in milliseconds.
    fn share(&self, share: f64) -> Option<f64> {
        let wanted = ((self.all as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(greatest(at) as f64 / 1000.0)
    }
}

fn step(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let doublings = u64::from(micros.ilog2() - STEPS.ilog2());
    ((doublings + 1) * STEPS + ((micros >> doublings) - STEPS)) as usize
}

/// The greatest number of microseconds in a step.
fn greatest(step: usize) -> u64 {
    let step = step as u64;
    if step < STEPS {
        return step;
    }
    let doublings = step / STEPS - 1;
    (((STEPS + step % STEPS + 1) as u128) << doublings).saturating_sub(1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_length_is_told_to_one_per_cent(micros: u64) {
            let told = greatest(step(micros));
            prop_assert!(told >= micros && told - micros <= micros / 100, "{micros} {told}");
        }
    }

    #[test]
    fn shares_of_lengths() {
        let mut d = Durations::default();
        assert_eq!(d.share(0.5), None);
        (1..=100).for_each(|us| d.add(Duration::from_micros(us)));
        assert_eq!((d.share(0.5), d.share(0.99), d.share(1.0)), (Some(0.05), Some(0.099), Some(0.1)));
    }

    #[test]
    fn reasons_are_bounded() {
        let mut s = Summary::default();
        for n in 0..100 {
            s.refused(&ControlError::new(crate::control::Kind::Usage, format!("reason {n}")));
        }
        assert_eq!((s.not_sent.len(), s.not_sent["other reasons"]), (MOST_REASONS + 1, 80));
    }
}
