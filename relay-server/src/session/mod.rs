//! One agent's session: its hello, then deliveries down and answers up until one side goes.
//!
//! The books are `ledger`'s, the socket is `pump`'s; this is what wakes them. It knows nothing of HTTP.

mod key;
pub(crate) mod ledger;
mod mode;
pub(crate) mod pump;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tracing::{debug, info, warn};
use tunnel_delivery::{Delivery, DeviceName, Timestamp, TunnelName};
use tunnel_protocol::{
    Beat, Gap, GapReason, HELLO_TIMEOUT, Heartbeat, Hello, Incoming, Outbox, Refusal, Refused, Start, ToAgent, ToRelay,
    VERSION_MAX, VERSION_MIN, Welcome, Window, choose_version,
};
use tunnel_spool::{DevicePlace, ReadLimit, Role, Seq, SpoolError};

use crate::audit::{Entry, What, Who};
use crate::flag::Flag;
use crate::hub::Seat;
use crate::lines::Line;
use crate::metrics::{Limit, SessionEnd};
use crate::registry::{Access, AnswerMode, Pass};
use crate::shared::Shared;
use crate::traces;
use ledger::{Ledger, Took};
use pump::{Ended, Pump};

/// How much is taken from the spool at a time.
const READ: ReadLimit = ReadLimit { count: 128, bytes: 1 << 20 };

/// The most that is on its way to one agent, whatever it allows: deliveries, and bytes of bodies. It bounds what an agent that reads nothing can
/// make the relay hold.
const WINDOW_MOST: (u32, u64) = (1024, 16 << 20);

/// Who wants a session; the token was checked.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) tunnel: TunnelName,
    pub(crate) pass: Pass,
    /// Where it comes from, as far as that is known.
    pub(crate) from: IpAddr,
    pub(crate) public_urls: Vec<String>,
}

/// What a session's end is told as.
#[derive(Debug)]
enum End {
    /// The agent went.
    Agent(SessionEnd, String),
    /// The relay ends it, and tells the agent why.
    Relay(SessionEnd, String),
}

/// Serves one agent until it goes or has to.
pub(crate) async fn serve<S>(stream: S, read: Vec<u8>, caller: Caller, shared: Arc<Shared>, stopping: Flag)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pump = Pump::server(stream, read, shared.config.limits.frame).await;
    let opened = match hello(&mut pump, &shared).await {
        Some(hello) => Session::open(&mut pump, hello, &caller, Arc::clone(&shared)).await,
        None => None,
    };
    let Some(mut session) = opened else {
        shared.metrics.session_ended(SessionEnd::Refused);
        return close(pump).await;
    };
    session.note(What::AgentConnected, caller.pass.access.as_str());
    if shared.tells(Line::AgentConnected, &caller.pass.token) {
        info!(tunnel = %caller.tunnel, device = %session.device, token = %caller.pass.token, access = caller.pass.access.as_str(), after = %session.ledger.sent(), "agent connected");
    }
    let end = session.run(&mut pump, &stopping).await;
    let why = match &end {
        End::Agent(_, why) => why.clone(),
        End::Relay(_, why) => {
            session.ledger.outbox.urgent(ToAgent::Goodbye(why.clone()).encode());
            let _ =
                tokio::time::timeout(std::time::Duration::from_secs(2), pump.drain(&mut session.ledger.outbox)).await;
            why.clone()
        }
    };
    let (End::Agent(kind, _) | End::Relay(kind, _)) = end;
    session.shared.metrics.session_ended(kind);
    if shared.tells(Line::AgentGone, &caller.pass.token) {
        info!(tunnel = %caller.tunnel, device = %session.device, on_their_way = session.ledger.on_their_way(), why, "agent gone");
    }
    session.note(What::AgentDisconnected, &why);
    drop(session);
    close(pump).await;
}

async fn close<S: AsyncRead + AsyncWrite + Unpin>(pump: Pump<S>) {
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), pump.close()).await;
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(pump: &mut Pump<S>, code: Refusal, message: String) {
    let mut outbox = Outbox::<ToAgent>::default();
    outbox.whole(ToAgent::Refused(Refused { code, message }).encode());
    let _ = tokio::time::timeout(HELLO_TIMEOUT, pump.drain(&mut outbox)).await;
}

