//! Frames to bytes and back, with every cap checked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tunnel_delivery::{
    Delivery, DeliveryId, DeviceKey, Environment, HeaderLine, Headers, HttpVersion, Lost, Timestamp, TunnelName,
};

use crate::limits::{CHUNK, INLINE_BODY, MAX_BODY, MAX_FRAME, MAX_HEAD, MAX_HEADER_LINES, MAX_TAKEN};
use crate::{
    Answer, AnswerBody, AnswerFailure, AnswerMode, Answers, Chunk, Gap, GapReason, Hello, Incoming, Refusal, Refused,
    Resume, SetAnswer, Start, ToAgent, ToRelay, Welcome, wire,
};

/// How long a `traceparent` is, in bytes.
const TRACEPARENT: usize = 55;

/// Why a frame was not accepted. Each of them ends the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame is longer than [`MAX_FRAME`].
    #[error("the peer sent a frame of {0} bytes; at most {MAX_FRAME} are allowed")]
    TooLong(usize),
    /// The bytes are not a frame.
    #[error("the peer sent something that is not a frame of this protocol: {0}")]
    Malformed(String),
    /// The peer insists on something this version does not know.
    #[error("the peer is newer and sent something that this version must not overlook; update this program")]
    TooNew,
    /// A field has a value that it must not have.
    #[error("the peer sent a frame whose {field} {problem}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

fn invalid(field: &'static str, problem: impl Into<String>) -> DecodeError {
    DecodeError::Invalid { field, problem: problem.into() }
}

fn parse<T>(field: &'static str, text: &str) -> Result<T, DecodeError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| invalid(field, format!("is refused: {e}")))
}

fn message<T: prost::Message + Default>(frame: Bytes) -> Result<T, DecodeError> {
    if frame.len() > MAX_FRAME {
        return Err(DecodeError::TooLong(frame.len()));
    }
    T::decode(frame).map_err(|e| DecodeError::Malformed(e.to_string()))
}

fn encode(message: &impl prost::Message) -> Bytes {
    let mut out = BytesMut::with_capacity(message.encoded_len());
    // A BytesMut grows as needed, which is the only way this can fail.
    let _ = message.encode(&mut out);
    out.freeze()
}

fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX)
}

/// Text from a peer that is only shown to people: bounded here, made safe where it is printed.
fn shown(text: String) -> String {
    if text.len() <= 400 { text } else { text.chars().take(100).collect() }
}

