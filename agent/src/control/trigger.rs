//! Synthetic deliveries: a payload from the catalogue or a given one, signed, perhaps tampered with, sent through the relay or straight to a
//! target.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tunnel_catalogue::IdStyle;
use tunnel_delivery::ErrorKind;
use tunnel_signature::{Reading, Secret};

use super::operations::secrets;
use super::{ControlError, Kind, Operations};
use crate::dial::split_url;
use crate::forward::{Exchange, TargetUrl};
use crate::trigger::field::FieldPath;
use crate::trigger::forge::{self, Draft, Tamper};

/// How much of an answer is read; more than that is not shown.
const ANSWER: usize = 16 * 1024;

/// A synthetic delivery is to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct Trigger {
    /// The event's name.
    pub event: String,
    /// Profile and variant of the signature.
    pub reading: String,
    /// Fields that are set or replaced, by their paths.
    pub set: Vec<(String, Value)>,
    /// Straight to this target instead of through the relay.
    pub direct: Option<TargetUrl>,
    /// To this URL instead of the tunnel's.
    pub url: Option<String>,
    /// The path, where `url` does not say one.
    pub path: String,
    /// Signs instead of the agent's own.
    pub secrets: Vec<String>,
    /// Chooses ids and the like.
    pub seed: u64,
    /// This payload instead of one that is made up.
    #[serde(default)]
    pub payload: Option<Value>,
    /// What is changed after signing.
    #[serde(default)]
    pub tamper: Option<Tamper>,
    /// Without the headers of the signature.
    #[serde(default)]
    pub unsigned: bool,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Triggered {
    /// Where it was sent.
    pub url: String,
    /// The event's name.
    pub event_type: String,
    /// The payload.
    pub payload: Value,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// Of which kind that is.
    #[serde(default)]
    pub error_kind: Option<ErrorKind>,
    /// The answer's body as text, cut.
    pub answer: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// What was done otherwise than asked for, and why.
    #[serde(default)]
    pub note: Option<String>,
}

impl Triggered {
    /// Whether it was answered 2xx.
    pub fn succeeded(&self) -> bool {
        self.error.is_none() && self.status.is_some_and(|s| (200..300).contains(&s))
    }

    /// Whether nobody was there to answer.
    pub fn unreachable(&self) -> bool {
        matches!(self.error_kind, Some(ErrorKind::Connect | ErrorKind::Resolve | ErrorKind::Tls))
    }
}

/// The payload of an event as it is made up.
pub fn payload(event: &str, seed: u64) -> Value {
    match tunnel_catalogue::find(event) {
        Some(known) => tunnel_catalogue::synthetic(known, seed, IdStyle::Text),
        None => tunnel_catalogue::synthetic_unknown(event, seed, IdStyle::Text),
    }
}

/// Where a request goes: whom to connect to, what the Host line says, and the request target.
struct Place {
    to: TargetUrl,
    host: String,
    target: String,
}

impl Place {
    fn url(&self) -> String {
        format!("{}://{}{}", if self.to.peer.tls { "https" } else { "http" }, self.host, self.target)
    }
}

fn usage(e: impl ToString) -> ControlError {
    ControlError::new(Kind::Usage, e.to_string())
}

