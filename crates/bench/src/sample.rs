//! Deliveries to measure with: signed, of several events, and each different from all others, as real ones are.

use std::time::SystemTime;

use bytes::Bytes;
use tunnel_catalogue::IdStyle;
use tunnel_delivery::{Delivery, DeliveryId, Environment, Event, Headers, HttpVersion, Timestamp, TunnelName};
use tunnel_signature::{Profile, Reading, Request, Secret, SignedHeaders};

use crate::error::{BenchError, wrong};

/// The path that senders post to.
pub(crate) const TARGET: &str = "/webhooks/healthie";

/// The secret that everything is signed with; it guards nothing.
pub(crate) const SECRET: &str = "whsec_bench";

/// The usual length of a thin payload with headroom, in bytes.
pub(crate) const SMALL: usize = 200;

/// Numbers in bodies have this many digits.
const DIGITS: usize = 10;

/// A number with that many digits, put where each body's own will stand.
const PLACEHOLDER: u64 = 1_000_000_000;

/// A secret from its text.
pub(crate) fn secret(text: &str) -> Result<Secret, BenchError> {
    Secret::new(text).map_err(wrong)
}

/// Signs a body as the plain reading of a profile does.
pub(crate) fn sign(profile: Profile, secret: &Secret, body: &[u8]) -> Result<SignedHeaders, BenchError> {
    let request = Request { method: "POST", target: TARGET, content_type: "application/json", body };
    tunnel_signature::sign(Reading::plain(profile), secret, &request).map_err(wrong)
}

/// A body of which there is one for each number.
#[derive(Clone)]
pub(crate) struct Body {
    text: Vec<u8>,
    number_at: usize,
}

impl Body {
    /// A payload of the catalogue's event at `event` (any number will do), brought to about `len` bytes with a field that says nothing.
    pub(crate) fn new(event: usize, len: usize) -> Result<Body, BenchError> {
        let events = tunnel_catalogue::all();
        let event = &events[event % events.len()];
        let mut payload = tunnel_catalogue::synthetic(event, 7, IdStyle::Integer);
        payload["resource_id"] = PLACEHOLDER.into();
        let more = len.saturating_sub(payload.to_string().len() + r#","filling":"""#.len());
        payload["filling"] = "x".repeat(more).into();
        let text = payload.to_string();
        let number_at = text.find(&PLACEHOLDER.to_string()).ok_or_else(|| wrong("a payload without its id"))?;
        Ok(Body { text: text.into_bytes(), number_at })
    }

    /// The body whose `resource_id` is this number.
    pub(crate) fn numbered(&self, number: u64) -> Vec<u8> {
        let mut text = self.text.clone();
        text[self.number_at..][..DIGITS].copy_from_slice(resource_id(number).as_bytes());
        text
    }
}

fn resource_id(number: u64) -> String {
    (PLACEHOLDER + number % PLACEHOLDER).to_string()
}

/// A delivery of which there is one for each number. Its signature is that of number 0: for what stores it, only its length counts.
#[derive(Clone)]
pub(crate) struct Sample {
    delivery: Delivery,
    body: Body,
    event: Event,
}

impl Sample {
    /// A delivery of the catalogue's event at `event` with a body of about `len` bytes.
    pub(crate) fn new(event: usize, len: usize) -> Result<Sample, BenchError> {
        let body = Body::new(event, len)?;
        let text = body.numbered(0);
        let mut headers = Headers::default();
        for (name, value) in [("Host", "bench.relay.test"), ("User-Agent", "Ruby"), ("Accept", "*/*")] {
            headers.push(name, value);
        }
        for (name, value) in sign(Profile::Guide, &secret(SECRET)?, &text)?.lines() {
            headers.push(name, value.to_owned());
        }
        let delivery = Delivery {
            id: DeliveryId::from_bytes([0; 16]),
            received_at: Timestamp::default(),
            tunnel: tunnel()?,
            source_ip: [127, 0, 0, 1].into(),
            environment: Environment::Unknown,
            method: "POST".parse().map_err(wrong)?,
            target: TARGET.parse().map_err(wrong)?,
            prefix_len: 0,
            http_version: HttpVersion::Http11,
            headers,
            body: Bytes::new(),
            lost: Vec::new(),
        };
        let event = tunnel_catalogue::read(&text).ok_or_else(|| wrong("a payload without an event"))?;
        Ok(Sample { delivery, body, event })
    }

    /// Samples of eight events that lie far apart in the catalogue.
    pub(crate) fn several(len: usize) -> Result<Vec<Sample>, BenchError> {
        (0..8).map(|n| Sample::new(n * 23, len)).collect()
    }

    /// The delivery of this number, received now.
    pub(crate) fn numbered(&self, number: u64) -> Delivery {
        let at = Timestamp::from_system(SystemTime::now());
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let id = DeliveryId::build(at, random);
        Delivery { id, received_at: at, body: self.body.numbered(number).into(), ..self.delivery.clone() }
    }

    /// What the body of this number says.
    pub(crate) fn event(&self, number: u64) -> Event {
        Event { resource_id: Some(resource_id(number)), ..self.event.clone() }
    }
}

/// The tunnel that the samples belong to.
pub(crate) fn tunnel() -> Result<TunnelName, BenchError> {
    "bench".parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_make_deliveries_differ_and_nothing_else() {
        for sample in Sample::several(SMALL).unwrap() {
            let (one, two) = (sample.numbered(1), sample.numbered(2));
            assert!(one.id != two.id && one.body != two.body);
            assert_eq!(one.body.len(), two.body.len());
            assert_eq!(tunnel_catalogue::read(&two.body), Some(sample.event(2)));
        }
    }

    #[test]
    fn bodies_have_the_length_that_was_asked_for() {
        for len in [SMALL, 32 * 1024] {
            assert_eq!(Body::new(0, len).unwrap().numbered(5).len(), len);
        }
    }
}
