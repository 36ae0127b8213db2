//! Whether the peer is still there, as a machine over points in time that the caller supplies.

use std::time::{Duration, Instant};

/// What to do about the peer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Look again at that time.
    Wait(Instant),
    /// Send a ping with this number, then look again.
    Ping(u64),
    /// Nothing was heard for too long: drop the connection.
    Dead,
}

/// Listens for the peer's life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    interval: Duration,
    dead_after: Duration,
    heard: Instant,
    looked: Instant,
    asked: Option<Instant>,
    number: u64,
}

impl Heartbeat {
    /// Begins listening at `now`: ping after `interval` of silence, dead after `dead_after`.
    pub fn new(now: Instant, interval: Duration, dead_after: Duration) -> Heartbeat {
        Heartbeat { interval, dead_after, heard: now, looked: now, asked: None, number: 0 }
    }

    /// Something came from the peer.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// When the peer was last heard.
    pub fn last_heard(&self) -> Instant {
        self.heard
    }

    /// What to do at `now`.
    ///
    /// A process that was itself stopped (a laptop that slept, SIGSTOP) must not call its peer dead for its own silence before it has read what
    /// waits in its socket: where it was not looked for longer than the interval, the peer is first asked.
    pub fn look(&mut self, now: Instant) -> Beat {
        let slept = now.saturating_duration_since(self.looked) > self.dead_after;
        self.looked = now;
        if slept {
            // Only the time since waking counts from here on.
            self.heard = self.heard.max(now.checked_sub(self.interval).unwrap_or(now));
            self.asked = None;
        }
        if now.saturating_duration_since(self.heard) >= self.dead_after {
            return Beat::Dead;
        }
        let due = self.asked.unwrap_or(self.heard) + self.interval;
        if now >= due {
            self.asked = Some(now);
            self.number += 1;
            return Beat::Ping(self.number);
        }
        Beat::Wait(due.min(self.heard + self.dead_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn asks_then_gives_up() {
        let t = Instant::now();
        let mut h = Heartbeat::new(t, 2 * S, 5 * S);
        assert_eq!(h.look(t), Beat::Wait(t + 2 * S));
        assert_eq!(h.look(t + 2 * S), Beat::Ping(1));
        assert_eq!(h.look(t + 2 * S), Beat::Wait(t + 4 * S));
        assert_eq!(h.look(t + 4 * S), Beat::Ping(2));
        assert_eq!(h.look(t + 4 * S), Beat::Wait(t + 5 * S));
        assert_eq!(h.look(t + 5 * S), Beat::Dead);
    }

    #[test]
    fn anything_heard_is_life() {
        let t = Instant::now();
        let mut h = Heartbeat::new(t, 2 * S, 5 * S);
        assert_eq!(h.look(t + 2 * S), Beat::Ping(1));
        h.heard(t + 3 * S);
        assert_eq!(h.look(t + 4 * S), Beat::Wait(t + 5 * S));
        assert_eq!(h.look(t + 5 * S), Beat::Ping(2));
    }

    #[test]
    fn a_sleeper_asks_before_it_gives_up() {
        let t = Instant::now();
        let mut h = Heartbeat::new(t, 2 * S, 5 * S);
        assert_eq!(h.look(t + S), Beat::Wait(t + 2 * S));
        let woke = t + 3600 * S;
        assert_eq!(h.look(woke), Beat::Ping(1));
        assert_eq!(h.look(woke), Beat::Wait(woke + 2 * S));
        assert_eq!(h.look(woke + 2 * S), Beat::Ping(2));
        assert_eq!(h.look(woke + 3 * S), Beat::Dead);
    }
}