impl ToAgent {
    /// The frame's bytes.
    pub fn encode(&self) -> Bytes {
        use wire::ToAgentKind as K;
        let kind = match self {
            ToAgent::Welcome(w) => K::Welcome(w.to_wire()),
            ToAgent::Refused(r) => K::Refused(wire::Refused { code: refusal_code(r.code), message: r.message.clone() }),
            ToAgent::Delivery(d) => K::Delivery(d.to_wire()),
            ToAgent::Chunk(c) => K::Chunk(c.to_wire()),
            ToAgent::Gap(g) => K::Gap(g.to_wire()),
            ToAgent::Ping(n) => K::Ping(*n),
            ToAgent::Pong(n) => K::Pong(*n),
            ToAgent::Answers(a) => K::Answers(a.to_wire()),
            ToAgent::Goodbye(reason) => K::Goodbye(wire::Goodbye { reason: reason.clone() }),
            ToAgent::Unknown => return Bytes::new(),
        };
        encode(&wire::ToAgent { critical: false, kind: Some(kind) })
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// Any [`DecodeError`]; the session should end.
    pub fn decode(frame: Bytes) -> Result<ToAgent, DecodeError> {
        use wire::ToAgentKind as K;
        let frame: wire::ToAgent = message(frame)?;
        Ok(match frame.kind {
            Some(K::Welcome(w)) => ToAgent::Welcome(Welcome::from_wire(w)?),
            Some(K::Refused(r)) => ToAgent::Refused(Refused { code: refusal(r.code), message: shown(r.message) }),
            Some(K::Delivery(d)) => ToAgent::Delivery(Incoming::from_wire(d)?),
            Some(K::Chunk(c)) => ToAgent::Chunk(Chunk::from_wire(c)?),
            Some(K::Gap(g)) => ToAgent::Gap(Gap::from_wire(&g)?),
            Some(K::Ping(n)) => ToAgent::Ping(n),
            Some(K::Pong(n)) => ToAgent::Pong(n),
            Some(K::Answers(a)) => ToAgent::Answers(Answers::from_wire(a)?),
            Some(K::Goodbye(g)) => ToAgent::Goodbye(shown(g.reason)),
            None if frame.critical => return Err(DecodeError::TooNew),
            None => ToAgent::Unknown,
        })
    }
}

impl ToRelay {
    /// The frame's bytes.
    pub fn encode(&self) -> Bytes {
        use wire::ToRelayKind as K;
        let kind = match self {
            ToRelay::Hello(h) => K::Hello(h.to_wire()),
            ToRelay::Taken(n) => K::Taken(wire::Taken { n: n.clone() }),
            ToRelay::Answer(a) => K::Answer(a.to_wire()),
            ToRelay::Chunk(c) => K::Chunk(c.to_wire()),
            ToRelay::Ping(n) => K::Ping(*n),
            ToRelay::Pong(n) => K::Pong(*n),
            ToRelay::SetAnswer(s) => K::SetAnswer(wire::SetAnswer { asked: s.asked, mode: mode_to_wire(s.mode) }),
            ToRelay::Goodbye(reason) => K::Goodbye(wire::Goodbye { reason: reason.clone() }),
            ToRelay::Unknown => return Bytes::new(),
        };
        encode(&wire::ToRelay { critical: false, kind: Some(kind) })
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// Any [`DecodeError`]; the session should end.
    pub fn decode(frame: Bytes) -> Result<ToRelay, DecodeError> {
        use wire::ToRelayKind as K;
        let frame: wire::ToRelay = message(frame)?;
        Ok(match frame.kind {
            Some(K::Hello(h)) => ToRelay::Hello(Hello::from_wire(h)?),
            Some(K::Taken(t)) if t.n.len() > MAX_TAKEN => {
                return Err(invalid(
                    "list of taken deliveries",
                    format!("has {} entries; at most {MAX_TAKEN}", t.n.len()),
                ));
            }
            Some(K::Taken(t)) => ToRelay::Taken(t.n),
            Some(K::Answer(a)) => ToRelay::Answer(Answer::from_wire(a)?),
            Some(K::Chunk(c)) => ToRelay::Chunk(Chunk::from_wire(c)?),
            Some(K::Ping(n)) => ToRelay::Ping(n),
            Some(K::Pong(n)) => ToRelay::Pong(n),
            Some(K::SetAnswer(s)) if s.asked == 0 => return Err(invalid("question", "has no number")),
            Some(K::SetAnswer(s)) => ToRelay::SetAnswer(SetAnswer { asked: s.asked, mode: mode_from_wire(s.mode)? }),
            Some(K::Goodbye(g)) => ToRelay::Goodbye(shown(g.reason)),
            None if frame.critical => return Err(DecodeError::TooNew),
            None => ToRelay::Unknown,
        })
    }
}

impl Hello {
    fn to_wire(&self) -> wire::Hello {
        let (start, start_at) = match self.start {
            Start::Now => (0, 0),
            Start::Beginning => (1, 0),
            Start::At(at) => (2, at.as_micros()),
        };
        wire::Hello {
            version_min: self.versions.0,
            version_max: self.versions.1,
            device: self.device.to_string(),
            software: self.software.clone(),
            start,
            start_at,
            window_deliveries: self.window_deliveries,
            window_bytes: self.window_bytes,
            resume_stream: self.resume.as_ref().map(|r| r.stream.clone()).unwrap_or_default(),
            resume_after: self.resume.as_ref().map_or(0, |r| r.after),
            device_key: self.device_key.map(|key| Bytes::copy_from_slice(key.as_bytes())).unwrap_or_default(),
        }
    }

    fn from_wire(h: wire::Hello) -> Result<Hello, DecodeError> {
        Ok(Hello {
            versions: (h.version_min, h.version_max),
            device: parse("device name", &h.device)?,
            software: shown(h.software),
            start: match h.start {
                0 => Start::Now,
                1 => Start::Beginning,
                2 => Start::At(Timestamp::from_micros(h.start_at)),
                other => return Err(invalid("start", format!("is {other}, which this version does not know"))),
            },
            resume: (h.resume_after > 0 && !h.resume_stream.is_empty())
                .then(|| Resume { stream: h.resume_stream.clone(), after: h.resume_after }),
            window_deliveries: h.window_deliveries,
            window_bytes: h.window_bytes,
            device_key: match DeviceKey::from_slice(&h.device_key) {
                None if !h.device_key.is_empty() => return Err(invalid("device key", "is not 32 bytes long")),
                key => key,
            },
        })
    }
}

impl Welcome {
    fn to_wire(&self) -> wire::Welcome {
        wire::Welcome {
            version: self.version,
            tunnel: self.tunnel.to_string(),
            answer_mode: mode_to_wire(self.answer_mode),
            public_urls: self.public_urls.clone(),
            max_body: self.max_body,
            heartbeat_ms: millis(self.heartbeat),
            dead_after_ms: millis(self.dead_after),
            stream: self.stream.clone(),
            after: self.after,
            waiting: self.waiting,
            software: self.software.clone(),
            sets_answer: self.sets_answer,
            sealed: self.sealed,
            notice: self.notice.clone().unwrap_or_default(),
            read_only: self.read_only,
        }
    }

