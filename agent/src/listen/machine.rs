//! The connection to the relay as a state machine: what happened goes in, what to do next comes out. No sockets, no clock, no randomness.

use std::time::Duration;

use crate::notice::{Connection, millis};

/// The pause before the first try again; it doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause: a laptop that comes back online is connected within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A session that lasted so long was a good one, and the failures before it are forgotten.
const GOOD_SESSION: Duration = Duration::from_secs(3);

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Only with another version of one of the two programs.
    OtherVersion,
    /// It can.
    Retry,
    /// Not where there never was a session: then it is a wrong address or a wrong certificate rather than a passing trouble.
    RetryIfKnown,
    /// It cannot.
    Never,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// One sentence for people.
    pub reason: String,
    /// Whether trying again can help.
    pub cure: Cure,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent starts.
    Begin,
    /// The WebSocket is open.
    Opened,
    /// The relay said welcome.
    Welcomed,
    /// There is no connection, or no longer one.
    Broke(Trouble, Duration),
    /// The pause is over.
    Rested,
    /// The agent is to end.
    Stop,
}

/// What to do next. Each of them ends with an [`Event`], except the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Open the WebSocket.
    Open,
    /// Say hello and wait for the relay's first frame.
    Greet,
    /// Take deliveries until the connection breaks or the agent is to end.
    Serve,
    /// Wait.
    Rest(Duration),
    /// It is over: as asked, or because of what trying again cannot help.
    End(Result<(), Trouble>),
}

/// What to tell and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// For those who watch the connection.
    pub tell: Option<Connection>,
    /// What to do.
    pub act: Act,
}

/// The state.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Failures in a row.
    failures: u32,
    /// Whether the relay ever said welcome.
    known: bool,
}

impl Machine {
    /// What follows from `event`. `random` is in 0.0..1.0.
    pub fn on(&mut self, event: Event, random: f64) -> Step {
        let step = |tell, act| Step { tell, act };
        match event {
            Event::Begin | Event::Rested => {
                step(Some(Connection::Connecting { attempt: self.failures + 1 }), Act::Open)
            }
            Event::Opened => step(None, Act::Greet),
            Event::Welcomed => {
                self.known = true;
                step(Some(Connection::Connected), Act::Serve)
            }
            Event::Broke(trouble, lasted) => {
                let hopeless = match trouble.cure {
                    Cure::Retry => false,
                    Cure::RetryIfKnown => !self.known,
                    Cure::Never | Cure::OtherVersion => true,
                };
                if hopeless {
                    let reason = trouble.reason.clone();
                    return step(Some(Connection::Refused { reason }), Act::End(Err(trouble)));
                }
                if lasted >= GOOD_SESSION {
                    self.failures = 0;
                }
                let pause = pause(self.failures, random);
                self.failures = self.failures.saturating_add(1);
                step(Some(Connection::Waiting { delay_ms: millis(pause), reason: trouble.reason }), Act::Rest(pause))
            }
            Event::Stop => step(Some(Connection::Closed), Act::End(Ok(()))),
        }
    }
}

/// Half of the pause is fixed and half is chance, so that the agents of a relay that restarts do not all come at once.
fn pause(failures: u32, random: f64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
    whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broke(cure: Cure, lasted: u64) -> Event {
        Event::Broke(Trouble { reason: "gone".into(), cure }, Duration::from_secs(lasted))
    }

    #[test]
    fn the_way_to_a_session() {
        let mut m = Machine::default();
        let first = m.on(Event::Begin, 0.0);
        assert_eq!(first, Step { tell: Some(Connection::Connecting { attempt: 1 }), act: Act::Open });
        assert_eq!(m.on(Event::Opened, 0.0).act, Act::Greet);
        let welcomed = m.on(Event::Welcomed, 0.0);
        assert_eq!(welcomed, Step { tell: Some(Connection::Connected), act: Act::Serve });
        assert_eq!(m.on(Event::Stop, 0.0), Step { tell: Some(Connection::Closed), act: Act::End(Ok(())) });
    }

    #[test]
    fn pauses_grow_to_a_cap_and_shrink_after_a_good_session() {
        let mut m = Machine::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            match m.on(broke(Cure::Retry, 0), 1.0).act {
                Act::Rest(pause) => pauses.push(pause.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(m.on(broke(Cure::Retry, 1), 0.0).act, Act::Rest(Duration::from_secs(5)));
        assert_eq!(m.on(broke(Cure::Retry, 60), 0.0).act, Act::Rest(Duration::from_millis(125)));
        let tell = m.on(Event::Rested, 0.0).tell;
        assert_eq!(tell, Some(Connection::Connecting { attempt: 2 }));
    }

    #[test]
    fn what_cannot_be_cured_ends_it() {
        let mut m = Machine::default();
        let end = m.on(broke(Cure::Never, 0), 0.5);
        assert_eq!(end.tell, Some(Connection::Refused { reason: "gone".into() }));
        assert_eq!(end.act, Act::End(Err(Trouble { reason: "gone".into(), cure: Cure::Never })));
        let mut m = Machine::default();
        assert!(matches!(m.on(broke(Cure::RetryIfKnown, 0), 0.5).act, Act::End(Err(_))));
        let mut m = Machine::default();
        m.on(Event::Welcomed, 0.5);
        assert!(matches!(m.on(broke(Cure::RetryIfKnown, 0), 0.5).act, Act::Rest(_)));
        assert!(matches!(m.on(broke(Cure::Never, 60), 0.5).act, Act::End(Err(_))));
    }

    proptest! {
        #[test]
        fn every_pause_is_within_bounds(failures in any::<u32>(), random in any::<f64>()) {
            let p = pause(failures, if random.is_nan() { 0.0 } else { random });
            prop_assert!(p >= FIRST_PAUSE / 2 && p <= LONGEST_PAUSE, "{p:?}");
        }
    }
}