impl Operations {
    /// Sends one synthetic delivery.
    pub(crate) async fn trigger(&self, trigger: &Trigger) -> Result<Triggered, ControlError> {
        let given = secrets(&trigger.secrets)?;
        let secret = given.first().or(self.hand.signing.first()).ok_or_else(|| {
            usage("there is no secret to sign with").hint("give the webhook's with --secret or HEALTHIE_WEBHOOK_SECRET")
        })?;
        let mut made = trigger.payload.clone().unwrap_or_else(|| payload(&trigger.event, trigger.seed));
        for (path, value) in &trigger.set {
            let path: FieldPath = path.parse().map_err(usage)?;
            path.set(&mut made, value.clone()).map_err(usage)?;
        }
        let mut place = self.place(trigger)?;
        let mut done = self.send(trigger, secret, &place, &made).await?;
        let mut note = None;
        if done.error.as_ref().is_some_and(|e| e.kind == ErrorKind::Resolve)
            && let Some(other) = self.by_path(trigger)
        {
            note = Some(format!(
                "the name {} does not resolve here; sent to {} instead, which the agent is connected to",
                place.to.peer.host,
                other.url()
            ));
            place = other;
            done = self.send(trigger, secret, &place, &made).await?;
        }
        Ok(Triggered {
            url: place.url(),
            event_type: trigger.event.clone(),
            payload: made,
            status: done.status,
            error_kind: done.error.as_ref().map(|e| e.kind),
            error: done.error.map(|e| e.message),
            answer: crate::safe_text::bytes_as_text(&done.body),
            duration_ms: done.duration.as_micros() as f64 / 1000.0,
            note,
        })
    }

    /// Signs for the place and sends to it.
    async fn send(
        &self,
        trigger: &Trigger,
        secret: &Secret,
        place: &Place,
        payload: &Value,
    ) -> Result<Exchange, ControlError> {
        let reading: Reading = trigger.reading.parse().map_err(|e: tunnel_signature::Error| usage(e))?;
        let draft = Draft {
            reading,
            secret,
            method: "POST",
            host: &place.host,
            signed: &place.target,
            sent: &place.target,
            body: payload.to_string().into(),
        };
        let mut out = match trigger.tamper {
            Some(how) => draft.tampered(how),
            None => draft.sign(),
        }
        .map_err(usage)?;
        // Behind the Host line, as a sender would write it.
        out.headers.0.insert(1, tunnel_delivery::HeaderLine::new("User-Agent", crate::listen::SOFTWARE));
        if trigger.unsigned {
            forge::without(&mut out, &forge::OF_THE_SIGNATURE);
        }
        Ok(self.sender.exchange(&place.to, &out, self.hand.limit, ANSWER).await)
    }

    fn place(&self, trigger: &Trigger) -> Result<Place, ControlError> {
        if let Some(direct) = &trigger.direct {
            let target = direct.map(&trigger.path);
            return Ok(Place { to: direct.clone(), host: direct.peer.authority(), target });
        }
        let (url, given) = match (&trigger.url, &*self.welcomed.borrow()) {
            (Some(url), _) => (url.clone(), true),
            (None, Some(welcome)) if !welcome.public_urls.is_empty() => (welcome.public_urls[0].clone(), false),
            (None, _) => {
                return Err(usage("the tunnel's public address is not known, because no agent is connected").hint(
                    "start `healthie-tunnel listen` first, or name an address with --url, or a handler with --direct",
                ));
            }
        };
        let (peer, rest) = split_url(&url, &["http"], &["https"]).map_err(usage)?;
        let host = peer.authority();
        let target = if given && !rest.is_empty() { rest } else { format!("{rest}{}", trigger.path) };
        // The tunnel's own name needs no DNS: it is at the relay that the agent is connected to, and the Host line says which tunnel.
        let peer = match &self.agent {
            Some(agent) if !given && agent.relay.0.tls == peer.tls => agent.relay.0.clone(),
            _ => peer,
        };
        Ok(Place { to: TargetUrl::of(peer), host, target })
    }

    /// The tunnel below the relay's own name, which needs no name of the tunnel's: the agent is connected there.
    fn by_path(&self, trigger: &Trigger) -> Option<Place> {
        if trigger.direct.is_some() || trigger.url.is_some() {
            return None;
        }
        let relay = &self.agent.as_ref()?.relay;
        let tunnel = self.welcomed.borrow().as_ref()?.tunnel.clone();
        Some(Place {
            to: TargetUrl::of(relay.0.clone()),
            host: relay.0.authority(),
            target: format!("/t/{tunnel}{}", trigger.path),
        })
    }
}
