//! Synthetic deliveries: a payload from the catalogue, signed, sent through the relay or straight to a target.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tunnel_catalogue::IdStyle;
use tunnel_delivery::Headers;
use tunnel_signature::{Reading, Request};

use super::operations::secrets;
use super::{ControlError, Kind, Operations};
use crate::dial::split_url;
use crate::forward::{Outgoing, TargetUrl};

/// How much of an answer is read; more than that is not shown.
const ANSWER: usize = 16 * 1024;

/// A synthetic delivery is to be sent.
#[derive(Clone, Serialize, Deserialize)]
pub struct Trigger {
    /// The event's name.
    pub event: String,
    /// Profile and variant of the signature.
    pub reading: String,
    /// Fields that are set or replaced.
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
    /// The answer's body as text, cut.
    pub answer: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

impl Triggered {
    /// Whether it was answered 2xx.
    pub fn succeeded(&self) -> bool {
        self.error.is_none() && self.status.is_some_and(|s| (200..300).contains(&s))
    }
}

/// The payload of an event with some fields set.
pub fn payload(event: &str, seed: u64, set: &[(String, Value)]) -> Value {
    let mut payload = match tunnel_catalogue::find(event) {
        Some(known) => tunnel_catalogue::synthetic(known, seed, IdStyle::Text),
        None => tunnel_catalogue::synthetic_unknown(event, seed, IdStyle::Text),
    };
    if let Some(fields) = payload.as_object_mut() {
        for (name, value) in set {
            fields.insert(name.clone(), value.clone());
        }
    }
    payload
}

/// Where a request goes: whom to connect to, what the Host line says, and the request target.
struct Place {
    to: TargetUrl,
    host: String,
    target: String,
}

impl Operations {
    /// Sends one synthetic delivery.
    pub(crate) async fn trigger(&self, trigger: &Trigger) -> Result<Triggered, ControlError> {
        let usage = |e: String| ControlError::new(Kind::Usage, e);
        let given = secrets(&trigger.secrets)?;
        let secret = given.first().or(self.hand.signing.first()).ok_or_else(|| {
            usage("there is no secret to sign with".into())
                .hint("give the webhook's with --secret or HEALTHIE_WEBHOOK_SECRET")
        })?;
        let reading: Reading = trigger.reading.parse().map_err(|e: tunnel_signature::Error| usage(e.to_string()))?;
        let place = self.place(trigger)?;
        let payload = payload(&trigger.event, trigger.seed, &trigger.set);
        let body = payload.to_string().into_bytes();
        let request = Request { method: "POST", target: &place.target, content_type: "application/json", body: &body };
        let signed = tunnel_signature::sign(reading, secret, &request).map_err(|e| usage(e.to_string()))?;
        let mut headers = Headers::default();
        headers.push("Host", place.host.clone());
        headers.push("User-Agent", crate::listen::SOFTWARE);
        for (name, value) in signed.lines() {
            headers.push(name, value.as_bytes().to_vec());
        }
        let out = Outgoing { method: "POST".into(), target: place.target, headers, body: body.into(), resigned: false };
        let done = self.sender.exchange(&place.to, &out, self.hand.limit, ANSWER).await;
        Ok(Triggered {
            url: format!("{}://{}{}", if place.to.peer.tls { "https" } else { "http" }, place.host, out.target),
            event_type: trigger.event.clone(),
            payload,
            status: done.status,
            error: done.error.map(|e| e.message),
            answer: crate::safe_text::bytes_as_text(&done.body),
            duration_ms: done.duration.as_micros() as f64 / 1000.0,
        })
    }

    fn place(&self, trigger: &Trigger) -> Result<Place, ControlError> {
        let usage = |e: String| ControlError::new(Kind::Usage, e);
        if let Some(direct) = &trigger.direct {
            let target = direct.map(&trigger.path);
            return Ok(Place { to: direct.clone(), host: direct.peer.authority(), target });
        }
        let (url, given) = match (&trigger.url, &*self.welcomed.borrow()) {
            (Some(url), _) => (url.clone(), true),
            (None, Some(welcome)) if !welcome.public_urls.is_empty() => (welcome.public_urls[0].clone(), false),
            (None, _) => {
                return Err(usage("the tunnel's public address is not known, because no agent is connected".into())
                    .hint("start `healthie-tunnel listen` first, or name an address with --url, or a handler with --direct"));
            }
        };
        let (peer, rest) = split_url(&url, &["http"], &["https"]).map_err(|e| usage(e.to_string()))?;
        let host = peer.authority();
        let target = if given && !rest.is_empty() { rest } else { format!("{rest}{}", trigger.path) };
        // The tunnel's own name needs no DNS: it is at the relay that the agent is connected to, and the Host line says which tunnel.
        let peer = match &self.agent {
            Some(agent) if !given && agent.relay.0.tls == peer.tls => agent.relay.0.clone(),
            _ => peer,
        };
        Ok(Place { to: TargetUrl::of(peer), host, target })
    }
}
