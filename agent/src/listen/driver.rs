//! Does what the machine says: opens the connection, greets, and carries frames between the socket and the intake.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tunnel_archive::ArchiveError;
use tunnel_delivery::{DeviceKey, DeviceName, TunnelName};
use tunnel_protocol::{
    Answer, AnswerFailure, Assembler, Beat, HELLO_TIMEOUT, Heartbeat, Hello, INLINE_BODY, Incoming, MAX_TAKEN, Refusal,
    Start, ToAgent, ToRelay, VERSION_MAX, VERSION_MIN, Welcome, Window,
};

use super::asking::{Asked, Question};
use super::machine::{Act, Cure, Event, Machine, Trouble};
use super::progress::Progress;
use super::socket::{Link, OpenError};
use crate::dial::{DialError, Dialer, Stream};
use crate::gaps::{self, Gaps};
use crate::inflight::Inflight;
use crate::intake::{Done, Intake, Receipt};
use crate::notice::{Announcer, Notice};
use crate::settings::{RelayUrl, Token};

/// How long opening a connection may take.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// How much may be on its way to an agent; it bounds the agent's memory.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// So many deliveries, at least one.
    pub deliveries: u32,
    /// So many bytes of bodies; a single delivery may be longer.
    pub bytes: u64,
}

impl Default for Allowance {
    /// 512 deliveries, 8 MiB.
    fn default() -> Allowance {
        Allowance { deliveries: 512, bytes: 8 * 1024 * 1024 }
    }
}

/// Whom to connect to and as whom.
#[derive(Clone, Debug)]
pub struct Connecting {
    /// The relay.
    pub relay: RelayUrl,
    /// The token it gave.
    pub token: Token,
    /// The tunnel; the token's own where it is not said.
    pub tunnel: Option<TunnelName>,
    /// This agent's name.
    pub device: DeviceName,
    /// Where a new device starts.
    pub start: Start,
    /// How much may be on its way.
    pub allowance: Allowance,
}

/// Gives numbers in 0.0..1.0.
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Why the agent cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DriveError {
    /// The relay will not have it.
    #[error("{0}")]
    Refused(String),
    /// The relay and this agent do not understand each other.
    #[error("{0}")]
    Unfit(String),
    /// There is no relay where one should be, or it cannot be trusted.
    #[error("{0}")]
    Unreached(String),
    /// The archive failed for good.
    #[error("{0}")]
    Archive(ArchiveError),
}

/// What runs the connection.
pub(super) struct Driver {
    pub(super) connecting: Connecting,
    /// The key that deliveries are to be sealed to.
    pub(super) key: Option<DeviceKey>,
    pub(super) dialer: Dialer,
    pub(super) intake: Arc<Intake>,
    pub(super) announcer: Announcer,
    pub(super) welcomed: watch::Sender<Option<Welcome>>,
    pub(super) questions: mpsc::Receiver<Question>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) inflight: Inflight,
    pub(super) progress: Progress,
    /// The gaps that were told.
    pub(super) gaps: Gaps,
    pub(super) chance: Chance,
}

impl Driver {
    /// Runs until the agent is to end, or cannot go on.
    pub(super) async fn run(mut self) -> Result<(), DriveError> {
        let mut machine = Machine::default();
        let mut event = Event::Begin;
        let mut link = None;
        let mut session = None;
        loop {
            let step = machine.on(event, (self.chance)());
            if let Some(connection) = step.tell {
                self.announcer.tell(Notice::Connection(connection));
            }
            event = match step.act {
                Act::Open => self.until_stopped(self.open(&mut link)).await,
                Act::Greet => match link.take() {
                    Some(link) => self.greet(link, &mut session).await,
                    None => broke("the connection was lost", Cure::Retry, Duration::ZERO),
                },
                Act::Serve => match session.take() {
                    Some((link, welcome)) => self.serve(link, welcome).await?,
                    None => broke("the session was lost", Cure::Retry, Duration::ZERO),
                },
                Act::Rest(pause) => {
                    self.until_stopped(async {
                        sleep(pause).await;
                        Event::Rested
                    })
                    .await
                }
                Act::End(ended) => {
                    return ended.map_err(|trouble| match trouble.cure {
                        Cure::Never => DriveError::Refused(trouble.reason),
                        Cure::OtherVersion => DriveError::Unfit(trouble.reason),
                        Cure::Retry | Cure::RetryIfKnown => DriveError::Unreached(trouble.reason),
                    });
                }
            };
        }
    }

