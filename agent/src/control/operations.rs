//! What can be done with stored deliveries, written once for commands and for the running agent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tunnel_archive::{Archive, ArchiveError, Cursor};
use tunnel_delivery::{Attempt, Cause, DeliveryId, DeviceName, Stored, Summary, Timestamp};
use tunnel_protocol::Welcome;
use tunnel_signature::Secret;

use super::meant::Meant;
use super::{ControlError, Edited, Filter, Found, Kind, Steering};
use crate::audit::{Audit, Line, What};
use crate::forward::{Client, TargetUrl};
use crate::gaps::Gaps;
use crate::hand::{Hand, Try};
use crate::policy::Policy;
use crate::settings::RelayUrl;
use crate::signing::ForwardAs;
use crate::upkeep::Upkept;

/// A list that asks for nothing in particular has so many lines.
pub(super) const LIMIT: usize = 50;

/// The operations and what they need.
pub struct Operations {
    /// The secrets, and the way to handlers.
    pub hand: Hand,
    /// The store; the hand's is the same one.
    pub archive: Archive,
    /// Where deliveries go by default.
    pub policy: Arc<Policy>,
    /// What the relay said last; `None` where there is no relay.
    pub welcomed: watch::Receiver<Option<Welcome>>,
    /// What there is besides where an agent runs.
    pub agent: Option<Running>,
    /// Whoever checks the whole store has it.
    pub turn: Arc<Mutex<()>>,
    /// For synthetic deliveries: sends a Host line as it is given.
    pub sender: Client,
    /// Where is noted what is done with deliveries.
    pub audit: Audit,
    /// What the relay had and could not give any more.
    pub(crate) gaps: Gaps,
}

/// What the operations know of the agent whose they are.
pub struct Running {
    /// The relay's own address.
    pub relay: RelayUrl,
    /// The agent's name in the tunnel.
    pub device: DeviceName,
    /// What is kept of the store and how that went.
    pub upkept: watch::Receiver<Upkept>,
    /// What can be changed about it.
    pub steering: Steering,
}

/// A stored delivery is to be sent again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Replay {
    /// Which: `latest`, an id or a part of one.
    pub id: String,
    /// Where to, instead of where it would be forwarded to.
    pub to: Option<TargetUrl>,
    /// With which signature.
    pub forward_as: Option<ForwardAs>,
    /// With digest and signature made anew, whatever they were.
    #[serde(default)]
    pub resign: bool,
    /// Whether a delivery from production may go to another machine.
    #[serde(default)]
    pub allow_production: bool,
}

/// Where a replay would go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Aimed {
    /// Which delivery.
    pub id: DeliveryId,
    /// When it was received.
    pub received_at: Timestamp,
    /// Its event.
    pub event_type: Option<String>,
    /// The URL.
    pub target: String,
}

/// What came of a replay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replayed {
    /// Which delivery.
    pub id: DeliveryId,
    /// Its event.
    pub event_type: Option<String>,
    /// The attempt as it is recorded.
    pub attempt: Attempt,
}

impl Operations {
    /// Everything about one delivery.
    pub(crate) async fn get(&self, id: &str) -> Result<Stored, ControlError> {
        self.found(id, Archive::get).await
    }

    /// One delivery without its attempts, and its line in a list: what sending it again needs. After a thousand replays it is as quick as before
    /// the first.
    pub(super) async fn bare(&self, id: &str) -> Result<(Stored, Summary), ControlError> {
        let (stored, line) = self.found(id, Archive::without_attempts).await?;
        if stored.delivery.is_sealed() {
            return Err(ControlError::new(
                Kind::Negative,
                format!("{} is sealed and could not be opened here", line.id),
            )
            .hint("with the key that it was sealed to, `healthie-tunnel key open` opens it"));
        }
        Ok((stored, line))
    }