/// The tunnel has as many agents as it may.
async fn refuse_one_more<S: AsyncRead + AsyncWrite + Unpin>(pump: &mut Pump<S>, shared: &Shared, tunnel: &TunnelName) {
    shared.metrics.limit_hit(Limit::Agents);
    let agents = counted(shared.config.limits.agents_per_tunnel, "agent");
    refuse(pump, Refusal::TooMany, format!("tunnel {tunnel} has {agents}, as many as this relay allows")).await;
}

/// So many of them, in words.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

async fn hello<S: AsyncRead + AsyncWrite + Unpin>(pump: &mut Pump<S>, shared: &Shared) -> Option<Hello> {
    let mut nothing = Outbox::<ToAgent>::default();
    let frame = match tokio::time::timeout(shared.config.limits.hello_time, pump.next(&mut nothing)).await {
        Ok(Ok(frame)) => frame,
        Ok(Err(ended)) => {
            ended.count(&shared.metrics);
            return None;
        }
        Err(_) => {
            shared.metrics.limit_hit(Limit::HelloTime);
            return None;
        }
    };
    match ToRelay::decode(frame) {
        Ok(ToRelay::Hello(hello)) => Some(hello),
        Ok(_) => {
            refuse(pump, Refusal::BadHello, "the first frame must be a hello".into()).await;
            None
        }
        Err(e) => {
            refuse(pump, Refusal::BadHello, e.to_string()).await;
            None
        }
    }
}

type Backlog = Result<Vec<(Seq, Arc<Delivery>)>, SpoolError>;

struct Session {
    tunnel: TunnelName,
    device: DeviceName,
    shared: Arc<Shared>,
    seat: Seat,
    ledger: Ledger,
    heartbeat: Heartbeat,
    /// Read from the spool and not sent yet.
    backlog: VecDeque<(Seq, Arc<Delivery>)>,
    /// A read of the spool that is under way.
    reading: Option<JoinHandle<Backlog>>,
    caller: Caller,
    /// Whether the agent was told that deliveries are sealed.
    sealed: bool,
    /// Whether it has a key.
    has_key: bool,
    /// How the agent was told that the tunnel answers.
    told: AnswerMode,
    /// A change of that which the agent asked for and which is under way.
    changing: Option<mode::Changing>,
    /// The next such change begins then at the earliest.
    change_after: Instant,
}

