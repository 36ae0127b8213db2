//! A wall clock that jumps ahead must not have all that waits dropped in that moment: what time it is by which things are too old. Pure.
//!
//! Between two looks the wall clock is compared with a steady one. One that is far ahead of it was wrong before, or is now, and which of the two nobody here can
//! know; machines that slept look the same. So it is doubted for a while, in which time goes on as if it had not jumped and somebody can set it right, and then
//! believed: what is kept by age is kept by no more than that longer. A jump while no relay ran is not seen.

use std::time::Duration;

use tokio::time::Instant;
use tunnel_delivery::Timestamp;

/// So much further ahead than the steady clock has gone is a jump. Less is at worst so much that is kept too short, and clocks are set.
const JUMP: Duration = Duration::from_secs(3600);
/// For so long it is doubted.
pub(crate) const DOUBT: Duration = Duration::from_secs(3600);

/// The time that is believed.
pub(crate) struct Believed {
    /// What the clocks said when they last agreed.
    wall: Timestamp,
    steady: Instant,
    /// Since when the wall clock is doubted.
    doubted: Option<Instant>,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The wall clock is so far ahead.
    Jumped(Duration),
    /// It was, and is not any more.
    Back,
    /// It is believed from now on.
    Believed,
}

impl Believed {
    /// What the clocks say at the beginning.
    pub(crate) fn new(wall: Timestamp, steady: Instant) -> Believed {
        Believed { wall, steady, doubted: None }
    }

    /// The time by which things are too old, with what the clocks say now.
    pub(crate) fn look(&mut self, wall: Timestamp, steady: Instant) -> (Timestamp, Option<News>) {
        let passed = steady.saturating_duration_since(self.steady);
        let micros = self.wall.as_micros().saturating_add(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX));
        let expected = Timestamp::from_micros(micros);
        let ahead = wall.since(expected);
        let news = match self.doubted {
            None if ahead <= JUMP => None,
            Some(_) if ahead <= JUMP => Some(News::Back),
            None => {
                self.doubted = Some(steady);
                return (expected, Some(News::Jumped(ahead)));
            }
            Some(since) if steady.saturating_duration_since(since) < DOUBT => return (expected, None),
            Some(_) => Some(News::Believed),
        };
        *self = Believed::new(wall, steady);
        (wall, news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + seconds as i64 * 1_000_000)
    }

    const DAYS: u64 = 4 * 24 * 3600;

    #[test]
    fn a_jump_is_doubted_for_an_hour_and_then_believed() {
        let began = Instant::now();
        let mut believed = Believed::new(at(0), began);
        let mut look = |wall, steady| believed.look(at(wall), began + Duration::from_secs(steady));
        assert_eq!(look(60, 60), (at(60), None));
        assert_eq!(look(120 + 3000, 120), (at(3120), None), "a clock may be set");
        let jumped = News::Jumped(Duration::from_secs(DAYS));
        assert_eq!(look(DAYS + 3180, 180), (at(3180), Some(jumped)));
        assert_eq!(look(DAYS + 3180 + 3540, 180 + 3540), (at(3180 + 3540), None));
        assert_eq!(look(DAYS + 3180 + 3600, 180 + 3600), (at(DAYS + 3180 + 3600), Some(News::Believed)));
        assert_eq!(look(DAYS + 3180 + 3660, 180 + 3660), (at(DAYS + 3180 + 3660), None));
    }

    #[test]
    fn one_that_is_set_right_was_never_believed() {
        let began = Instant::now();
        let mut believed = Believed::new(at(0), began);
        let mut look = |wall, steady| believed.look(at(wall), began + Duration::from_secs(steady));
        assert!(look(DAYS, 60).1.is_some());
        assert_eq!(look(120, 120), (at(120), Some(News::Back)));
        assert!(matches!(look(DAYS, 180), (now, Some(News::Jumped(_))) if now == at(180)), "the next one is another");
    }

    proptest! {
        /// Whatever the clock does: what is believed is never ahead of it, and behind it for no longer than the doubt lasts.
        #[test]
        fn nothing_is_kept_for_longer_than_the_doubt(steps in prop::collection::vec((1..600_u64, -10_000..1_000_000_i64), 1..200)) {
            let began = Instant::now();
            let (mut steady, mut wall) = (0, 10_000_000_i64);
            let mut believed = Believed::new(at(wall as u64), began);
            let mut behind_since = None;
            for (passes, jumps) in steps {
                steady += passes;
                // Mostly it goes as it should.
                wall = (wall + passes as i64 + if jumps % 5 == 0 { jumps } else { 0 }).max(0);
                let now = believed.look(at(wall as u64), began + Duration::from_secs(steady)).0;
                prop_assert!(now <= at(wall as u64));
                if now == at(wall as u64) {
                    behind_since = None;
                } else {
                    let since = *behind_since.get_or_insert(steady);
                    prop_assert!(steady - since < DOUBT.as_secs());
                }
            }
        }
    }
}