    async fn found<T: Send + 'static>(
        &self,
        id: &str,
        get: fn(&Archive, DeliveryId) -> Result<Option<T>, ArchiveError>,
    ) -> Result<T, ControlError> {
        let text = id.to_owned();
        let (found, stored) = self
            .read(move |archive| {
                let found = archive.find(&text)?;
                let stored = match found[..] {
                    [one] => get(archive, one)?,
                    _ => None,
                };
                Ok((found, stored))
            })
            .await?;
        match (stored, &found[..]) {
            (Some(stored), _) => Ok(stored),
            (None, [] | [_]) if id == "latest" => Err(ControlError::new(Kind::Negative, "nothing is stored yet")
                .hint("send a delivery: healthie-tunnel trigger appointment.created")),
            (None, [] | [_]) => Err(ControlError::new(Kind::Negative, format!("there is no delivery {id:?}"))
                .hint("`healthie-tunnel events list` shows what is there")),
            (None, several) => {
                let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
                Err(ControlError::new(Kind::Usage, format!("{id:?} may be any of {}", ids.join(", ")))
                    .hint("write more of the id"))
            }
        }
    }

    /// A list.
    pub(crate) async fn list(&self, filter: &Filter) -> Result<Found, ControlError> {
        let limit = filter.limit.unwrap_or(LIMIT);
        let mut cursor = match &filter.cursor {
            Some(text) => Some(text.parse::<Cursor>().map_err(|e| ControlError::new(Kind::Usage, e.to_string()))?),
            None => None,
        };
        let meant = Meant::read(filter)?;
        let mut items = Vec::new();
        loop {
            let room = limit.saturating_sub(items.len()).min(1000);
            if room == 0 {
                return Ok(Found { items, next: cursor.map(|c| c.to_string()) });
            }
            let meant = meant.clone();
            let page = self.read(move |archive| meant.page(archive, room, cursor)).await?;
            items.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(Found { items, next: None });
            }
        }
    }

    /// Sends a stored delivery again and records that.
    pub(crate) async fn replay(&self, replay: &Replay) -> Result<Replayed, ControlError> {
        let (stored, line) = self.bare(&replay.id).await?;
        if replay.resign {
            let to = replay.to.clone();
            return self.edited(&Edited { to, allow_production: replay.allow_production, ..Edited::of(&stored) }).await;
        }
        let to = self.target(&line, replay.to.as_ref())?;
        let hand = self.hand_for(&line, &to, replay.allow_production).await?;
        let noted = Line::new(What::Replayed).of(&line).target(&to.url(&to.map(&stored.delivery.handler_target())));
        self.audit.note(noted).await?;
        let matched = self.hand.signing.check_with_digest(&stored.delivery, stored.body_sha256).matched;
        let forward_as = replay.forward_as.or(self.policy.forward_as);
        let how = Try { cause: Cause::Replay, number: line.attempts + 1, for_sender: false };
        let attempt = hand.over(&stored.delivery, matched.as_ref(), &to, forward_as, how).await.attempt;
        self.hand.record(&line, attempt.clone()).await?;
        Ok(Replayed { id: line.id, event_type: line.event_type, attempt })
    }

    /// Where a replay would go, or why it would not be sent.
    pub(crate) async fn aim(&self, replay: &Replay) -> Result<Aimed, ControlError> {
        let (stored, line) = self.bare(&replay.id).await?;
        let to = self.target(&line, replay.to.as_ref())?;
        self.hand_for(&line, &to, replay.allow_production).await?;
        let target = to.url(&to.map(&stored.delivery.handler_target()));
        Ok(Aimed { id: line.id, received_at: line.received_at, event_type: line.event_type, target })
    }

    /// Where a delivery goes: where it is told to, else where it would be forwarded to.
    pub(super) fn target(&self, line: &Summary, to: Option<&TargetUrl>) -> Result<TargetUrl, ControlError> {
        let event = line.event_type.as_deref();
        let found = to.or_else(|| self.policy.routes.target(event.unwrap_or(""))).cloned();
        found.ok_or_else(|| {
            let what = event.unwrap_or("deliveries without an event");
            ControlError::new(Kind::Usage, format!("there is no target for {what}"))
                .hint("name one with --to, for example --to 3000")
        })
    }

    /// Runs what reads the archive where it may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Archive) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let archive = self.archive.clone();
        let done = tokio::task::spawn_blocking(move || read(&archive)).await;
        Ok(done.unwrap_or(Err(ArchiveError::Closed))?)
    }
}

/// Secrets that travelled as text.
pub(super) fn secrets(texts: &[String]) -> Result<Vec<Secret>, ControlError> {
    texts
        .iter()
        .map(|text| Secret::new(text.clone()).map_err(|e| ControlError::new(Kind::Usage, e.to_string())))
        .collect()
}
