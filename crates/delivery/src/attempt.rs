//! One try at handing a delivery to a target.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Headers, Timestamp, bytes_json};

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The delivery had just arrived.
    Forward,
    /// Somebody asked for it again.
    Replay,
}

impl Cause {
    /// `forward` or `replay`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Forward => "forward",
            Cause::Replay => "replay",
        }
    }
}

/// What kept a target from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Nothing accepted the connection.
    Connect,
    /// The name could not be resolved.
    Resolve,
    /// TLS to the target failed.
    Tls,
    /// The time limit passed.
    Timeout,
    /// The target closed the connection before its answer was complete.
    Closed,
    /// What the target sent is not HTTP.
    Garbage,
    /// The agent stopped, or its store failed, before an answer came.
    Interrupted,
    /// A command that the delivery was given to could not be started, or ended otherwise than with exit code 0.
    Exit,
    /// A kind that a newer version wrote.
    Other,
}

impl ErrorKind {
    /// The kind as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Connect => "connect",
            ErrorKind::Resolve => "resolve",
            ErrorKind::Tls => "tls",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Closed => "closed",
            ErrorKind::Garbage => "garbage",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Exit => "exit",
            ErrorKind::Other => "other",
        }
    }
}

/// A failure to get an answer: a kind for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// One sentence that names the target and what happened.
    pub message: String,
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What the target of an attempt begins with where it is a command; the command follows.
pub const COMMAND: &str = "exec:";

/// One try at handing a delivery to a target, with what came of it: a status, or an error, or (garbage after a status line) both. A command that
/// ended with exit code 0 has neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When the attempt began.
    pub at: Timestamp,
    /// The URL it was sent to, or the command that it was given to with [`COMMAND`] before it.
    pub target: String,
    /// Why it was made.
    pub cause: Cause,
    /// Whether the copy that was sent carried a new signature, made for the path that the handler sees.
    #[serde(default)]
    pub resigned: bool,
    /// Whether what was sent is a copy that somebody changed, and not the delivery.
    #[serde(default)]
    pub edited: bool,
    /// The status of the target's answer.
    pub status: Option<u16>,
    /// What kept the target from answering.
    pub error: Option<AttemptError>,
    /// From the first byte sent (connecting included) to the last byte of the answer, in milliseconds with microseconds as decimals.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: std::time::Duration,
    /// The answer's header lines as sent.
    pub response_headers: Headers,
    /// The answer's body, at most the agent's limit of it.
    #[serde(with = "bytes_json")]
    pub response_body: Bytes,
    /// Whether the answer's body was longer than what is kept.
    #[serde(default)]
    pub response_truncated: bool,
}

impl Attempt {
    /// Whether the target answered 2xx, or the command ended well.
    pub fn succeeded(&self) -> bool {
        self.error.is_none() && self.status.map_or(self.is_command(), |s| (200..300).contains(&s))
    }

    /// Whether the delivery was given to a command.
    pub fn is_command(&self) -> bool {
        self.target.starts_with(COMMAND)
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Below it, in microseconds (35 years), milliseconds as f64 hold whole microseconds exactly, there and back.
    const MOST: f64 = (1_u64 << 50) as f64;

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(d.as_micros() as f64 / 1000.0)
    }

    /// Whole microseconds, as they are written: what is read says the same when it is written again.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let micros = (f64::deserialize(d)? * 1000.0).round();
        if !(0.0..MOST).contains(&micros) {
            return Err(serde::de::Error::custom("a duration in milliseconds is 0 or more, and less than 35 years"));
        }
        Ok(Duration::from_micros(micros as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::millis;

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Took(#[serde(with = "millis")] Duration);

    #[test]
    fn what_is_read_is_written_the_same() {
        for (text, micros) in [("1.2341", 1234), ("0.0", 0), ("1e-9", 0), ("1125899906842.123", 1_125_899_906_842_123)]
        {
            let took: Took = serde_json::from_str(text).unwrap();
            assert_eq!(took, Took(Duration::from_micros(micros)), "{text}");
            assert_eq!(serde_json::from_str::<Took>(&serde_json::to_string(&took).unwrap()).unwrap(), took, "{text}");
        }
        for text in ["-1", "1e300", "1125899906842624", "null"] {
            assert!(serde_json::from_str::<Took>(text).is_err(), "{text}");
        }
    }
}