impl Session {
    async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        pump: &mut Pump<S>,
        hello: Hello,
        caller: &Caller,
        shared: Arc<Shared>,
    ) -> Option<Session> {
        let limits = &shared.config.limits;
        let Some(version) = choose_version((VERSION_MIN, VERSION_MAX), hello.versions) else {
            let message = format!(
                "this relay speaks versions {VERSION_MIN} to {VERSION_MAX} of the protocol and the agent {} to {}: update the older of the two",
                hello.versions.0, hello.versions.1
            );
            refuse(pump, Refusal::Version, message).await;
            return None;
        };
        let Some(sealed) = shared.registry.snapshot().tunnels.get(&caller.tunnel).map(|tunnel| tunnel.seal) else {
            refuse(pump, Refusal::Unavailable, format!("tunnel {} was removed", caller.tunnel)).await;
            return None;
        };
        if let Some(why) = key::refusal(&caller.tunnel, sealed, &hello) {
            // A code that an agent of any version ends over: trying again would not help.
            refuse(pump, Refusal::BadHello, why).await;
            return None;
        }
        let start = match hello.start {
            Start::Now => tunnel_spool::Start::Now,
            Start::Beginning => tunnel_spool::Start::Beginning,
            Start::At(at) => tunnel_spool::Start::At(at),
        };
        // Those that only look use up no place of the others.
        let mut devices = shared.spool.devices(&caller.tunnel).unwrap_or_default();
        devices.retain(|place| (place.role == Role::Watches) == (caller.pass.access == Access::ReadOnly));
        let known = devices.iter().any(|place| place.device == hello.device);
        if !known && devices.len() >= limits.devices_per_tunnel {
            shared.metrics.limit_hit(Limit::Devices);
            let message = format!(
                "tunnel {} keeps deliveries for {}, as many as this relay allows; `healthie-relay tunnel forget` makes room where one is gone for good",
                caller.tunnel,
                counted(devices.len(), "device")
            );
            refuse(pump, Refusal::TooMany, message).await;
            return None;
        }
        // Asked before it gets a place in the spool, which it would keep though it is refused.
        if !shared.hub.has_room(&caller.tunnel, &hello.device, &caller.pass, limits.agents_per_tunnel) {
            refuse_one_more(pump, &shared, &caller.tunnel).await;
            return None;
        }
        if caller.pass.access == Access::Full {
            // Before the place is this one's: what an onlooker has taken must not move it.
            shared.hub.dismiss_onlooker(&caller.tunnel, &hello.device);
        }
        let joined = match caller.pass.access {
            Access::Full => shared.spool.join(&caller.tunnel, &hello.device, start, shared.now()).await,
            Access::ReadOnly => shared.spool.watch(&caller.tunnel, &hello.device, start, shared.now()).await,
        };
        let joined = match joined {
            // Its key is durable before it is seated: whatever is sealed while it is there is sealed to it.
            Ok(place) => {
                let note = |key| {
                    note(
                        &shared,
                        caller,
                        &hello.device,
                        What::DeviceKeyed,
                        &format!("{} {key}", caller.pass.access.as_str()),
                    );
                };
                key::noted(&shared, &caller.tunnel, &hello, place, sealed, note).await
            }
            Err(e) => Err(e),
        };
        let key::Noted { place, notice } = match joined {
            Ok(noted) => noted,
            Err(e) => {
                if matches!(e, SpoolError::TooManyDevices { .. }) {
                    shared.metrics.limit_hit(Limit::Devices);
                }
                if shared.tells(Line::AgentNotSeated, &caller.pass.token) {
                    warn!(tunnel = %caller.tunnel, device = %hello.device, error = %e, "an agent could not be seated");
                }
                refuse(pump, Refusal::Unavailable, for_agents(&e)).await;
                return None;
            }
        };
        let known = !place.new;
        let Some(seat) = shared.hub.seat(&caller.tunnel, &hello.device, &caller.pass, limits.agents_per_tunnel) else {
            // Another came between. Under the same name, the place is that one's.
            let taken = shared.hub.is_there(&caller.tunnel, &hello.device);
            if !known && !taken {
                let _ = shared.spool.forget(&caller.tunnel, &hello.device).await;
            }
            match taken {
                true => refuse(pump, Refusal::Unavailable, "another took the device's name just now".into()).await,
                false => refuse_one_more(pump, &shared, &caller.tunnel).await,
            }
            return None;
        };
        // Seated, it is told of every later change; a change between the upgrade and now has passed it by.
        let all = shared.registry.snapshot();
        let ended = all.ends(&caller.pass, &caller.tunnel, shared.now());
        let settings = match (all.tunnels.get(&caller.tunnel), ended) {
            (Some(settings), None) => settings,
            (_, why) => {
                refuse(pump, Refusal::Unavailable, why.unwrap_or_default()).await;
                return None;
            }
        };
        if settings.seal != sealed {
            refuse(pump, Refusal::Unavailable, "the tunnel's settings changed just now".into()).await;
            return None;
        }
        let places = shared.spool.devices(&caller.tunnel).unwrap_or_default();
        if !holds_place(&places, &hello.device, caller.pass.access) {
            refuse(pump, Refusal::Unavailable, "the device was forgotten just now, or another took its name".into())
                .await;
            return None;
        }
        let (mut after, mut missing) = (place.after, place.gap);
        if let Some(resume) = &hello.resume
            && resume.stream == shared.stream
            && Seq(resume.after) > after
            && Seq(resume.after) <= shared.spool.last(&caller.tunnel)
        {
            // The spool's own books are older than the agent's, which has deliveries from behind what they say was dropped.
            (after, missing) = (Seq(resume.after), None);
            shared.spool.taken(&caller.tunnel, &hello.device, after);
        }
        let waiting = shared.spool.last(&caller.tunnel).0.saturating_sub(after.0);
        let mut ledger = Ledger::new(window(&hello), after, hello.window_deliveries.min(WINDOW_MOST.0));
        ledger.traces = shared.traces.clone();
        ledger.outbox.urgent(
            ToAgent::Welcome(Welcome {
                version,
                tunnel: caller.tunnel.clone(),
                answer_mode: mode::on_the_wire(settings.answer),
                public_urls: caller.public_urls.clone(),
                max_body: settings.max_body.map_or(limits.body, |own| own.min(limits.body)),
                heartbeat: limits.heartbeat,
                dead_after: limits.dead_after,
                stream: shared.stream.clone(),
                after: after.0,
                waiting,
                software: concat!("healthie-relay ", env!("CARGO_PKG_VERSION")).into(),
                sets_answer: true,
                sealed,
                notice,
                read_only: caller.pass.access == Access::ReadOnly,
            })
            .encode(),
        );
        if let Some(missing) = missing {
            if shared.tells(Line::Gap, &caller.pass.token) {
                warn!(tunnel = %caller.tunnel, device = %hello.device, from = %missing.from, upto = %missing.upto, "an agent is told of a gap");
            }
            ledger.outbox.whole(gap(missing.from, missing.upto, Some(missing.why)));
        }
        shared.note_use(&caller.pass.token);
        shared.metrics.session_opened(known);
        Some(Session {
            tunnel: caller.tunnel.clone(),
            device: hello.device,
            heartbeat: Heartbeat::new(Instant::now().into_std(), limits.heartbeat, limits.dead_after),
            shared,
            seat,
            ledger,
            backlog: VecDeque::new(),
            reading: None,
            caller: caller.clone(),
            sealed,
            has_key: hello.device_key.is_some(),
            told: settings.answer,
            changing: None,
            change_after: Instant::now(),
        })
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, pump: &mut Pump<S>, stopping: &Flag) -> End {
        let beat = tokio::time::sleep(std::time::Duration::ZERO);
        tokio::pin!(beat);
        loop {
            if let Err(end) = self.fill() {
                return end;
            }
            // In this order and not by chance: an end before all else, then the socket, so that nothing that comes in from elsewhere keeps answers
            // from being read and frames from being sent. What an agent may send at once is bounded by its window.
            tokio::select! {
                biased;
                why = self.seat.leave.told() => return End::Relay(SessionEnd::Dismissed, why),
                () = stopping.raised() => return End::Relay(SessionEnd::Stopping, "the relay is stopping".into()),
                () = &mut beat => match self.heartbeat.look(Instant::now().into_std()) {
                    Beat::Dead => {
                        self.shared.metrics.limit_hit(Limit::Silence);
                        return End::Agent(SessionEnd::Silence, "nothing was heard for too long".into());
                    }
                    Beat::Ping(n) => self.ledger.outbox.urgent(ToAgent::Ping(n).encode()),
                    Beat::Wait(at) => beat.as_mut().reset(at.into()),
                },
                frame = pump.next(&mut self.ledger.outbox) => match frame {
                    Ok(frame) => {
                        if let Err(end) = self.frame(frame) {
                            return end;
                        }
                    }
                    Err(Ended::Closed) => return End::Agent(SessionEnd::Connection, "the connection ended".into()),
                    Err(e) => {
                        e.count(&self.shared.metrics);
                        return End::Agent(SessionEnd::Connection, e.to_string());
                    }
                },
                read = async { match &mut self.reading { Some(reading) => reading.await, None => std::future::pending().await } } => {
                    self.reading = None;
                    if let Err(end) = self.was_read(read) {
                        return end;
                    }
                }
                changed = async { match &mut self.changing { Some(changing) => changing.done().await, None => std::future::pending().await } } => {
                    self.was_changed(changed);
                }
                offered = self.seat.offers.recv() => {
                    if let Some(offer) = offered {
                        self.ledger.offer(offer, Instant::now());
                    }
                }
                () = self.seat.changed.notified() => {
                    if let Err(end) = self.sealing_is_as_told() {
                        return end;
                    }
                    self.settings_changed();
                }
                () = self.seat.wake.notified() => {}
            }
        }
    }

    /// Sends from the backlog as far as the window goes, and sees to it that there is one.
    fn fill(&mut self) -> Result<(), End> {
        loop {
            // What is offered was offered before it was spooled, and must reach the agent before its copy from the spool does: the agent forwards the
            // one that comes first for its sender, and the other not at all.
            while let Ok(offer) = self.seat.offers.try_recv() {
                self.ledger.offer(offer, Instant::now());
            }
            while let Some((seq, delivery)) = self.backlog.front() {
                if !self.ledger.has_room(delivery.body.len() as u64) {
                    return Ok(());
                }
                let (seq, delivery) = (*seq, Arc::clone(delivery));
                if delivery.is_sealed() {
                    self.may_have_sealed()?;
                }
                self.tell_dropped(seq);
                if Incoming::fits(&delivery) {
                    self.ledger.send(seq, &delivery, Instant::now());
                } else {
                    // The agent would end the session over it, and get it again, for ever.
                    if self.shared.tells(Line::PassedOver, &self.tunnel) {
                        warn!(tunnel = %self.tunnel, %seq, "a spooled delivery is over the protocol's caps and is passed over");
                    }
                    self.ledger.pass_over(seq, gap(seq, seq, None));
                }
                self.backlog.pop_front();
            }
            if self.reading.is_some() || !self.ledger.has_room(0) {
                return Ok(());
            }
            match self.shared.spool.recent(&self.tunnel, self.ledger.sent(), READ) {
                Some(next) if next.is_empty() => return Ok(()),
                Some(next) => self.backlog.extend(next),
                None => {
                    let (shared, tunnel, after) = (Arc::clone(&self.shared), self.tunnel.clone(), self.ledger.sent());
                    self.reading = Some(self.shared.offload.run(move || shared.spool.read(&tunnel, after, READ)));
                    return Ok(());
                }
            }
        }
    }

    /// A read of the spool is done.
    fn was_read(&mut self, read: Result<Backlog, JoinError>) -> Result<(), End> {
        match read {
            Ok(Ok(deliveries)) if deliveries.is_empty() => {
                // All that was to come was dropped, and nothing has come since. Not told, it would be read for again and again.
                if let Some(gap) = self.place().and_then(|place| place.gap) {
                    self.tell_dropped(gap.upto.next());
                }
            }
            Ok(Ok(deliveries)) => self.backlog.extend(deliveries),
            Ok(Err(SpoolError::Unreadable { seq, reason, .. })) => {
                // One damaged record must not keep back all that follow; it is said, here and to the agent.
                if self.shared.tells(Line::PassedOver, &self.tunnel) {
                    warn!(tunnel = %self.tunnel, %seq, reason, "a spooled delivery cannot be read and is passed over");
                }
                self.tell_dropped(seq);
                self.ledger.pass_over(seq, gap(seq, seq, None));
            }
            Ok(Err(e)) => {
                if self.shared.tells(Line::NotRead, &self.tunnel) {
                    warn!(tunnel = %self.tunnel, device = %self.device, error = %e, "the spool cannot be read for an agent");
                }
                return Err(End::Relay(SessionEnd::Spool, for_agents(&e)));
            }
            Err(e) => {
                if self.shared.tells(Line::NotRead, &self.tunnel) {
                    warn!(tunnel = %self.tunnel, device = %self.device, error = %e, "reading the spool failed");
                }
                return Err(End::Relay(
                    SessionEnd::Spool,
                    "the relay cannot read what it has spooled; its operator must look at its log".into(),
                ));
            }
        }
        Ok(())
    }

    /// Writes into the audit log what this agent did.
    fn note(&self, what: What, note: &str) {
        self::note(&self.shared, &self.caller, &self.device, what, note);
    }

    /// An onlooker whose name a device with full access has taken must not move that one's place: what it was sent would count as taken there.
    fn place_is_its_own(&self) -> Result<(), End> {
        if self.caller.pass.access == Access::Full {
            return Ok(());
        }
        let places = self.shared.spool.devices(&self.tunnel).unwrap_or_default();
        if holds_place(&places, &self.device, Access::ReadOnly) {
            return Ok(());
        }
        let why = "an agent with full access has this device name (give this one a --device of its own)";
        Err(End::Relay(SessionEnd::Dismissed, why.into()))
    }

    /// Where the spool has this device.
    fn place(&self) -> Option<DevicePlace> {
        let devices = self.shared.spool.devices(&self.tunnel).unwrap_or_default();
        devices.into_iter().find(|place| place.device == self.device)
    }

    /// Places are given without holes: what lies between the last that was sent and `next` was dropped while this agent was behind.
    fn tell_dropped(&mut self, next: Seq) {
        let (from, upto) = (self.ledger.sent().next(), next.prev());
        if from > upto {
            return;
        }
        let why = self.place().and_then(|place| place.gap).map(|gap| gap.why);
        if self.shared.tells(Line::Gap, &self.caller.pass.token) {
            warn!(tunnel = %self.tunnel, device = %self.device, %from, %upto, "an agent is told of a gap");
        }
        self.ledger.pass_over(upto, gap(from, upto, why));
    }

    fn frame(&mut self, frame: Bytes) -> Result<(), End> {
        let now = Instant::now();
        self.heartbeat.heard(now.into_std());
        let breach = |e: ledger::Breach| End::Relay(SessionEnd::Protocol, e.to_string());
        match ToRelay::decode(frame).map_err(|e| End::Relay(SessionEnd::Protocol, e.to_string()))? {
            ToRelay::Taken(numbers) => self.ledger.taken(&numbers, now).map_err(breach)?,
            ToRelay::Answer(answer) => self.ledger.answer(answer, now).map_err(breach)?,
            ToRelay::Chunk(chunk) => self.ledger.chunk(chunk, now).map_err(breach)?,
            ToRelay::Ping(n) => self.ledger.outbox.urgent(ToAgent::Pong(n).encode()),
            ToRelay::Pong(_) => {}
            ToRelay::SetAnswer(set) => self.set_answer(set),
            ToRelay::Goodbye(why) => return Err(End::Agent(SessionEnd::Goodbye, why)),
            ToRelay::Hello(_) => return Err(End::Relay(SessionEnd::Protocol, "a second hello".into())),
            ToRelay::Unknown => {
                debug!(tunnel = %self.tunnel, device = %self.device, "a frame of a newer agent was skipped");
            }
        }
        let wall = self.shared.now();
        for Took { sent, received_at, trace } in self.ledger.took() {
            let round_trip = now.saturating_duration_since(sent);
            self.shared.metrics.taken(round_trip, wall.since(received_at));
            if let Some(carried) = trace {
                let to = (&self.tunnel, self.device.as_str());
                traces::taken(&self.shared.traces, carried, to, wall, round_trip);
            }
        }
        if let Some(upto) = self.ledger.newly_taken() {
            self.place_is_its_own()?;
            self.shared.spool.taken(&self.tunnel, &self.device, upto);
        }
        Ok(())
    }
}

