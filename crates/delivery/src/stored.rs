//! A delivery with all that is known about it: what the archive keeps and the commands print.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Attempt, Delivery, DeliveryId, Environment, Event, Headers, HttpVersion, Lost, Method, Target, Timestamp,
    TunnelName, Verdict, bytes_json,
};

/// A guess that a delivery repeats an earlier one. Healthie sends no delivery id, so it can be nothing but a guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateOf {
    /// The first delivery that looks the same.
    pub id: DeliveryId,
    /// Why it looks like a repeat, in one sentence.
    pub reason: String,
}

/// A delivery as the archive keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The request as sent.
    pub delivery: Delivery,
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// What the body says happened; `None` where the body is not such JSON.
    pub event: Option<Event>,
    /// What is known about its signature.
    pub signature: Verdict,
    /// The earlier delivery it seems to repeat.
    pub duplicate_of: Option<DuplicateOf>,
    /// Later deliveries that seem to repeat this one, oldest first; the first 100 of them.
    pub repeats: Vec<DeliveryId>,
    /// Whether it is kept whatever its age.
    pub pinned: bool,
    /// What the developer wrote about it.
    pub note: Option<String>,
    /// The tries to hand it over, oldest first.
    pub attempts: Vec<Attempt>,
}

/// What the last attempt came to, in the classes that lists are filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerClass {
    /// No attempt, and none is due.
    None,
    /// Waits to be forwarded.
    Queued,
    /// The target answered 2xx, or the command ended well.
    #[serde(rename = "2xx")]
    Success,
    /// The target answered 3xx.
    #[serde(rename = "3xx")]
    Redirect,
    /// The target answered 4xx.
    #[serde(rename = "4xx")]
    Refused,
    /// The target answered 5xx.
    #[serde(rename = "5xx")]
    Failed,
    /// The target did not answer.
    Error,
}

impl AnswerClass {
    /// All of them.
    pub const ALL: [AnswerClass; 7] = [
        AnswerClass::None,
        AnswerClass::Queued,
        AnswerClass::Success,
        AnswerClass::Redirect,
        AnswerClass::Refused,
        AnswerClass::Failed,
        AnswerClass::Error,
    ];

    /// The class of an attempt.
    pub fn of(attempt: &Attempt) -> AnswerClass {
        match (attempt.status, &attempt.error) {
            (None, None) if attempt.is_command() => AnswerClass::Success,
            (_, Some(_)) | (None, None) => AnswerClass::Error,
            (Some(200..=299), None) => AnswerClass::Success,
            (Some(300..=399), None) => AnswerClass::Redirect,
            (Some(400..=499), None) => AnswerClass::Refused,
            (Some(_), None) => AnswerClass::Failed,
        }
    }

    /// As it is written in filters: `none`, `queued`, `2xx`, `3xx`, `4xx`, `5xx`, `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            AnswerClass::None => "none",
            AnswerClass::Queued => "queued",
            AnswerClass::Success => "2xx",
            AnswerClass::Redirect => "3xx",
            AnswerClass::Refused => "4xx",
            AnswerClass::Failed => "5xx",
            AnswerClass::Error => "error",
        }
    }
}

impl fmt::Display for AnswerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The last attempt in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The class that lists are filtered by.
    pub class: AnswerClass,
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// How long the attempt took, in whole microseconds.
    pub duration_us: u64,
}

/// A line of a list: enough to show and filter without reading the delivery itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Which delivery.
    pub id: DeliveryId,
    /// When the relay had it.
    pub received_at: Timestamp,
    /// Its tunnel.
    pub tunnel: TunnelName,
    /// Where it came from.
    pub environment: Environment,
    /// The method.
    pub method: String,
    /// The target, cut at 200 characters.
    pub target: String,
    /// The event's name, cut at 200 characters.
    pub event_type: Option<String>,
    /// The resource's type, cut at 200 characters.
    pub resource_id_type: Option<String>,
    /// The resource's id, cut at 200 characters.
    pub resource_id: Option<String>,
    /// What is known about its signature.
    pub signature: crate::SignatureStatus,
    /// The profile that matched.
    pub profile: Option<String>,
    /// The length of the body in bytes.
    pub body_len: u64,
    /// The earlier delivery it seems to repeat.
    pub duplicate_of: Option<DeliveryId>,
    /// How many later deliveries seem to repeat this one.
    #[serde(default)]
    pub repeats: u32,
    /// Whether it is kept whatever its age.
    pub pinned: bool,
    /// How many attempts there were.
    pub attempts: u32,
    /// The last attempt, or what is to come.
    pub answer: Answer,
}

/// The JSON of one stored delivery; the names are part of the product.
#[derive(Serialize, Deserialize)]
struct Json {
    id: DeliveryId,
    received_at: Timestamp,
    tunnel: TunnelName,
    source_ip: std::net::IpAddr,
    environment: Environment,
    method: Method,
    target: Target,
    #[serde(default)]
    prefix_len: usize,
    http_version: HttpVersion,
    headers: Headers,
    #[serde(with = "bytes_json")]
    body: Bytes,
    body_sha256: String,
    #[serde(default)]
    lost: Vec<Lost>,
    event: Option<Event>,
    signature: Verdict,
    duplicate_of: Option<DeliveryId>,
    #[serde(default)]
    duplicate_reason: Option<String>,
    #[serde(default)]
    repeats: Vec<DeliveryId>,
    pinned: bool,
    note: Option<String>,
    attempts: Vec<Attempt>,
}

