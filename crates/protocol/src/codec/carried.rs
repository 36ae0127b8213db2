//! What a session carries: deliveries whole or in chunks, the answers to them, and the gaps between them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tunnel_delivery::{
    Delivery, DeliveryId, Environment, HeaderLine, Headers, HttpVersion, Lost, Timestamp, TunnelName, address_bytes,
    address_of,
};

use super::{DecodeError, invalid, millis, parse};
use crate::limits::{CHUNK, INLINE_BODY, MAX_BODY, MAX_HEAD, MAX_HEADER_LINES};
use crate::{Answer, AnswerBody, AnswerFailure, Chunk, Gap, GapReason, Incoming, wire};

/// How long a `traceparent` is, in bytes.
const TRACEPARENT: usize = 55;

fn lines_to_wire(headers: &Headers) -> Vec<wire::Line> {
    headers.iter().map(|l| wire::Line { name: l.name.clone(), value: l.value.clone() }).collect()
}

fn lines_from_wire(lines: Vec<wire::Line>, rest_of_head: usize) -> Result<Headers, DecodeError> {
    if lines.len() > MAX_HEADER_LINES {
        return Err(invalid(
            "list of header lines",
            format!("has {} entries; at most {MAX_HEADER_LINES}", lines.len()),
        ));
    }
    let lines: Headers = lines.into_iter().map(|l| HeaderLine { name: l.name, value: l.value }).collect();
    if !lines.iter().all(HeaderLine::is_one_line) {
        return Err(invalid(
            "list of header lines",
            "has a line with an empty name, a colon in the name, a line break or a NUL",
        ));
    }
    let head = rest_of_head + lines.iter().map(|l| l.name.len() + l.value.len()).sum::<usize>();
    if head > MAX_HEAD {
        return Err(invalid("head", format!("has {head} bytes; at most {MAX_HEAD}")));
    }
    Ok(lines)
}

/// A body is either whole in its frame or not there at all.
fn check_body(body_len: u64, body: &Bytes) -> Result<(), DecodeError> {
    if body_len > MAX_BODY {
        return Err(invalid("body", format!("has {body_len} bytes; at most {MAX_BODY}")));
    }
    if body.len() > INLINE_BODY {
        return Err(invalid(
            "body",
            format!("has {} bytes in the head; longer ones than {INLINE_BODY} come in chunks", body.len()),
        ));
    }
    if body_len != body.len() as u64 && !body.is_empty() {
        return Err(invalid("body", format!("has {} of {body_len} bytes in the head", body.len())));
    }
    Ok(())
}

impl Incoming {
    pub(super) fn to_wire(&self) -> wire::Delivery {
        let d = &*self.delivery;
        wire::Delivery {
            n: self.n,
            seq: self.seq.unwrap_or(0),
            id: Bytes::copy_from_slice(d.id.as_bytes()),
            received_at: d.received_at.as_micros(),
            source_ip: address_bytes(d.source_ip),
            environment: d.environment.number().into(),
            method: d.method.as_str().to_owned(),
            target: d.target.as_str().to_owned(),
            prefix_len: u32::try_from(d.prefix_len).unwrap_or(0),
            http_version: d.http_version.number(),
            headers: lines_to_wire(&d.headers),
            lost: d.lost.iter().map(|lost| lost.number()).collect(),
            body_len: self.body_len,
            body: if self.body_len <= INLINE_BODY as u64 { d.body.clone() } else { Bytes::new() },
            answer_within_ms: self.answer_within.map_or(0, |d| millis(d).max(1)),
            traceparent: self.traceparent.clone().unwrap_or_default(),
        }
    }

    /// The tunnel is not on the wire, a session has one: [`Incoming::for_tunnel`] puts it in, until then a stand-in is there.
    pub(super) fn from_wire(d: wire::Delivery) -> Result<Incoming, DecodeError> {
        check_body(d.body_len, &d.body)?;
        let headers = lines_from_wire(d.headers, d.method.len() + d.target.len())?;
        let source_ip =
            address_of(&d.source_ip).ok_or_else(|| invalid("source address", "is neither 4 nor 16 bytes long"))?;
        let prefix_len = d.prefix_len as usize;
        if prefix_len > d.target.len() {
            return Err(invalid("prefix", "is longer than the target"));
        }
        Ok(Incoming {
            n: d.n,
            seq: (d.seq > 0).then_some(d.seq),
            answer_within: (d.answer_within_ms > 0).then(|| Duration::from_millis(d.answer_within_ms.into())),
            body_len: d.body_len,
            // Nobody's delivery depends on it: one that makes no sense is none.
            traceparent: Some(d.traceparent)
                .filter(|t| t.len() == TRACEPARENT && t.bytes().all(|b| b.is_ascii_graphic())),
            delivery: Arc::new(Delivery {
                id: DeliveryId::from_slice(&d.id).ok_or_else(|| invalid("delivery id", "is not 16 bytes long"))?,
                received_at: Timestamp::from_micros(d.received_at),
                tunnel: stand_in(),
                source_ip,
                environment: Environment::numbered(d.environment),
                method: parse("method", &d.method)?,
                target: parse("target", &d.target)?,
                prefix_len,
                http_version: HttpVersion::numbered(d.http_version).ok_or_else(|| {
                    invalid("HTTP version", format!("is {}, which this version does not know", d.http_version))
                })?,
                headers,
                body: d.body,
                lost: d.lost.into_iter().filter_map(Lost::numbered).collect(),
            }),
        })
    }

