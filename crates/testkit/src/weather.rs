//! What a bad link does to what goes through it, as a plan that comes from a seed. Pure: times go in, times come out; the threads and the
//! sockets are the proxy's.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::Dice;

/// How a link is bad. Nothing is lost or changes places on the way, since TCP sees to that; what a bad link does to TCP is to come late, in
/// bursts, slowly, and to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// From this all chance is drawn: for each connection and direction anew, so that what one carries does not move another's fate.
    pub seed: u64,
    /// How long everything is on its way, each direction.
    pub delay: Duration,
    /// At most this much longer, drawn for each piece. A piece never overtakes one before it.
    pub jitter: Duration,
    /// Packets that get lost and are sent again.
    pub loss: Option<Loss>,
    /// How long a connection lives before it is cut; for ever if none.
    pub lives: Option<Range<Duration>>,
    /// The most that passes in each direction of each connection.
    pub bytes_per_second: Option<usize>,
}

/// A lost packet as TCP shows it: nothing more comes until it was sent again, and then everything behind it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// One piece in so many gets lost.
    pub one_in: u64,
    /// How long it takes until it is there after all; a sender's first try again is after 200 ms or more.
    pub pause: Duration,
}

impl Weather {
    /// A link that does nothing to anything, to be made worse.
    pub fn from_seed(seed: u64) -> Weather {
        Weather { seed, ..Weather::default() }
    }

    /// Everything is this long on its way, and up to `jitter` longer.
    #[must_use]
    pub fn delayed(self, delay: Duration, jitter: Duration) -> Weather {
        Weather { delay, jitter, ..self }
    }

    /// One piece in so many comes later by `pause`, and all behind it.
    #[must_use]
    pub fn losing(self, one_in: u64, pause: Duration) -> Weather {
        Weather { loss: Some(Loss { one_in, pause }), ..self }
    }

    /// Connections are cut when they are that old.
    #[must_use]
    pub fn living(self, lives: Range<Duration>) -> Weather {
        Weather { lives: Some(lives), ..self }
    }

    /// At most so many bytes a second pass in each direction of each connection.
    #[must_use]
    pub fn throttled(self, bytes_per_second: usize) -> Weather {
        Weather { bytes_per_second: Some(bytes_per_second), ..self }
    }

    /// How long a connection lives; connections are counted from 0.
    pub(crate) fn life(&self, connection: usize) -> Option<Duration> {
        let mut dice = Dice::new(self.seed).other(connection as u64 * 4);
        self.lives.as_ref().map(|lives| dice.within(lives))
    }
}

/// One direction of one connection on its way through the weather.
pub(crate) struct Course {
    dice: Dice,
    /// When the line is free again after all that went before.
    free: Option<Instant>,
}

impl Course {
    /// The course of a connection; `way` is 1 there and 2 back.
    pub(crate) fn new(weather: &Weather, connection: usize, way: u64) -> Course {
        Course { dice: Dice::new(weather.seed).other(connection as u64 * 4 + way), free: None }
    }

    /// When a piece of `length` bytes that goes in at `now` comes out.
    pub(crate) fn due(&mut self, weather: &Weather, now: Instant, length: usize) -> Instant {
        let mut at = now + weather.delay + self.dice.within(&(Duration::ZERO..weather.jitter));
        if let Some(loss) = weather.loss
            && self.dice.one_in(loss.one_in)
        {
            at += loss.pause;
        }
        let at = self.free.map_or(at, |free| free.max(at));
        let takes = weather.bytes_per_second.map_or(0.0, |rate| length as f64 / rate.max(1) as f64);
        self.free = Some(at + Duration::from_secs_f64(takes));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When pieces of 1000 bytes come out that go in every millisecond, in microseconds after the first went in.
    fn through(weather: &Weather, connection: usize, pieces: u32) -> Vec<u128> {
        let start = Instant::now();
        let mut course = Course::new(weather, connection, 1);
        let dues = (0..pieces).map(|n| course.due(weather, start + n * MS, 1000));
        dues.map(|due| due.duration_since(start).as_micros()).collect()
    }

    #[test]
    fn a_delay_moves_everything_alike() {
        let dues = through(&Weather::from_seed(1).delayed(40 * MS, Duration::ZERO), 0, 5);
        assert_eq!(dues, [40_000, 41_000, 42_000, 43_000, 44_000]);
    }

    #[test]
    fn jitter_keeps_the_order_and_its_bounds() {
        let weather = Weather::from_seed(2).delayed(10 * MS, 30 * MS);
        let dues = through(&weather, 0, 500);
        assert!(dues.is_sorted(), "{dues:?}");
        let late: Vec<_> = dues.iter().zip(0..).map(|(due, n)| due - n * 1000).collect();
        assert!(late.iter().all(|late| (10_000..40_000).contains(late)), "{late:?}");
        assert!(late.iter().any(|late| *late > 35_000) && late.iter().any(|late| *late < 38_000));
    }

    #[test]
    fn a_loss_is_a_pause_and_then_a_burst() {
        let weather = Weather::from_seed(3).losing(50, 200 * MS);
        let dues = through(&weather, 0, 400);
        assert!(dues.is_sorted());
        let bursts = dues.chunk_by(|a, b| a == b).filter(|burst| burst.len() >= 50).count();
        assert!((1..=8).contains(&bursts), "{bursts} bursts in 400 pieces of which one in fifty is lost");
    }

    #[test]
    fn a_throttled_link_takes_its_time() {
        let dues = through(&Weather::from_seed(4).throttled(100_000), 0, 5);
        assert_eq!(dues, [0, 10_000, 20_000, 30_000, 40_000]);
    }

    #[test]
    fn a_seed_is_a_plan_and_each_connection_has_its_own() {
        let weather = Weather::from_seed(5).delayed(MS, 20 * MS).losing(20, 100 * MS).living(MS..1000 * MS);
        assert_eq!(through(&weather, 3, 100), through(&weather, 3, 100));
        assert_ne!(through(&weather, 3, 100), through(&weather, 4, 100));
        assert_ne!(through(&weather, 3, 100), through(&Weather { seed: 6, ..weather.clone() }, 3, 100));
        let lives: Vec<_> = (0..20).filter_map(|n| weather.life(n)).collect();
        assert_eq!(lives, (0..20).filter_map(|n| weather.life(n)).collect::<Vec<_>>());
        assert!(lives.iter().all(|life| (MS..1000 * MS).contains(life)));
        assert!(lives.iter().max() > Some(&(500 * MS)) && lives.iter().min() < Some(&(500 * MS)), "{lives:?}");
        assert_eq!(Weather::from_seed(5).life(0), None);
    }
}
