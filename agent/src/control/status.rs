//! How the agent and the store are at this moment: what `healthie-tunnel status` shows.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tunnel_archive::{Archive, ArchiveError, Order, Query};
use tunnel_delivery::{AnswerClass, Timestamp};

use super::{ControlError, Operations};
use crate::gaps::Missed;
use crate::standing::ConnectionStatus;
use crate::upkeep::Upkept;

/// What waits is counted up to this number; beyond it, counting would take longer than anybody wants to know it.
const COUNTED: u64 = 10_000;

/// Who answers at the local interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The process.
    pub pid: u32,
    /// Program and version.
    pub software: String,
    /// The version of the interface.
    pub api: u32,
}

/// Everything at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Whether an agent runs. Without one there are only the figures of the store.
    pub running: bool,
    /// The agent's process.
    pub pid: Option<u32>,
    /// Program and version of whoever has the store open.
    pub software: String,
    /// The relay's address.
    pub relay: Option<String>,
    /// The tunnel, once there was a session.
    pub tunnel: Option<String>,
    /// The agent's name in it.
    pub device: Option<String>,
    /// Where senders reach the tunnel.
    pub public_urls: Vec<String>,
    /// How the tunnel answers its senders, as far as is known: `ack` or `passthrough`.
    #[serde(default)]
    pub answer: Option<String>,
    /// Whether the relay seals what comes in for the tunnel to its agents' keys, as far as is known.
    #[serde(default)]
    pub sealed: Option<bool>,
    /// Whether the token only lets the agent look: it gets deliveries, answers no sender and changes nothing.
    #[serde(default)]
    pub read_only: bool,
    /// Whether forwarding is paused.
    #[serde(default)]
    pub paused: bool,
    /// The connection to the relay.
    pub connection: Option<ConnectionStatus>,
    /// What the relay had for this agent and could not give any more, as it was told in the last 30 days; the oldest first.
    #[serde(default)]
    pub gaps: Vec<Missed>,
    /// What is still to come or to be done.
    pub waiting: Waiting,
    /// What is stored.
    pub archive: Figures,
    /// What is kept, and what was removed because of that; nobody removes anything where no agent runs.
    pub upkeep: Option<Upkept>,
}

/// Deliveries that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many of those that waited at the relay when the connection came up have not come yet; unknown without a connection.
    pub at_relay: Option<u64>,
    /// How many are stored and wait to be forwarded.
    pub to_forward: u64,
    /// Whether there are more of them than were counted.
    pub to_forward_more: bool,
    /// How many were tried and wait to be tried again.
    #[serde(default)]
    pub to_retry: u64,
}

/// Figures of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// How many deliveries.
    pub deliveries: u64,
    /// How many attempts.
    pub attempts: u64,
    /// The length of all bodies in bytes.
    pub body_bytes: u64,
    /// The length of the store's file in bytes.
    pub disk_bytes: u64,
}

impl Operations {
    /// How everything is now.
    pub(crate) async fn status(&self) -> Result<Status, ControlError> {
        let (archive, (to_forward, to_forward_more)) =
            self.read(|archive| Ok((figures(archive), queued(archive)?))).await?;
        let welcome = self.welcomed.borrow().clone();
        let announcer = &self.hand.announcer;
        let running = self.agent.is_some();
        let connection =
            running.then(|| announcer.standing().at(Instant::now(), Timestamp::from_system(SystemTime::now())));
        let at_relay = connection.as_ref().and_then(|c| c.at_relay);
        Ok(Status {
            running,
            pid: running.then(std::process::id),
            software: crate::listen::SOFTWARE.to_owned(),
            relay: self.agent.as_ref().map(|a| a.relay.to_string()),
            tunnel: welcome.as_ref().map(|w| w.tunnel.to_string()),
            device: self.agent.as_ref().map(|a| a.device.to_string()),
            sealed: welcome.as_ref().map(|w| w.sealed),
            answer: welcome.as_ref().map(|w| w.answer_mode.as_str().to_owned()),
            read_only: welcome.as_ref().is_some_and(|w| w.read_only),
            public_urls: welcome.map(|w| w.public_urls).unwrap_or_default(),
            paused: self.agent.as_ref().is_some_and(|a| a.steering.pause.is_on()),
            connection,
            gaps: self.gaps.missed(),
            waiting: Waiting {
                at_relay,
                to_forward,
                to_forward_more,
                to_retry: self.agent.as_ref().map_or(0, |a| a.steering.backlog.to_retry()),
            },
            archive,
            upkeep: self.agent.as_ref().map(|a| a.upkept.borrow().clone()),
        })
    }
}

fn figures(archive: &Archive) -> Figures {
    let s = archive.stats();
    Figures { deliveries: s.deliveries, attempts: s.attempts, body_bytes: s.body_bytes, disk_bytes: s.disk_bytes }
}

/// How many wait to be forwarded, and whether there are more.
fn queued(archive: &Archive) -> Result<(u64, bool), ArchiveError> {
    let (mut count, mut cursor) = (0, None);
    loop {
        let query = Query {
            order: Order::OldestFirst,
            limit: 1000,
            cursor,
            answer: vec![AnswerClass::Queued],
            ..Query::default()
        };
        let page = archive.list(&query)?;
        count += page.items.len() as u64;
        cursor = page.next;
        if cursor.is_none() || count >= COUNTED {
            return Ok((count, cursor.is_some()));
        }
    }
}
