//! How records are encoded: messages of this room's own, apart from the nouns and from what goes over the wire, so that each of the
//! three can change by itself.
//!
//! A delivery has a line (what lists show, and what changes), a request (what came, and what was known of it then), attempts and a
//! note. A line begins with the byte [`VERSION`], for all that belongs to it. Within a version fields may be added (what is unknown is
//! skipped, what is missing has its default); another version is refused. The request does not repeat what the line says in full.

use bytes::Bytes;
use prost::Message;
use tunnel_delivery::{Answer, AnswerClass, Delivery, DeliveryId, DuplicateOf, Event, Summary, Timestamp, Verdict};

use crate::attempt::{Field, fields, headers};
use crate::codes::{class, environment, lost, signature, version};

use crate::ledger::Intake;
use crate::query::{cut, cut_to};

/// The first byte of every line.
pub(crate) const VERSION: u8 = 1;

/// The characters of a profile's name that a summary has; the known ones are shorter.
const PROFILE_CHARS: usize = 40;

/// A record that this program cannot read: the field that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unreadable(pub(crate) &'static str);

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(sint64, tag = "1")]
    received_at: i64,
    #[prost(string, tag = "2")]
    tunnel: String,
    #[prost(uint32, tag = "3")]
    environment: u32,
    #[prost(string, tag = "4")]
    method: String,
    #[prost(string, tag = "5")]
    target: String,
    #[prost(string, optional, tag = "6")]
    event_type: Option<String>,
    #[prost(string, optional, tag = "7")]
    resource_id_type: Option<String>,
    #[prost(string, optional, tag = "8")]
    resource_id: Option<String>,
    #[prost(uint32, tag = "9")]
    signature: u32,
    #[prost(string, optional, tag = "10")]
    profile: Option<String>,
    #[prost(uint64, tag = "11")]
    body_len: u64,
    #[prost(bytes = "bytes", optional, tag = "12")]
    duplicate_of: Option<Bytes>,
    #[prost(bool, tag = "13")]
    pinned: bool,
    #[prost(uint32, tag = "14")]
    attempts: u32,
    #[prost(uint32, tag = "15")]
    class: u32,
    #[prost(uint32, optional, tag = "16")]
    status: Option<u32>,
    #[prost(uint64, tag = "17")]
    duration_us: u64,
    /// The length of the encoded request where it is not on its shelf but in pieces.
    #[prost(uint64, optional, tag = "18")]
    request_len: Option<u64>,
    /// The length of the note.
    #[prost(uint64, optional, tag = "19")]
    note_len: Option<u64>,
    /// How many later deliveries seem to repeat this one.
    #[prost(uint32, tag = "20")]
    repeats: u32,
}

/// A line, read: the summary and what else is kept with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) summary: Summary,
    /// The length of the encoded request where it is in pieces.
    pub(crate) request_len: Option<u64>,
    /// The length of the note, where there is one.
    pub(crate) note_len: Option<u64>,
    /// The length of the line as it is stored; 0 for a new one.
    pub(crate) stored_len: usize,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(bytes = "bytes", tag = "1")]
    source_ip: Bytes,
    /// Only where the summary's is cut.
    #[prost(string, optional, tag = "2")]
    target: Option<String>,
    #[prost(uint64, tag = "3")]
    prefix_len: u64,
    #[prost(uint32, tag = "4")]
    http_version: u32,
    #[prost(message, repeated, tag = "5")]
    headers: Vec<Field>,
    #[prost(bytes = "bytes", tag = "6")]
    body: Bytes,
    #[prost(uint32, repeated, tag = "7")]
    lost: Vec<u32>,
    #[prost(bytes = "bytes", tag = "8")]
    body_sha256: Bytes,
    #[prost(message, optional, tag = "9")]
    event: Option<EventRest>,
    #[prost(string, optional, tag = "10")]
    variant: Option<String>,
    #[prost(string, optional, tag = "11")]
    reason: Option<String>,
    #[prost(string, optional, tag = "12")]
    hint: Option<String>,
    /// Only where the summary's is cut.
    #[prost(string, optional, tag = "13")]
    profile: Option<String>,
    #[prost(string, tag = "14")]
    duplicate_reason: String,
}

/// Of a request only its body.
#[derive(Clone, PartialEq, Message)]
struct OnlyBody {
    #[prost(bytes = "bytes", tag = "6")]
    body: Bytes,
}