impl Serialize for Stored {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let d = &self.delivery;
        let hex = self.body_sha256.iter().map(|b| format!("{b:02x}")).collect();
        Json {
            id: d.id,
            received_at: d.received_at,
            tunnel: d.tunnel.clone(),
            source_ip: d.source_ip,
            environment: d.environment,
            method: d.method.clone(),
            target: d.target.clone(),
            prefix_len: d.prefix_len,
            http_version: d.http_version,
            headers: d.headers.clone(),
            body: d.body.clone(),
            body_sha256: hex,
            lost: d.lost.clone(),
            event: self.event.clone(),
            signature: self.signature.clone(),
            duplicate_of: self.duplicate_of.as_ref().map(|d| d.id),
            duplicate_reason: self.duplicate_of.as_ref().map(|d| d.reason.clone()),
            repeats: self.repeats.clone(),
            pinned: self.pinned,
            note: self.note.clone(),
            attempts: self.attempts.clone(),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(d)?;
        let body_sha256 = from_hex(&json.body_sha256)
            .ok_or_else(|| serde::de::Error::custom("body_sha256 is not 64 hexadecimal digits"))?;
        Ok(Stored {
            delivery: Delivery {
                id: json.id,
                received_at: json.received_at,
                tunnel: json.tunnel,
                source_ip: json.source_ip,
                environment: json.environment,
                method: json.method,
                target: json.target,
                prefix_len: json.prefix_len,
                http_version: json.http_version,
                headers: json.headers,
                body: json.body,
                lost: json.lost,
            },
            body_sha256,
            event: json.event,
            signature: json.signature,
            duplicate_of: json
                .duplicate_of
                .map(|id| DuplicateOf { id, reason: json.duplicate_reason.unwrap_or_default() }),
            repeats: json.repeats,
            pinned: json.pinned,
            note: json.note,
            attempts: json.attempts,
        })
    }
}

fn from_hex(s: &str) -> Option<[u8; 32]> {
    if s.len() != 64 || !s.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(s.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttemptError, Cause, ErrorKind, SignatureStatus};

    fn sample() -> Stored {
        let mut headers = Headers::default();
        headers.push("Content-Type", "application/json");
        headers.push("x-odd", vec![0xc3, 0x28]);
        Stored {
            delivery: Delivery {
                id: DeliveryId::first_at(Timestamp::from_micros(1_763_714_000_000_000)),
                received_at: Timestamp::from_micros(1_763_714_000_000_000),
                tunnel: "team".parse().unwrap(),
                source_ip: "18.206.70.225".parse().unwrap(),
                environment: Environment::Staging,
                method: "POST".parse().unwrap(),
                target: "/t/team/hook?a=%20".parse().unwrap(),
                prefix_len: 7,
                http_version: HttpVersion::Http11,
                headers,
                body: Bytes::from_static(b"\xff{"),
                lost: vec![Lost::ChunkBoundaries],
            },
            body_sha256: [0xab; 32],
            event: Some(Event { event_type: "a.b".into(), ..Event::default() }),
            signature: Verdict::bare(SignatureStatus::NoSecret),
            duplicate_of: None,
            repeats: Vec::new(),
            pinned: false,
            note: None,
            attempts: vec![Attempt {
                at: Timestamp::from_micros(1_763_714_000_100_000),
                target: "http://localhost:3000/hook".into(),
                cause: Cause::Forward,
                resigned: true,
                status: None,
                error: Some(AttemptError { kind: ErrorKind::Connect, message: "nothing listens there".into() }),
                duration: std::time::Duration::from_micros(1234),
                response_headers: Headers::default(),
                response_body: Bytes::new(),
                response_truncated: false,
            }],
        }
    }

    #[test]
    fn json_has_the_product_s_names_and_goes_round() {
        let stored = sample();
        let json = serde_json::to_value(&stored).unwrap();
        assert_eq!(json["body"]["base64"], "/3s=");
        assert_eq!(json["signature"]["status"], "no-secret");
        assert_eq!(json["environment"], "staging");
        assert_eq!(json["headers"][1][1]["base64"], "wyg=");
        assert_eq!(json["attempts"][0]["duration_ms"], 1.234);
        assert_eq!(json["attempts"][0]["cause"], "forward");
        assert_eq!(json["lost"][0], "chunk-boundaries");
        assert_eq!(serde_json::from_value::<Stored>(json).unwrap(), stored);
    }

    #[test]
    fn a_command_that_ended_well_has_neither_status_nor_error() {
        let failed = sample().attempts.remove(0);
        let well = Attempt { target: "exec:./run".into(), status: None, error: None, ..failed.clone() };
        assert_eq!((AnswerClass::of(&well), well.succeeded()), (AnswerClass::Success, true));
        let ill = Attempt { target: "exec:./run".into(), ..failed.clone() };
        assert_eq!((AnswerClass::of(&ill), ill.succeeded()), (AnswerClass::Error, false));
        // At a URL that is nothing.
        let nothing = Attempt { error: None, ..failed };
        assert_eq!((AnswerClass::of(&nothing), nothing.succeeded()), (AnswerClass::Error, false));
    }

    #[test]
    fn classes_are_printed_as_filters_name_them() {
        for class in AnswerClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }

    #[test]
    fn the_relay_s_prefix_is_not_the_handler_s() {
        assert_eq!(sample().delivery.handler_target(), "/hook?a=%20");
    }
}
