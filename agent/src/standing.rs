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
    /// How long the relay took to answer the last sign of life.
    round_trip: Option<Duration>,
    /// How far the session got in the tunnel's stream.
    reached: u64,
    /// The last place that was in the stream when the session began.
    waited: u64,
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
    /// How long the relay took to answer the last sign of life, in milliseconds; unknown before the first answer of a session.
    #[serde(default)]
    pub round_trip_ms: Option<f64>,
    /// Which try in a row is under way or was the last; 0 while connected.
    pub attempt: u32,
    /// When the next try is due, in milliseconds from now.
    pub next_try_ms: Option<u64>,
    /// Why there is no connection.
    pub reason: Option<String>,
    /// How many of those that waited at the relay when the session began have not come yet; unknown without one.
    #[serde(skip)]
    pub at_relay: Option<u64>,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        // Nothing in here can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection changed.
    pub fn changed(&self, to: &Connection, now: Instant) {
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
        n.round_trip = None;
        if let Some(reason) = reason {
            n.reason = Some(reason.clone());
        }
        if state == State::Connected {
            n.since = Some(now);
            n.heard = Some(now);
            n.attempt = 0;
            n.reason = None;
        } else if was_up || n.since.is_none() {
            n.since = Some(now);
        }
    }

    /// A session begins behind the place `after`, and `waiting` places behind that the stream ends for now.
    pub fn session(&self, after: u64, waiting: u64) {
        let mut n = self.lock();
        (n.reached, n.waited) = (after, after.saturating_add(waiting));
    }

    /// What stood at that place of the stream came, or is told to be gone: known to the store or not, it waits no more. Places and not deliveries
    /// are counted, because a relay that was restored sends again what is stored here already, and passes over places that it lost.
    pub fn reached(&self, place: u64) {
        let mut n = self.lock();
        n.reached = n.reached.max(place);
    }

    /// The relay was heard.
    pub fn heard(&self, now: Instant) {
        self.lock().heard = Some(now);
    }

    /// The relay answered a sign of life after that time.
    pub fn answered(&self, after: Duration) {
        self.lock().round_trip = Some(after);
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
            round_trip_ms: n.round_trip.map(|after| after.as_micros() as f64 / 1000.0),
            attempt: n.attempt,
            next_try_ms: n.next_try.map(|next| millis(next.saturating_duration_since(now))),
            reason: n.reason.clone(),
            at_relay: (n.state == State::Connected).then(|| n.waited.saturating_sub(n.reached)),
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
        standing.changed(&Connection::Connecting { attempt: 1 }, t);
        standing.changed(&Connection::Connected, t + S);
        standing.session(40, 3);
        standing.heard(t + 4 * S);
        standing.answered(Duration::from_micros(12_500));
        let up = standing.at(t + 6 * S, wall);
        assert_eq!(up.round_trip_ms, Some(12.5));
        assert_eq!((up.state, up.heard_ms_ago, up.attempt, up.at_relay), (State::Connected, Some(2000), 0, Some(3)));
        assert_eq!(up.since, Some(wall.earlier(5 * S)));

        // The time without a connection counts from its loss, through all tries.
        standing.changed(&Connection::Waiting { delay_ms: 1000, reason: "gone".into() }, t + 10 * S);
        standing.changed(&Connection::Connecting { attempt: 2 }, t + 11 * S);
        let again = standing.at(t + 11 * S, wall);
        assert_eq!((again.state, again.attempt, again.next_try_ms), (State::Connecting, 2, None));
        assert_eq!(again.reason.as_deref(), Some("gone"), "why it is not there is known while it is tried again");
        standing.changed(&Connection::Waiting { delay_ms: 2500, reason: "nobody".into() }, t + 12 * S);
        let down = standing.at(t + 13 * S, wall);
        assert_eq!((down.state, down.next_try_ms, down.since), (State::Waiting, Some(1500), Some(wall.earlier(3 * S))));
        assert_eq!((down.reason.as_deref(), down.round_trip_ms, down.at_relay), (Some("nobody"), None, None));
        standing.changed(&Connection::Connected, t + 20 * S);
        assert_eq!(standing.at(t + 20 * S, wall).reason, None);
    }

    #[test]
    fn what_waits_at_the_relay_is_counted_by_places() {
        let (t, wall) = (Instant::now(), Timestamp::from_micros(1_763_714_000_000_000));
        let standing = Standing::default();
        let left = || standing.at(t, wall).at_relay;
        standing.session(10, 5);
        assert_eq!(left(), None, "not before it is up");
        standing.changed(&Connection::Connected, t);
        assert_eq!(left(), Some(5));
        standing.reached(11);
        // Out of order, and again.
        standing.reached(13);
        standing.reached(12);
        standing.reached(13);
        assert_eq!(left(), Some(2));
        // What came in meanwhile did not wait.
        standing.reached(40);
        assert_eq!(left(), Some(0));
        // Another stream begins anew.
        standing.session(0, 2);
        assert_eq!(left(), Some(2));
        standing.session(u64::MAX, u64::MAX);
        assert_eq!(left(), Some(0));
    }
}