/// What of an event is not in the summary.
#[derive(Clone, PartialEq, Message)]
struct EventRest {
    #[prost(string, optional, tag = "1")]
    event_type: Option<String>,
    #[prost(string, optional, tag = "2")]
    resource_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    resource_id_type: Option<String>,
    #[prost(string, repeated, tag = "4")]
    changed_fields: Vec<String>,
    /// A JSON object; empty if it has no fields.
    #[prost(string, tag = "5")]
    extra: String,
}

/// The string, if cutting it for the summary loses something.
fn if_cut(text: &str) -> Option<String> {
    (cut(text).len() < text.len()).then(|| text.to_owned())
}

/// A new delivery: its line in lists and the rest of it, encoded.
pub(crate) fn encode(intake: &Intake, duplicate_of: Option<&DuplicateOf>) -> (Summary, Vec<u8>) {
    let d = &*intake.delivery;
    let event = intake.event.as_ref();
    let cut = |text: &str| cut(text).to_owned();
    let summary = Summary {
        id: d.id,
        received_at: d.received_at,
        tunnel: d.tunnel.clone(),
        environment: d.environment,
        method: d.method.as_str().to_owned(),
        target: cut(d.target.as_str()),
        event_type: event.map(|e| cut(&e.event_type)),
        resource_id_type: event.and_then(|e| e.resource_id_type.as_deref()).map(cut),
        resource_id: event.and_then(|e| e.resource_id.as_deref()).map(cut),
        signature: intake.signature.status,
        profile: intake.signature.profile.as_deref().map(|p| cut_to(p, PROFILE_CHARS).to_owned()),
        body_len: d.body.len() as u64,
        duplicate_of: duplicate_of.map(|d| d.id),
        repeats: 0,
        pinned: false,
        attempts: 0,
        answer: Answer {
            class: if intake.queued { AnswerClass::Queued } else { AnswerClass::None },
            status: None,
            duration_us: 0,
        },
    };
    let request = Request {
        source_ip: match d.source_ip {
            std::net::IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
            std::net::IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
        },
        target: if_cut(d.target.as_str()),
        prefix_len: d.prefix_len as u64,
        http_version: version::code(d.http_version),
        headers: fields(&d.headers),
        body: d.body.clone(),
        lost: d.lost.iter().map(|l| lost::code(*l)).collect(),
        body_sha256: Bytes::copy_from_slice(&intake.body_sha256),
        event: event.map(|e| EventRest {
            event_type: if_cut(&e.event_type),
            resource_id: e.resource_id.as_deref().and_then(if_cut),
            resource_id_type: e.resource_id_type.as_deref().and_then(if_cut),
            changed_fields: e.changed_fields.clone(),
            extra: if e.extra.is_empty() {
                String::new()
            } else {
                // A map of JSON values always has a JSON form.
                serde_json::to_string(&e.extra).unwrap_or_default()
            },
        }),
        variant: intake.signature.variant.clone(),
        reason: intake.signature.reason.clone(),
        hint: intake.signature.hint.clone(),
        profile: intake.signature.profile.clone().filter(|p| cut_to(p, PROFILE_CHARS).len() < p.len()),
        duplicate_reason: duplicate_of.map(|d| d.reason.clone()).unwrap_or_default(),
    };
    (summary, request.encode_to_vec())
}

/// A request read back, with the parts of the record that lie in it.
pub(crate) struct Whole {
    pub(crate) delivery: Delivery,
    pub(crate) body_sha256: [u8; 32],
    pub(crate) event: Option<Event>,
    pub(crate) signature: Verdict,
    pub(crate) duplicate_of: Option<DuplicateOf>,
}

