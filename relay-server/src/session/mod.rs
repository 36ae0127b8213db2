//! One agent's session: its hello, then deliveries down and answers up until one side goes.
//!
//! The books are `ledger`'s, the socket is `pump`'s; `opening` is the way to a seat, `feed` what is sent from the spool; this is what wakes them. It knows nothing of HTTP.

mod feed;
mod key;
pub(crate) mod ledger;
mod mode;
mod opening;
pub(crate) mod pump;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, info};
use tunnel_delivery::{Delivery, DeviceName, Timestamp, TunnelName};
use tunnel_protocol::{Beat, Heartbeat, ToAgent, ToRelay};
use tunnel_spool::{DevicePlace, Role, Seq, SpoolError};

use crate::audit::{Entry, What, Who};
use crate::flag::Flag;
use crate::hub::Seat;
use crate::lines::Line;
use crate::metrics::{Limit, SessionEnd};
use crate::registry::{Access, AnswerMode, Pass};
use crate::shared::Shared;
use crate::traces;
use feed::Backlog;
use ledger::{Ledger, Took};
use pump::{Ended, Pump};

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
    let opened = match opening::hello(&mut pump, &shared).await {
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
    let (shared, device) = (Arc::clone(&session.shared), session.device.clone());
    drop(session);
    shared.device_left(&caller.tunnel, &device, &caller.pass.token);
    close(pump).await;
}

async fn close<S: AsyncRead + AsyncWrite + Unpin>(pump: Pump<S>) {
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), pump.close()).await;
}

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

/// The wall clock as the spool and the ids want it.
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}