    /// The same delivery with the session's tunnel written into it.
    pub fn for_tunnel(mut self, tunnel: &TunnelName) -> Incoming {
        Arc::make_mut(&mut self.delivery).tunnel = tunnel.clone();
        self
    }
}

fn stand_in() -> TunnelName {
    // A constant that is a legal label.
    "unknown".parse().unwrap_or_else(|_| unreachable!("\"unknown\" is a label"))
}

impl Chunk {
    pub(super) fn to_wire(&self) -> wire::Chunk {
        wire::Chunk { n: self.n, offset: self.offset, data: self.data.clone() }
    }

    pub(super) fn from_wire(c: wire::Chunk) -> Result<Chunk, DecodeError> {
        if c.data.is_empty() || c.data.len() > CHUNK {
            return Err(invalid("chunk", format!("has {} bytes; 1 to {CHUNK} are allowed", c.data.len())));
        }
        Ok(Chunk { n: c.n, offset: c.offset, data: c.data })
    }
}

impl Answer {
    pub(super) fn to_wire(&self) -> wire::Answer {
        match &self.outcome {
            Ok(a) => wire::Answer {
                n: self.n,
                status: a.status.into(),
                headers: lines_to_wire(&a.headers),
                body_len: a.body_len,
                body: if a.body_len <= INLINE_BODY as u64 { a.body.clone() } else { Bytes::new() },
                failure: 0,
            },
            Err(failure) => wire::Answer {
                n: self.n,
                failure: match failure {
                    AnswerFailure::Unreachable => 1,
                    AnswerFailure::Timeout => 2,
                    AnswerFailure::Broken => 3,
                    AnswerFailure::NotStored => 4,
                    AnswerFailure::NotForwarded => 5,
                    AnswerFailure::TooLarge => 6,
                    AnswerFailure::Paused => 7,
                    AnswerFailure::Other(code) => *code,
                },
                ..wire::Answer::default()
            },
        }
    }

    pub(super) fn from_wire(a: wire::Answer) -> Result<Answer, DecodeError> {
        let outcome = match (a.status, a.failure) {
            (0, 1) => Err(AnswerFailure::Unreachable),
            (0, 2) => Err(AnswerFailure::Timeout),
            (0, 3) => Err(AnswerFailure::Broken),
            (0, 4) => Err(AnswerFailure::NotStored),
            (0, 5) => Err(AnswerFailure::NotForwarded),
            (0, 6) => Err(AnswerFailure::TooLarge),
            (0, 7) => Err(AnswerFailure::Paused),
            (0, code) => Err(AnswerFailure::Other(code)),
            (status @ 200..=599, _) => {
                check_body(a.body_len, &a.body)?;
                Ok(AnswerBody {
                    status: u16::try_from(status).unwrap_or(502),
                    headers: lines_from_wire(a.headers, 0)?,
                    body_len: a.body_len,
                    body: a.body,
                })
            }
            (status, _) => return Err(invalid("status", format!("is {status}"))),
        };
        Ok(Answer { n: a.n, outcome })
    }
}

impl Gap {
    pub(super) fn to_wire(&self) -> wire::Gap {
        let reason = match self.reason {
            GapReason::Age => 1,
            GapReason::Size => 2,
            GapReason::Removed => 3,
            GapReason::Unreadable => 4,
            GapReason::Other(code) => code,
        };
        wire::Gap { from: self.from, upto: self.upto, count: self.count, reason }
    }

    pub(super) fn from_wire(g: &wire::Gap) -> Result<Gap, DecodeError> {
        if g.from == 0 || g.upto < g.from {
            return Err(invalid("gap", format!("goes from {} to {}", g.from, g.upto)));
        }
        let reason = match g.reason {
            1 => GapReason::Age,
            2 => GapReason::Size,
            3 => GapReason::Removed,
            4 => GapReason::Unreadable,
            code => GapReason::Other(code),
        };
        Ok(Gap { from: g.from, upto: g.upto, count: g.count, reason })
    }
}
