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

/// Listens for the peer's life, and says when to give a sign of one's own.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    interval: Duration,
    dead_after: Duration,
    heard: Instant,
    looked: Instant,
    ping_at: Instant,
    number: u64,
}

impl Heartbeat {
    /// Begins listening at `now`: a ping every `interval`, dead after `dead_after` of silence.
    pub fn new(now: Instant, interval: Duration, dead_after: Duration) -> Heartbeat {
        Heartbeat { interval, dead_after, heard: now, looked: now, ping_at: now + interval, number: 0 }
    }

    /// Something came from the peer.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When the peer was last heard.
    pub fn last_heard(&self) -> Instant {
        self.heard
    }

    /// What to do at `now`.
    ///
    /// Pings go out however much is heard: the peer may hear nothing else from here, while it sends a big body over a slow line.
    ///
    /// A process that was itself stopped (a laptop that slept, SIGSTOP) must not call its peer dead for its own silence before it has read what
    /// waits in its socket: where it was not looked for longer than that, the peer is first asked.
    pub fn look(&mut self, now: Instant) -> Beat {
        let slept = now.saturating_duration_since(self.looked) > self.dead_after;
        self.looked = now;
        if slept {
            // Only the time since waking counts from here on.
            self.heard = self.heard.max(now.checked_sub(self.interval).unwrap_or(now));
            self.ping_at = now;
        }
        if now.saturating_duration_since(self.heard) >= self.dead_after {
            return Beat::Dead;
        }
        if now >= self.ping_at {
            self.ping_at = now + self.interval;
            self.number += 1;
            return Beat::Ping(self.number);
        }
        Beat::Wait(self.ping_at.min(self.heard + self.dead_after))
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
    fn anything_heard_is_life_and_one_s_own_goes_on() {
        let t = Instant::now();
        let mut h = Heartbeat::new(t, 2 * S, 5 * S);
        for n in 1..9 {
            h.heard(t + (2 * u32::try_from(n).unwrap() - 1) * S);
            assert_eq!(h.look(t + 2 * u32::try_from(n).unwrap() * S), Beat::Ping(n));
        }
        assert_eq!(h.look(t + 16 * S), Beat::Wait(t + 18 * S));
        assert_eq!(h.look(t + 20 * S), Beat::Dead);
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