    fn from_wire(w: wire::Welcome) -> Result<Welcome, DecodeError> {
        if w.heartbeat_ms < 10 || w.dead_after_ms <= w.heartbeat_ms {
            return Err(invalid("heartbeat", format!("is {} ms of {} ms", w.heartbeat_ms, w.dead_after_ms)));
        }
        Ok(Welcome {
            version: w.version,
            tunnel: parse::<TunnelName>("tunnel name", &w.tunnel)?,
            answer_mode: mode_from_wire(w.answer_mode)?,
            public_urls: w.public_urls.into_iter().take(16).map(shown).collect(),
            max_body: w.max_body.min(MAX_BODY),
            heartbeat: Duration::from_millis(w.heartbeat_ms.into()),
            dead_after: Duration::from_millis(w.dead_after_ms.into()),
            stream: w.stream,
            after: w.after,
            waiting: w.waiting,
            software: shown(w.software),
            sets_answer: w.sets_answer,
            sealed: w.sealed,
            notice: (!w.notice.is_empty()).then(|| shown(w.notice)),
            read_only: w.read_only,
        })
    }
}

impl Answers {
    fn to_wire(&self) -> wire::Answers {
        // A refusal without words must not read as done.
        let refused = match &self.refused {
            Some(why) if why.is_empty() => "it is refused".to_owned(),
            Some(why) => why.clone(),
            None => String::new(),
        };
        wire::Answers { asked: self.asked, mode: mode_to_wire(self.mode), refused }
    }

    fn from_wire(a: wire::Answers) -> Result<Answers, DecodeError> {
        let refused = (!a.refused.is_empty()).then(|| shown(a.refused));
        Ok(Answers { asked: a.asked, mode: mode_from_wire(a.mode)?, refused })
    }
}

fn mode_to_wire(mode: AnswerMode) -> u32 {
    match mode {
        AnswerMode::Ack => 0,
        AnswerMode::Passthrough => 1,
    }
}

fn mode_from_wire(mode: u32) -> Result<AnswerMode, DecodeError> {
    match mode {
        0 => Ok(AnswerMode::Ack),
        1 => Ok(AnswerMode::Passthrough),
        other => Err(invalid("answer mode", format!("is {other}, which this version does not know"))),
    }
}

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
    // What is taken from here is written into HTTP heads again: a line break in it would begin a line of the peer's making.
    let breaks = |bytes: &[u8]| bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    if lines.iter().any(|l| l.name.is_empty() || breaks(&l.name) || breaks(&l.value) || l.name.contains(&b':')) {
        return Err(invalid(
            "list of header lines",
            "has a line with an empty name, a colon in the name, a line break or a NUL",
        ));
    }
    let head = rest_of_head + lines.iter().map(|l| l.name.len() + l.value.len()).sum::<usize>();
    if head > MAX_HEAD {
        return Err(invalid("head", format!("has {head} bytes; at most {MAX_HEAD}")));
    }
    Ok(lines.into_iter().map(|l| HeaderLine { name: l.name, value: l.value }).collect())
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
    fn to_wire(&self) -> wire::Delivery {
        let d = &*self.delivery;
        wire::Delivery {
            n: self.n,
            seq: self.seq.unwrap_or(0),
            id: Bytes::copy_from_slice(d.id.as_bytes()),
            received_at: d.received_at.as_micros(),
            source_ip: match d.source_ip {
                IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
                IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
            },
            environment: match d.environment {
                Environment::Unknown => 0,
                Environment::Staging => 1,
                Environment::Production => 2,
            },
            method: d.method.as_str().to_owned(),
            target: d.target.as_str().to_owned(),
            prefix_len: u32::try_from(d.prefix_len).unwrap_or(0),
            http_version: match d.http_version {
                HttpVersion::Http10 => 10,
                HttpVersion::Http11 => 11,
                HttpVersion::Http2 => 20,
                HttpVersion::Sealed => 255,
            },
            headers: lines_to_wire(&d.headers),
            lost: d
                .lost
                .iter()
                .map(|l| match l {
                    Lost::HeaderOrder => 1,
                    Lost::ChunkBoundaries => 2,
                    Lost::Trailers => 3,
                })
                .collect(),
            body_len: self.body_len,
            body: if self.body_len <= INLINE_BODY as u64 { d.body.clone() } else { Bytes::new() },
            answer_within_ms: self.answer_within.map_or(0, |d| millis(d).max(1)),
            traceparent: self.traceparent.clone().unwrap_or_default(),
        }
    }