    async fn until_stopped(&self, work: impl Future<Output = Event>) -> Event {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            event = work => event,
            () = stopping(&mut stop) => Event::Stop,
        }
    }

    async fn open(&self, link: &mut Option<Link<Stream>>) -> Event {
        let c = &self.connecting;
        let open = async {
            let stream = self.dialer.dial(&c.relay.0).await.map_err(|e| {
                let cure = if matches!(e, DialError::Tls { .. }) { Cure::RetryIfKnown } else { Cure::Retry };
                Trouble { reason: e.to_string(), cure }
            })?;
            Link::open(stream, &c.relay.0, &c.token, c.tunnel.as_ref()).await.map_err(|e| self.not_open(&e))
        };
        match timeout(OPEN_WITHIN, open).await {
            Ok(Ok(open)) => {
                *link = Some(open);
                Event::Opened
            }
            Ok(Err(trouble)) => Event::Broke(trouble, Duration::ZERO),
            Err(_) => {
                let reason = format!("{} did not answer within {} s", c.relay, OPEN_WITHIN.as_secs());
                broke(reason, Cure::Retry, Duration::ZERO)
            }
        }
    }

    fn not_open(&self, e: &OpenError) -> Trouble {
        let (reason, cure) = match e {
            OpenError::Status { status: 401 | 403, .. } => {
                let tunnel =
                    self.connecting.tunnel.as_ref().map_or_else(String::new, |t| format!(" for the tunnel {t}"));
                (format!("{} does not accept the token{tunnel} ({e})", self.connecting.relay), Cure::Never)
            }
            OpenError::Status { status: 408 | 429, .. } => (e.to_string(), Cure::Retry),
            OpenError::Status { status: 300..=499, .. } => (e.to_string(), Cure::RetryIfKnown),
            OpenError::Status { .. } | OpenError::NotARelay { .. } => (e.to_string(), Cure::Retry),
        };
        Trouble { reason, cure }
    }

    async fn greet(&self, mut link: Link<Stream>, session: &mut Option<(Link<Stream>, Welcome)>) -> Event {
        let c = &self.connecting;
        let hello = Hello {
            versions: (VERSION_MIN, VERSION_MAX),
            device: c.device.clone(),
            software: super::SOFTWARE.to_owned(),
            start: c.start,
            resume: self.progress.resume(),
            window_deliveries: c.allowance.deliveries,
            window_bytes: c.allowance.bytes,
            device_key: self.key,
        };
        link.outbox.urgent(ToRelay::Hello(hello).encode());
        let answer = async {
            match timeout(HELLO_TIMEOUT, link.next()).await {
                Err(_) => Err("the relay did not answer the hello".to_owned()),
                Ok(Err(reason)) => Err(reason),
                Ok(Ok(frame)) => ToAgent::decode(frame).map_err(|e| e.to_string()),
            }
        };
        let mut stop = self.stop.clone();
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = stopping(&mut stop) => return Event::Stop,
        };
        match answer {
            Ok(ToAgent::Welcome(welcome)) => {
                *session = Some((link, welcome));
                Event::Welcomed
            }
            Ok(ToAgent::Refused(refused)) => {
                let cure = match refused.code {
                    Refusal::Version | Refusal::BadHello => Cure::OtherVersion,
                    _ => Cure::Retry,
                };
                broke(format!("the relay refused the session: {}", refused.message), cure, Duration::ZERO)
            }
            Ok(_) => broke("the relay began with something else than a welcome", Cure::RetryIfKnown, Duration::ZERO),
            Err(reason) => broke(reason, Cure::Retry, Duration::ZERO),
        }
    }

    /// One session, until the connection breaks or all is done after `stop`.
    async fn serve(&mut self, link: Link<Stream>, welcome: Welcome) -> Result<Event, DriveError> {
        let began = Instant::now();
        self.progress.welcomed(&welcome);
        self.gaps.welcomed(&welcome);
        self.announcer.standing().session(welcome.after, welcome.waiting);
        let Allowance { deliveries, bytes } = self.connecting.allowance;
        let most = deliveries.max(1) as usize;
        let (done, mut dones) = mpsc::channel(2 * most);
        let mut session = Session {
            link,
            done: Some(done),
            assembler: Assembler::new(most),
            window: Window::new(deliveries, bytes),
            heartbeat: Heartbeat::new(began.into_std(), welcome.heartbeat, welcome.dead_after),
            pinged: None,
            welcome,
            asked: Asked::default(),
        };
        if let Some(notice) = &session.welcome.notice {
            self.announcer.warn(format!("the relay says: {notice}"));
        }
        // Told before the first delivery can be.
        self.mode_is(&session.welcome);
        let mut stop = self.stop.clone();
        let mut finished = Vec::new();
        let beat = sleep(Duration::ZERO);
        tokio::pin!(beat);
        loop {
            let next: Result<(), String> = tokio::select! {
                biased;
                n = dones.recv_many(&mut finished, MAX_TAKEN) => {
                    if n == 0 {
                        // Stopping, and everything that came in is answered.
                        session.link.finish("the agent ends").await;
                        return Ok(Event::Stop);
                    }
                    let settled = self.settle(&mut session, &mut finished)?;
                    if let Err(reason) = &settled {
                        // What is answered by now goes up first; the rest comes again with the next session.
                        session.link.finish(reason).await;
                        return Ok(if *self.stop.borrow() { Event::Stop } else { broke(reason.clone(), Cure::Retry, began.elapsed()) });
                    }
                    settled
                }
                frame = session.link.next() => match frame {
                    Ok(frame) => self.frame(&mut session, frame),
                    Err(reason) => Err(reason),
                },
                () = &mut beat => match session.heartbeat.look(Instant::now().into_std()) {
                    Beat::Wait(until) => {
                        beat.as_mut().reset(until.into());
                        Ok(())
                    }
                    Beat::Ping(n) => {
                        session.pinged = Some((n, Instant::now()));
                        session.link.outbox.urgent(ToRelay::Ping(n).encode());
                        Ok(())
                    }
                    Beat::Dead => Err(format!("nothing was heard from the relay for {:?}", session.welcome.dead_after)),
                },
                Some(question) = self.questions.recv(), if session.asked.is_free() => {
                    if let Some(set) = session.asked.ask(question, session.welcome.sets_answer) {
                        session.link.outbox.urgent(ToRelay::SetAnswer(set).encode());
                    }
                    Ok(())
                }
                () = stopping(&mut stop), if session.done.is_some() => {
                    // Nothing new is let in; the channel ends when all that is under way has answered.
                    session.done = None;
                    Ok(())
                }
            };
            if let Err(reason) = next {
                return Ok(if *self.stop.borrow() { Event::Stop } else { broke(reason, Cure::Retry, began.elapsed()) });
            }
        }
    }

    fn frame(&mut self, session: &mut Session, frame: bytes::Bytes) -> Result<(), String> {
        session.heartbeat.heard(Instant::now().into_std());
        self.announcer.heard();
        match ToAgent::decode(frame).map_err(|e| e.to_string())? {
            ToAgent::Delivery(incoming) => {
                if session.done.is_none() {
                    // Nothing new is let in; whoever waits for an answer is told so at once.
                    if incoming.answer_within.is_some() {
                        let answer = Answer { n: incoming.n, outcome: Err(AnswerFailure::NotStored) };
                        session.link.outbox.whole(ToRelay::Answer(answer).encode());
                    }
                    return Ok(());
                }
                if !session.window.allows(incoming.body_len) {
                    return Err("the relay sent more than was agreed".into());
                }
                session.window.sent(incoming.body_len);
                if let Some(seq) = incoming.seq {
                    self.progress.came(seq);
                    self.announcer.standing().reached(seq);
                }
                let incoming = incoming.for_tunnel(&session.welcome.tunnel);
                if incoming.body_len == incoming.delivery.body.len() as u64 {
                    self.take(session, incoming);
                } else {
                    let (n, len) = (incoming.n, incoming.body_len);
                    session.assembler.begin(n, len, incoming).map_err(|e| e.to_string())?;
                }
            }
            ToAgent::Chunk(chunk) => {
                if session.done.is_none() {
                    return Ok(());
                }
                if let Some(whole) = session.assembler.chunk(chunk).map_err(|e| e.to_string())? {
                    let mut incoming = whole.head;
                    Arc::make_mut(&mut incoming.delivery).body = whole.body;
                    self.take(session, incoming);
                }
            }
            ToAgent::Gap(gap) => {
                self.announcer.standing().reached(gap.upto);
                if let Some(count) = self.gaps.news(&gap) {
                    self.announcer.tell(Notice::Gap { count, reason: gaps::word(&gap.reason) });
                    self.gaps.keep(&self.inflight);
                }
            }
            ToAgent::Ping(n) => session.link.outbox.urgent(ToRelay::Pong(n).encode()),
            ToAgent::Pong(n) => {
                if let Some((_, at)) = session.pinged.take_if(|(pinged, _)| *pinged == n) {
                    self.announcer.answered(at.elapsed());
                }
            }
            ToAgent::Unknown => {}
            ToAgent::Answers(answers) => {
                session.welcome.answer_mode = answers.mode;
                // First: whoever asked may look at once.
                self.mode_is(&session.welcome);
                session.asked.told(&answers);
            }
            ToAgent::Goodbye(reason) => return Err(format!("the relay ended the session: {reason}")),
            ToAgent::Welcome(_) | ToAgent::Refused(_) => return Err("the relay greeted twice".into()),
        }
        Ok(())
    }

    /// Notes how the session is, and tells how the tunnel answers where that is news.
    fn mode_is(&self, welcome: &Welcome) {
        let before = self.welcomed.send_replace(Some(welcome.clone()));
        if before.is_some_and(|before| before.answer_mode != welcome.answer_mode) {
            self.announcer.tell(Notice::AnswerMode { answer: welcome.answer_mode.as_str() });
        }
    }

    fn take(&self, session: &Session, incoming: Incoming) {
        if let Some(done) = &session.done {
            tokio::spawn(Arc::clone(&self.intake).take(incoming, done.clone(), self.inflight.clone()));
        }
    }

    /// Tells the relay what is done. Fails where the archive does.
    fn settle(&mut self, session: &mut Session, finished: &mut Vec<Done>) -> Result<Result<(), String>, DriveError> {
        let mut taken = Vec::new();
        let mut broken = Ok(());
        for done in finished.drain(..) {
            match done {
                Done::Taken(receipt) => {
                    self.settled(session, receipt);
                    taken.push(receipt.n);
                }
                Done::Answered(receipt, answer) => {
                    let stored = answer.outcome != Err(AnswerFailure::NotStored);
                    self.settled(session, Receipt { seq: receipt.seq.filter(|_| stored), ..receipt });
                    let body = match &answer.outcome {
                        Ok(a) if a.body_len > INLINE_BODY as u64 => Some(a.body.clone()),
                        _ => None,
                    };
                    let frame = ToRelay::Answer(answer).encode();
                    match body {
                        Some(body) => session.link.outbox.with_body(frame, receipt.n, body),
                        None => session.link.outbox.whole(frame),
                    }
                }
                Done::NotStored(e) => match e {
                    // The relay keeps it; another session later brings it again.
                    ArchiveError::DiskFull { .. } | ArchiveError::Busy => broken = Err(e.to_string()),
                    ArchiveError::TooLarge { .. } | ArchiveError::Unknown(_) => {
                        self.announcer.warn(format!("a delivery could not be stored: {e}"));
                    }
                    e => return Err(DriveError::Archive(e)),
                },
            }
        }
        if !taken.is_empty() {
            session.link.outbox.whole(ToRelay::Taken(taken).encode());
        }
        Ok(broken)
    }

    fn settled(&mut self, session: &mut Session, receipt: Receipt) {
        session.window.taken(receipt.len);
        if let Some(seq) = receipt.seq {
            self.progress.stored(seq);
            if self.gaps.stored(seq) {
                self.gaps.keep(&self.inflight);
            }
        }
    }
}

struct Session {
    link: Link<Stream>,
    welcome: Welcome,
    /// `None` when nothing new is let in.
    done: Option<mpsc::Sender<Done>>,
    assembler: Assembler<Incoming>,
    window: Window,
    heartbeat: Heartbeat,
    /// The last ping that is not answered yet, and when it went out.
    pinged: Option<(u64, Instant)>,
    asked: Asked,
}

/// Returns when the agent is to end. The lock that waiting gives is let go at once.
async fn stopping(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn broke(reason: impl Into<String>, cure: Cure, lasted: Duration) -> Event {
    Event::Broke(Trouble { reason: reason.into(), cure }, lasted)
}

/// The system's chance; if it has none the agents come a little less spread.
pub(super) fn random() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / (f64::from(u32::MAX) + 1.0))
}