/// Reads a request; `summary` has what the request does not repeat.
pub(crate) fn decode(summary: &Summary, request: Bytes) -> Result<Whole, Unreadable> {
    let r = Request::decode(request).map_err(|_| Unreadable("request"))?;
    let source_ip = if let Ok(v4) = <[u8; 4]>::try_from(&*r.source_ip) {
        v4.into()
    } else {
        <[u8; 16]>::try_from(&*r.source_ip).map_err(|_| Unreadable("source address"))?.into()
    };
    let event = match (r.event, &summary.event_type) {
        (Some(rest), Some(event_type)) => Some(Event {
            event_type: rest.event_type.unwrap_or_else(|| event_type.clone()),
            resource_id: rest.resource_id.or_else(|| summary.resource_id.clone()),
            resource_id_type: rest.resource_id_type.or_else(|| summary.resource_id_type.clone()),
            changed_fields: rest.changed_fields,
            extra: match &*rest.extra {
                "" => serde_json::Map::new(),
                json => serde_json::from_str(json).map_err(|_| Unreadable("event"))?,
            },
        }),
        (None, None) => None,
        _ => return Err(Unreadable("event")),
    };
    Ok(Whole {
        delivery: Delivery {
            id: summary.id,
            received_at: summary.received_at,
            tunnel: summary.tunnel.clone(),
            source_ip,
            environment: summary.environment,
            method: summary.method.parse().map_err(|_| Unreadable("method"))?,
            target: r.target.as_ref().unwrap_or(&summary.target).parse().map_err(|_| Unreadable("target"))?,
            prefix_len: usize::try_from(r.prefix_len).map_err(|_| Unreadable("prefix"))?,
            http_version: version::value(r.http_version).ok_or(Unreadable("HTTP version"))?,
            headers: headers(r.headers),
            body: r.body,
            // What a newer version may find lost is dropped; it does not change what is there.
            lost: r.lost.into_iter().filter_map(lost::value).collect(),
        },
        body_sha256: (&*r.body_sha256).try_into().map_err(|_| Unreadable("digest"))?,
        event,
        signature: Verdict {
            status: summary.signature,
            profile: r.profile.or_else(|| summary.profile.clone()),
            variant: r.variant,
            reason: r.reason,
            hint: r.hint,
        },
        duplicate_of: summary.duplicate_of.map(|id| DuplicateOf { id, reason: r.duplicate_reason }),
    })
}

/// Reads the body in a request and nothing else of it.
pub(crate) fn body(request: Bytes) -> Result<Bytes, Unreadable> {
    Ok(OnlyBody::decode(request).map_err(|_| Unreadable("request"))?.body)
}

impl Entry {
    /// The line as it is stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let s = &self.summary;
        let line = Line {
            received_at: s.received_at.as_micros(),
            tunnel: s.tunnel.as_str().to_owned(),
            environment: environment::code(s.environment),
            method: s.method.clone(),
            target: s.target.clone(),
            event_type: s.event_type.clone(),
            resource_id_type: s.resource_id_type.clone(),
            resource_id: s.resource_id.clone(),
            signature: signature::code(s.signature),
            profile: s.profile.clone(),
            body_len: s.body_len,
            duplicate_of: s.duplicate_of.map(|id| Bytes::copy_from_slice(id.as_bytes())),
            pinned: s.pinned,
            attempts: s.attempts,
            class: class::code(s.answer.class),
            status: s.answer.status.map(u32::from),
            duration_us: s.answer.duration_us,
            request_len: self.request_len,
            note_len: self.note_len,
            repeats: s.repeats,
        };
        let mut bytes = Vec::with_capacity(1 + line.encoded_len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&line.encode_to_vec());
        bytes
    }

    /// Reads the line that was stored under this id.
    pub(crate) fn from_bytes(id: DeliveryId, bytes: &[u8]) -> Result<Entry, Unreadable> {
        let line = Line::decode(versioned(bytes)?).map_err(|_| Unreadable("line"))?;
        let summary = Summary {
            id,
            received_at: Timestamp::from_micros(line.received_at),
            tunnel: line.tunnel.parse().map_err(|_| Unreadable("tunnel"))?,
            environment: environment::value(line.environment).unwrap_or_default(),
            method: line.method,
            target: line.target,
            event_type: line.event_type,
            resource_id_type: line.resource_id_type,
            resource_id: line.resource_id,
            signature: signature::value(line.signature).ok_or(Unreadable("signature"))?,
            profile: line.profile,
            body_len: line.body_len,
            duplicate_of: match line.duplicate_of {
                Some(id) => Some(DeliveryId::from_slice(&id).ok_or(Unreadable("duplicate"))?),
                None => None,
            },
            repeats: line.repeats,
            pinned: line.pinned,
            attempts: line.attempts,
            answer: Answer {
                class: class::value(line.class).ok_or(Unreadable("answer"))?,
                status: line.status.and_then(|s| u16::try_from(s).ok()),
                duration_us: line.duration_us,
            },
        };
        Ok(Entry { summary, request_len: line.request_len, note_len: line.note_len, stored_len: bytes.len() })
    }
}

fn versioned(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some(_) => Err(Unreadable("version of a record")),
        None => Err(Unreadable("line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_may_be_read(bytes: Vec<u8>) {
            let id = DeliveryId::from_bytes([0; 16]);
            let _ = Entry::from_bytes(id, &bytes);
            let _ = Entry::from_bytes(id, &[&[VERSION], &bytes[..]].concat());
            let _ = Request::decode(&*bytes);
        }
    }

    #[test]
    fn another_version_is_refused() {
        let id = DeliveryId::from_bytes([0; 16]);
        assert_eq!(Entry::from_bytes(id, &[VERSION + 1, 1, 2]), Err(Unreadable("version of a record")));
    }
}
