//! The works of a listening agent: the connection to the relay, the intake, the backlog and the way to handlers, put together and taken apart again
//! in order.
//!
//! Handed its network, its store and its chance; knows nothing of data folders and of the local interface.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tunnel_envelope::KeyRing;
use tunnel_protocol::Welcome;
use tunnel_signature::Secret;
use tunnel_telemetry::Traces;

use super::asking::{self, Asking, Question};
use super::driver::{Chance, Connecting, DriveError, Driver};
use super::progress::Progress;
use crate::backlog::{Backlog, Pace};
use crate::control::Steering;
use crate::dial::Dialer;
use crate::forward::{Client, HostHeader, Interrupt};
use crate::gaps::Gaps;
use crate::habit::Habits;
use crate::hand::Hand;
use crate::inflight;
use crate::intake::{Answering, Intake, MOST_LATE};
use crate::keep::Keep;
use crate::notice::Announcer;
use crate::pause::Pause;
use crate::policy::Policy;
use crate::signing::Signing;
use crate::turns::Turns;

/// How long everything else may take after the last attempts.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What the works are made of.
pub struct Parts {
    /// Whom to connect to and as whom.
    pub connecting: Connecting,
    /// How connections are opened, to the relay and to handlers.
    pub dialer: Dialer,
    /// Where deliveries and attempts are kept.
    pub keep: Arc<dyn Keep>,
    /// Who is told what happens.
    pub announcer: Announcer,
    /// What is forwarded and how.
    pub policy: Policy,
    /// How many deliveries are forwarded at once.
    pub concurrency: usize,
    /// What Host lines of forwarded copies say.
    pub host_header: HostHeader,
    /// The signing secrets.
    pub secrets: Vec<Secret>,
    /// What deliveries are sealed to; an agent without keys takes no sealed ones.
    pub keys: Option<Arc<KeyRing>>,
    /// How long attempts that are under way may go on when the agent is to end.
    pub last_attempts: Duration,
    /// Spreads the pauses between connections.
    pub chance: Chance,
    /// Where a collector is told of deliveries' ways, or nowhere.
    pub traces: Traces,
}

/// The works, ready to run.
pub struct Works {
    parts: Parts,
    hand: Hand,
    policy: Arc<Policy>,
    interrupt: Interrupt,
    welcomed: watch::Sender<Option<Welcome>>,
    stop: watch::Sender<bool>,
    pause: Pause,
    gaps: Gaps,
    backlog: Arc<Backlog>,
    asking: Asking,
    questions: mpsc::Receiver<Question>,
}

impl Works {
    /// Puts them together; nothing runs yet.
    pub fn new(parts: Parts) -> Works {
        let interrupt = Interrupt::default();
        let hand = Hand {
            client: Client::new(parts.dialer.clone(), parts.host_header, interrupt.clone()),
            signing: Arc::new(Signing::new(parts.secrets.clone())),
            keep: Arc::clone(&parts.keep),
            announcer: parts.announcer.clone(),
            limit: parts.policy.limit,
            marks: parts.policy.marks,
            interrupt: interrupt.clone(),
        };
        let policy = Arc::new(parts.policy.clone());
        let (welcomed, stop) = (watch::Sender::new(None), watch::Sender::new(false));
        let (asking, questions) = asking::pair();
        Works {
            parts,
            hand,
            policy,
            interrupt,
            welcomed,
            stop,
            pause: Pause::default(),
            gaps: Gaps::default(),
            backlog: Arc::default(),
            asking,
            questions,
        }
    }

    /// With a switch that was there before.
    #[must_use]
    pub(super) fn paused_by(self, pause: Pause) -> Works {
        Works { pause, ..self }
    }

    /// With the gaps that were told before.
    #[must_use]
    pub(super) fn knowing(self, gaps: Gaps) -> Works {
        Works { gaps, ..self }
    }

    /// The way to handlers, for whoever else hands something over.
    pub(super) fn hand(&self) -> &Hand {
        &self.hand
    }

    /// What is forwarded and how.
    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// A client of its own for synthetic deliveries: it sends a Host line as it is given.
    pub(super) fn sender(&self) -> Client {
        Client::new(self.parts.dialer.clone(), HostHeader::Sent, self.interrupt.clone())
    }

    /// What commands may change while it runs.
    pub(super) fn steering(&self) -> Steering {
        Steering { pause: self.pause.clone(), asking: self.asking.clone(), backlog: Arc::clone(&self.backlog) }
    }

    /// What the relay said last.
    pub(super) fn welcomed(&self) -> watch::Receiver<Option<Welcome>> {
        self.welcomed.subscribe()
    }

    /// Becomes true when everything is to end.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Runs until `shutdown`, or until the agent cannot go on. Nothing is under way when it returns.
    ///
    /// # Errors
    /// The relay will not have this agent, or the store failed for good.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), DriveError> {
        let Works { parts, hand, policy, interrupt, welcomed, stop, pause, gaps, backlog, asking: _, questions } = self;
        let (inflight, idle) = inflight::pair();
        let (ending, pull) = (stop.clone(), interrupt.clone());
        let asked = tokio::spawn(async move {
            shutdown.await;
            ending.send_replace(true);
            tokio::time::sleep(parts.last_attempts).await;
            pull.pull();
        });
        if policy.forwards() {
            let run = Arc::clone(&backlog).run(
                hand.clone(),
                Arc::clone(&policy),
                Pace { concurrency: parts.concurrency, pause: pause.clone(), chance: Arc::clone(&parts.chance) },
                stop.subscribe(),
                inflight.clone(),
            );
            tokio::spawn(run);
        }
        let driver = Driver {
            connecting: parts.connecting,
            key: parts.keys.as_ref().map(|keys| keys.public()),
            dialer: parts.dialer,
            intake: Arc::new(Intake {
                keep: parts.keep,
                policy,
                keys: parts.keys,
                hand,
                pause,
                backlog,
                late: Semaphore::new(MOST_LATE),
                habits: Habits::default(),
                answering: Answering::default(),
                turns: Turns::default(),
                traces: parts.traces,
            }),
            announcer: parts.announcer,
            welcomed,
            questions,
            stop: stop.subscribe(),
            inflight,
            progress: Progress::default(),
            gaps,
            chance: parts.chance,
        };
        let ended = driver.run().await;
        // Where the agent fails rather than ends, nobody has said so yet, and nobody counts down for the attempts.
        stop.send_replace(true);
        // What is under way needs the store open, and is recorded as interrupted where it does not end by itself.
        let mut idle = std::pin::pin!(idle.wait());
        if tokio::time::timeout(parts.last_attempts, &mut idle).await.is_err() {
            interrupt.pull();
            let _ = tokio::time::timeout(LAST_WORDS, &mut idle).await;
        }
        asked.abort();
        ended
    }
}
