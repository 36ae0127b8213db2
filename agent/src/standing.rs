//! How the connection to the relay stands at this moment: made of the notices about it, for whoever asks in between.
//!
//! Knows no sockets and reads no clock: every point in time is an argument.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tunnel_delivery::Timestamp;

use crate::notice::{Connection, millis};

/// The connection, as it was noted last.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    state: State,
    /// When it came up, or when it was lost; nothing before the first try.
    since: Option<Instant>,
    /// Which try in a row is under way or was the last.
    attempt: u32,
    /// Why there is no connection.
    reason: Option<String>,
    /// When the next try is due.
    next_try: Option<Instant>,
    /// When the relay was heard last.
    heard: Option<Instant>,
    /// How many deliveries this process had stored when the connection came up.
    arrived: u64,
}

/// The states by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A connection is being opened.
    #[default]
    Connecting,
    /// Deliveries come.
    Connected,
    /// The next try is after a pause.
    Waiting,
    /// The relay will not have this agent.
    Refused,
    /// The agent ends.
    Closed,
}

/// The connection at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// The state.
    pub state: State,
    /// Since when there is a connection, or since when there is none.
    pub since: Option<Timestamp>,
    /// How long ago the relay was last heard, in milliseconds; it gives a sign of life every few seconds.
    pub heard_ms_ago: Option<u64>,
    /// Which try in a row is under way or was the last; 0 while connected.
    pub attempt: u32,
    /// When the next try is due, in milliseconds from now.
    pub next_try_ms: Option<u64>,
    /// Why there is no connection.
    pub reason: Option<String>,
    /// How many deliveries came since it was up.
    #[serde(skip)]
    pub arrived_before: u64,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        // Nothing in here can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection changed. `arrived` is how many deliveries this process has stored so far.
    pub fn changed(&self, to: &Connection, arrived: u64, now: Instant) {
        let mut n = self.lock();
        let was_up = n.state == State::Connected;
        let (state, reason) = match to {
            Connection::Connecting { attempt } => {
                n.attempt = *attempt;
                (State::Connecting, None)
            }
            Connection::Connected => (State::Connected, None),
            Connection::Waiting { reason, .. } => (State::Waiting, Some(reason)),
            Connection::Refused { reason } => (State::Refused, Some(reason)),
            Connection::Closed => (State::Closed, None),
        };
        n.next_try = match to {
            Connection::Waiting { delay_ms, .. } => now.checked_add(Duration::from_millis(*delay_ms)),
            _ => None,
        };
        n.state = state;
        if let Some(reason) = reason {
            n.reason = Some(reason.clone());
        }
        if state == State::Connected {
            n.since = Some(now);
            n.heard = Some(now);
            n.attempt = 0;
            n.reason = None;
            n.arrived = arrived;
        } else if was_up || n.since.is_none() {
            n.since = Some(now);
        }
    }

    /// The relay was heard.
    pub fn heard(&self, now: Instant) {
        self.lock().heard = Some(now);
    }

    /// The state alone.
    pub fn state(&self) -> State {
        self.lock().state
    }

    /// How it stands at `now`, which the system's clock calls `wall`.
    pub fn at(&self, now: Instant, wall: Timestamp) -> ConnectionStatus {
        let n = self.lock();
        ConnectionStatus {
            state: n.state,
            since: n.since.map(|since| wall.earlier(now.saturating_duration_since(since))),
            heard_ms_ago: n.heard.map(|heard| millis(now.saturating_duration_since(heard))),
            attempt: n.attempt,
            next_try_ms: n.next_try.map(|next| millis(next.saturating_duration_since(now))),
            reason: n.reason.clone(),
            arrived_before: n.arrived,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn every_moment_has_a_state() {
        let (t, wall) = (Instant::now(), Timestamp::from_micros(1_763_714_000_000_000));
        let standing = Standing::default();
        assert_eq!((standing.at(t, wall).state, standing.at(t, wall).since), (State::Connecting, None));
        standing.changed(&Connection::Connecting { attempt: 1 }, 0, t);
        standing.changed(&Connection::Connected, 7, t + S);
        standing.heard(t + 4 * S);
        let up = standing.at(t + 6 * S, wall);
        assert_eq!((up.state, up.heard_ms_ago, up.attempt, up.arrived_before), (State::Connected, Some(2000), 0, 7));
        assert_eq!(up.since, Some(wall.earlier(5 * S)));

        // The time without a connection counts from its loss, through all tries.
        standing.changed(&Connection::Waiting { delay_ms: 1000, reason: "gone".into() }, 9, t + 10 * S);
        standing.changed(&Connection::Connecting { attempt: 2 }, 9, t + 11 * S);
        let again = standing.at(t + 11 * S, wall);
        assert_eq!((again.state, again.attempt, again.next_try_ms), (State::Connecting, 2, None));
        assert_eq!(again.reason.as_deref(), Some("gone"), "why it is not there is known while it is tried again");
        standing.changed(&Connection::Waiting { delay_ms: 2500, reason: "nobody".into() }, 9, t + 12 * S);
        let down = standing.at(t + 13 * S, wall);
        assert_eq!((down.state, down.next_try_ms, down.since), (State::Waiting, Some(1500), Some(wall.earlier(3 * S))));
        assert_eq!(down.reason.as_deref(), Some("nobody"));
        standing.changed(&Connection::Connected, 9, t + 20 * S);
        assert_eq!(standing.at(t + 20 * S, wall).reason, None);
    }
}
