//! What was tried and waits to be tried again: ids and points in time, in order of these. Pure.
//!
//! No delivery is held: it is read back from the archive when its turn comes, so that what waits for a handler that is down costs next to nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tunnel_delivery::DeliveryId;

/// The most that wait. What fails beyond that is not tried again.
const MOST: usize = 10_000;

/// To whom a delivery is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The handler.
    Handler,
    /// The command.
    Command,
}

/// A delivery that is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// Which.
    pub(crate) id: DeliveryId,
    /// With whom.
    pub(crate) whom: Whom,
    /// How often it was tried again so far.
    pub(crate) made: u32,
}

/// Those that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    by_time: BTreeMap<(Instant, u64), Again>,
    /// Keeps those of one moment in order.
    count: u64,
}

impl Waiting {
    /// Whether one more may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.by_time.len() < MOST
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }

    /// One is due after `pause`.
    pub(crate) fn put(&mut self, again: Again, now: Instant, pause: Duration) {
        self.count += 1;
        self.by_time.insert((now + pause, self.count), again);
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// One that is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Again> {
        self.next().filter(|at| *at <= now)?;
        self.by_time.pop_first().map(|(_, again)| again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn again(n: u8) -> Again {
        Again { id: DeliveryId::from_bytes([n; 16]), whom: Whom::Handler, made: 0 }
    }

    #[test]
    fn what_is_due_first_comes_first_and_nothing_before_its_time() {
        let t = Instant::now();
        let mut waiting = Waiting::default();
        for (n, pause) in [(1, 3), (2, 1), (3, 2), (4, 2)] {
            waiting.put(again(n), t, S * pause);
        }
        assert_eq!((waiting.take(t), waiting.next(), waiting.len()), (None, Some(t + S), 4));
        assert_eq!(waiting.take(t + S), Some(again(2)));
        assert_eq!(waiting.take(t + S), None);
        let rest: Vec<_> = std::iter::from_fn(|| waiting.take(t + 9 * S)).collect();
        assert_eq!(rest, [again(3), again(4), again(1)]);
    }

    #[test]
    fn so_many_may_wait() {
        let mut waiting = Waiting::default();
        while waiting.has_room() && waiting.len() <= MOST {
            waiting.put(again(1), Instant::now(), S);
        }
        assert_eq!(waiting.len(), MOST);
    }
}
