//! What the agent tells about itself while it runs: to the terminal, to scripts, and to the commands that follow it.
//!
//! Owns the shape of these notices (their JSON is part of the product) and how they are passed on; not how they are printed.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tunnel_delivery::{Attempt, AttemptError, Cause, DeliveryId, DeviceName, Headers, Summary, Timestamp, TunnelName};

use crate::arrivals::Arrivals;
use crate::standing::Standing;

/// One thing that happened. In JSON it is one object, `type` says which.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Notice {
    /// The first session with the relay is open, deliveries can come.
    Ready(Ready),
    /// The connection to the relay changed.
    Connection(Connection),
    /// A delivery is stored; its fields are those of a summary.
    Delivery(Arc<Summary>),
    /// A delivery was handed over, or not.
    Attempt(Tried),
    /// Forwarding was paused, or goes on.
    Forwarding {
        /// Whether it is paused now.
        paused: bool,
    },
    /// The tunnel answers its senders otherwise from now on.
    AnswerMode {
        /// `ack` or `passthrough`.
        answer: &'static str,
    },
    /// Deliveries are gone from the relay before they could come.
    Gap {
        /// How many.
        count: u64,
        /// `age`, `size`, `removed` or `other`.
        reason: &'static str,
    },
    /// A delivery came sealed and could not be opened.
    Unopened {
        /// Which.
        id: DeliveryId,
        /// Why not.
        reason: String,
        /// Whether it is stored as it came. It is not where its sender waits, who is told to send it again.
        kept: bool,
    },
    /// Deliveries were removed from the store, because they were more than is kept.
    Removed {
        /// How many.
        count: u64,
        /// Which bound: `age`, `count` or `size`.
        reason: &'static str,
        /// How many bytes of records they had.
        bytes: u64,
    },
    /// The store gave disk space back.
    Compacted {
        /// The length of its file before, in bytes.
        before: u64,
        /// And after.
        after: u64,
    },
    /// Something that the user should know and that stops nothing.
    Warning {
        /// One sentence.
        message: String,
    },
    /// The reader of these notices was too slow for some of them. What they told about is stored all the same.
    LeftOut {
        /// How many were left out.
        count: u64,
    },
    /// The agent ends.
    Stopped {
        /// Why, if nobody asked for it.
        reason: Option<String>,
    },
}

/// What is known once the first session is open.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// The relay's address.
    pub relay: String,
    /// The tunnel.
    pub tunnel: TunnelName,
    /// This agent's name in it.
    pub device: DeviceName,
    /// Where senders reach the tunnel, best first.
    pub public_urls: Vec<String>,
    /// `ack` or `passthrough`.
    pub answer: &'static str,
    /// Whether the token only lets this agent look: it gets deliveries, answers no sender and changes nothing.
    pub read_only: bool,
    /// How many deliveries wait at the relay.
    pub waiting: u64,
    /// Where deliveries are forwarded to by default.
    pub target: Option<String>,
    /// Whether anything is forwarded at all.
    pub forwards: bool,
    /// The address of the local interface.
    pub control: String,
    /// The process.
    pub pid: u32,
}

/// A state of the connection to the relay.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Connection {
    /// A connection is being opened.
    Connecting {
        /// Which try in a row, from 1.
        attempt: u32,
    },
    /// Deliveries come.
    Connected,
    /// The connection ended or could not be opened; the next try is after a pause.
    Waiting {
        /// The pause, in milliseconds.
        delay_ms: u64,
        /// Why there is no connection.
        reason: String,
    },
    /// The relay refuses this agent, and trying again would not help.
    Refused {
        /// Why.
        reason: String,
    },
    /// The connection was closed because the agent ends.
    Closed,
}

/// An attempt without the answer's body, and the delivery as it stands after it.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The event's name.
    pub event_type: Option<String>,
    /// When it began.
    pub at: Timestamp,
    /// The URL.
    pub target: String,
    /// Forward or replay.
    pub cause: Cause,
    /// Whether the copy was signed again.
    pub resigned: bool,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<AttemptError>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The answer's lines.
    pub response_headers: Headers,
    /// In how many milliseconds it is tried again, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_in_ms: Option<u64>,
    /// For those that follow lists.
    #[serde(skip)]
    pub summary: Arc<Summary>,
}

impl Tried {
    /// What is told about `attempt`; `before` is the delivery as it stood.
    pub fn new(before: &Summary, attempt: &Attempt) -> Tried {
        Tried {
            delivery: before.id,
            event_type: before.event_type.clone(),
            at: attempt.at,
            target: attempt.target.clone(),
            cause: attempt.cause,
            resigned: attempt.resigned,
            status: attempt.status,
            error: attempt.error.clone(),
            duration_ms: attempt.duration.as_micros() as f64 / 1000.0,
            response_headers: attempt.response_headers.clone(),
            again_in_ms: None,
            summary: Arc::new(crate::summary::after(before.clone(), attempt)),
        }
    }
}

/// Who is told. Called on the agent's own thread: it must not block.
pub trait Sink: Send + Sync {
    /// Something happened.
    fn notice(&self, notice: Arc<Notice>);
}

impl<F: Fn(Arc<Notice>) + Send + Sync> Sink for F {
    fn notice(&self, notice: Arc<Notice>) {
        self(notice);
    }
}

/// How many notices a follower may be behind; then it has to look into the archive for what it missed.
const BEHIND: usize = 1024;

/// A notice as a follower hears it.
#[derive(Clone)]
pub struct Heard {
    /// What happened.
    pub notice: Arc<Notice>,
    /// The number among the arrivals where a delivery came, else 0.
    pub number: u64,
}

/// Passes notices on to the sink and to all who follow, and keeps what came in order.
#[derive(Clone)]
pub struct Announcer {
    sink: Arc<dyn Sink>,
    followers: broadcast::Sender<Heard>,
    arrivals: Arc<Arrivals>,
    standing: Arc<Standing>,
}

impl Announcer {
    /// An announcer for that sink.
    pub fn new(sink: Arc<dyn Sink>) -> Announcer {
        // Without randomness the time has to do: it differs from one process to the next too.
        let epoch = getrandom::u64().unwrap_or_else(|_| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
        });
        let arrivals = Arc::new(Arrivals::new(epoch));
        Announcer { sink, followers: broadcast::channel(BEHIND).0, arrivals, standing: Arc::default() }
    }

    /// Tells everybody.
    pub fn tell(&self, notice: Notice) {
        let notice = Arc::new(notice);
        let pass_on = |number| {
            if self.followers.receiver_count() > 0 {
                // Fails only when the last follower has just gone.
                let _ = self.followers.send(Heard { notice: Arc::clone(&notice), number });
            }
        };
        match &*notice {
            Notice::Delivery(line) => self.arrivals.push(line.id, pass_on),
            Notice::Connection(c) => {
                self.standing.changed(c, Instant::now());
                pass_on(0);
            }
            _ => pass_on(0),
        }
        self.sink.notice(notice);
    }

    /// The relay gave a sign of life; that is noted and told to nobody.
    pub fn heard(&self) {
        self.standing.heard(Instant::now());
    }

    /// The relay answered a sign of life after that time; noted and told to nobody.
    pub fn answered(&self, after: Duration) {
        self.standing.answered(after);
    }

    /// How the connection stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// A warning.
    pub fn warn(&self, message: impl Into<String>) {
        self.tell(Notice::Warning { message: message.into() });
    }

    /// Everything from now on.
    pub fn follow(&self) -> broadcast::Receiver<Heard> {
        self.followers.subscribe()
    }

    /// The deliveries that were told about, in order.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }
}

/// A pause as a notice has it.
pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
