//! Frames to bytes and back, with every cap checked: which frame it is, here; what sessions begin and are steered with, in `session`; deliveries, what is
//! answered to them, and what went missing, in `carried`.

mod carried;
mod session;

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::limits::{MAX_FRAME, MAX_TAKEN};
use crate::{Answer, Answers, Chunk, Gap, Hello, Incoming, Refused, SetAnswer, ToAgent, ToRelay, Welcome, wire};
use session::{mode_from_wire, mode_to_wire, refusal, refusal_code};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INLINE_BODY;

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