    /// The tunnel is not on the wire, a session has one: [`Incoming::for_tunnel`] puts it in, until then a stand-in is there.
    fn from_wire(d: wire::Delivery) -> Result<Incoming, DecodeError> {
        check_body(d.body_len, &d.body)?;
        let headers = lines_from_wire(d.headers, d.method.len() + d.target.len())?;
        let source_ip = match *d.source_ip {
            [a, b, c, e] => IpAddr::from([a, b, c, e]),
            ref other => IpAddr::from(
                <[u8; 16]>::try_from(other).map_err(|_| invalid("source address", "is neither 4 nor 16 bytes long"))?,
            ),
        };
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
                environment: match d.environment {
                    1 => Environment::Staging,
                    2 => Environment::Production,
                    _ => Environment::Unknown,
                },
                method: parse("method", &d.method)?,
                target: parse("target", &d.target)?,
                prefix_len,
                http_version: match d.http_version {
                    10 => HttpVersion::Http10,
                    11 => HttpVersion::Http11,
                    20 => HttpVersion::Http2,
                    255 => HttpVersion::Sealed,
                    other => {
                        return Err(invalid("HTTP version", format!("is {other}, which this version does not know")));
                    }
                },
                headers,
                body: d.body,
                lost: d
                    .lost
                    .into_iter()
                    .filter_map(|l| match l {
                        1 => Some(Lost::HeaderOrder),
                        2 => Some(Lost::ChunkBoundaries),
                        3 => Some(Lost::Trailers),
                        _ => None,
                    })
                    .collect(),
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
    fn to_wire(&self) -> wire::Chunk {
        wire::Chunk { n: self.n, offset: self.offset, data: self.data.clone() }
    }

    fn from_wire(c: wire::Chunk) -> Result<Chunk, DecodeError> {
        if c.data.is_empty() || c.data.len() > CHUNK {
            return Err(invalid("chunk", format!("has {} bytes; 1 to {CHUNK} are allowed", c.data.len())));
        }
        Ok(Chunk { n: c.n, offset: c.offset, data: c.data })
    }
}

impl Answer {
    fn to_wire(&self) -> wire::Answer {
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

    fn from_wire(a: wire::Answer) -> Result<Answer, DecodeError> {
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
    fn to_wire(&self) -> wire::Gap {
        let reason = match self.reason {
            GapReason::Age => 1,
            GapReason::Size => 2,
            GapReason::Removed => 3,
            GapReason::Unreadable => 4,
            GapReason::Other(code) => code,
        };
        wire::Gap { from: self.from, upto: self.upto, count: self.count, reason }
    }

    fn from_wire(g: &wire::Gap) -> Result<Gap, DecodeError> {
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

fn refusal_code(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::Version => 1,
        Refusal::BadHello => 2,
        Refusal::TooMany => 4,
        Refusal::Unavailable => 5,
        Refusal::Other(code) => code,
    }
}

fn refusal(code: u32) -> Refusal {
    match code {
        1 => Refusal::Version,
        2 => Refusal::BadHello,
        4 => Refusal::TooMany,
        5 => Refusal::Unavailable,
        other => Refusal::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the encoder never writes would be sent on otherwise than it was read.
    #[test]
    fn a_long_body_is_not_taken_from_a_head() {
        let answer = |len: usize| {
            let body = Bytes::from(vec![b'x'; len]);
            let answer = wire::Answer { n: 1, status: 200, body_len: len as u64, body, ..wire::Answer::default() };
            encode(&wire::ToRelay { critical: false, kind: Some(wire::ToRelayKind::Answer(answer)) })
        };
        assert!(ToRelay::decode(answer(INLINE_BODY)).is_ok());
        assert!(matches!(ToRelay::decode(answer(INLINE_BODY + 1)), Err(DecodeError::Invalid { field: "body", .. })));
    }
}