fn note(shared: &Shared, caller: &Caller, device: &DeviceName, what: What, note: &str) {
    let who = Who::Agent { with_token: caller.pass.token.clone() };
    let entry = Entry::new(shared.now(), what, who).tunnel(&caller.tunnel).device(device);
    shared.audit.note(entry.from(caller.from).note(note));
}

/// Whether a device of that name has a place, and one of its own kind.
fn holds_place(places: &[DevicePlace], device: &DeviceName, access: Access) -> bool {
    places.iter().any(|place| place.device == *device && (place.role == Role::Watches) == (access == Access::ReadOnly))
}

/// What an agent is told of an error of the spool: what concerns its own tunnel. Paths, disks and shares are the operator's business.
fn for_agents(e: &SpoolError) -> String {
    match e {
        SpoolError::TooManyDevices { .. } | SpoolError::NotAWatcher { .. } | SpoolError::Busy => e.to_string(),
        _ => "the relay's spool cannot be used just now; its operator must look at its log".into(),
    }
}

/// As much as the agent allows, within bounds of the relay's own.
fn window(hello: &Hello) -> Window {
    Window::new(hello.window_deliveries.min(WINDOW_MOST.0), hello.window_bytes.min(WINDOW_MOST.1))
}

/// The frame that tells of missing deliveries; without a reason they cannot be read any more.
fn gap(from: Seq, upto: Seq, why: Option<tunnel_spool::Why>) -> Bytes {
    let reason = match why {
        Some(tunnel_spool::Why::Age) => GapReason::Age,
        Some(tunnel_spool::Why::Size) => GapReason::Size,
        Some(tunnel_spool::Why::Removed) => GapReason::Removed,
        None => GapReason::Unreadable,
    };
    ToAgent::Gap(Gap { from: from.0, upto: upto.0, count: upto.0 - from.0 + 1, reason }).encode()
}

/// The wall clock as the spool and the ids want it.
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}
