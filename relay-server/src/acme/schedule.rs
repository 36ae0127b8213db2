//! When a certificate is renewed, and when it is tried again after a failure. Pure.

use std::time::Duration;

use tunnel_delivery::Timestamp;

/// The first wait after a failure. Let's Encrypt takes five failed proofs of a name an hour, and this doubles: it stays below.
const FIRST: Duration = Duration::from_secs(2 * 60);
/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// The least wait once the server has said that it was asked too often.
const LIMITED: Duration = Duration::from_secs(3600);

/// A number from 0 up to 1, drawn once for each plan: relays that were started together do not renew together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(f64);

impl Chance {
    /// Draws one from the system; without its randomness all plans are at their middle.
    pub(crate) fn draw() -> Chance {
        let mut bytes = [0; 4];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Chance(f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)),
            Err(_) => Chance(0.5),
        }
    }
}

/// When to renew: at a moment of the server's window, or else when between 60 and 67 of 100 parts of its life are over. In any case while a sixth of
/// the life is left, so that there is time for failures.
pub(crate) fn renew_at(
    not_before: Timestamp,
    not_after: Timestamp,
    window: Option<(Timestamp, Timestamp)>,
    Chance(chance): Chance,
) -> Timestamp {
    let life = not_after.since(not_before);
    let at_latest = not_after.earlier(life / 6);
    let planned = match window {
        Some((start, end)) if start <= end => end.earlier(end.since(start).mul_f64(1.0 - chance)),
        _ => not_after.earlier(life.mul_f64(1.0 / 3.0 + chance / 15.0)),
    };
    planned.min(at_latest)
}

/// How long a certificate is kept after it was issued, whatever is suggested: a server whose windows are always over, or a clock that is wrong, must
/// not make the relay ask again and again.
pub(crate) fn rest(not_before: Timestamp, not_after: Timestamp) -> Duration {
    (not_after.since(not_before) / 10).min(Duration::from_secs(3600))
}

/// How long to wait after so many failures in a row: doubling, and a quarter more or less.
pub(crate) fn again_after(failures: u32, limited: bool, Chance(chance): Chance) -> Duration {
    let wait = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST);
    let wait = if limited { wait.max(LIMITED) } else { wait };
    wait.mul_f64(0.75 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 24 * 3600 * 1_000_000;

    fn day(n: f64) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "days of a test")]
        Timestamp::from_micros((n * DAY as f64) as i64)
    }

    #[test]
    fn ninety_days_are_renewed_around_the_sixtieth() {
        assert_eq!(renew_at(day(0.0), day(90.0), None, Chance(0.0)).as_micros() / DAY, 60);
        assert_eq!(renew_at(day(0.0), day(90.0), None, Chance(0.999)).as_micros() / DAY, 54);
    }

    #[test]
    fn the_server_s_window_counts_unless_it_is_too_late() {
        let at = |start, end, chance| renew_at(day(0.0), day(90.0), Some((day(start), day(end))), Chance(chance));
        assert_eq!(at(10.0, 12.0, 0.0), day(10.0));
        assert_eq!(at(10.0, 12.0, 0.5), day(11.0));
        assert_eq!(at(88.0, 89.0, 0.5), day(75.0));
        // A window the wrong way round is none.
        assert_eq!(at(12.0, 10.0, 0.0), day(60.0));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_never_more_than_five_in_the_first_hour() {
        let waits: Vec<_> = (1..=20).map(|n| again_after(n, false, Chance(0.0))).collect();
        assert!(waits.is_sorted());
        assert!(waits[..5].iter().sum::<Duration>() > Duration::from_secs(45 * 60), "{waits:?}");
        assert!(again_after(u32::MAX, false, Chance(0.999)) < Duration::from_secs(8 * 3600));
        assert!(again_after(1, true, Chance(0.0)) >= Duration::from_secs(45 * 60));
    }

    #[test]
    fn a_new_one_rests_for_an_hour_and_a_short_one_for_a_tenth() {
        assert_eq!(rest(day(0.0), day(90.0)), Duration::from_secs(3600));
        assert_eq!(rest(day(0.0), day(1.0 / 24.0)), Duration::from_secs(360));
        assert_eq!(rest(day(1.0), day(0.0)), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn it_is_within_the_life_and_early_enough(life in 1.0..4000.0f64, chance in 0.0..1.0f64, start in -10.0..5000.0f64, len in 0.0..100.0f64) {
            for window in [None, Some((day(start), day(start + len)))] {
                let at = renew_at(day(0.0), day(life), window, Chance(chance));
                prop_assert!(at <= day(life * 5.0 / 6.0 + 0.001));
                prop_assert!(window.is_some() || at >= day(life * 0.59));
            }
        }
    }
}
