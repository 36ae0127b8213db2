//! A delivery as it was sent.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{DeliveryId, Environment, Headers, Timestamp, TunnelName};

/// An HTTP method: a token (RFC 9110, section 5.6.2), in the letter case it came in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Method(Box<str>);

/// The text is not an HTTP method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodError(String);

impl Method {
    /// The method as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(s: &str) -> Result<Self, MethodError> {
        if !s.is_empty() && s.len() <= 64 && s.bytes().all(is_token_byte) {
            Ok(Method(s.into()))
        } else {
            Err(MethodError(s.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an HTTP method (a token of at most 64 characters)", self.0)
    }
}

impl std::error::Error for MethodError {}

/// A request target in origin form (RFC 9112, section 3.2.1) as it was sent: neither normalised nor decoded. It begins with `/` and
/// consists of visible ASCII.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Box<str>);

/// The text is not a request target in origin form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError(String);

impl Target {
    /// The target as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes before the first `?`.
    pub fn path(&self) -> &str {
        self.0.split_once('?').map_or(&self.0, |(path, _)| path)
    }

    /// What comes after the first `?`; `None` where there is no `?`.
    pub fn query(&self) -> Option<&str> {
        self.0.split_once('?').map(|(_, query)| query)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(s: &str) -> Result<Self, TargetError> {
        if s.starts_with('/') && s.bytes().all(|b| b.is_ascii_graphic()) && !s.contains('#') {
            Ok(Target(s.into()))
        } else {
            Err(TargetError(s.chars().take(120).collect()))
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a request target: it must begin with '/' and hold visible ASCII without '#'", self.0)
    }
}

impl std::error::Error for TargetError {}

macro_rules! as_text {
    ($type:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Method);
as_text!(Target);

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.0
    #[serde(rename = "HTTP/1.0")]
    Http10,
    /// HTTP/1.1
    #[serde(rename = "HTTP/1.1")]
    Http11,
    /// HTTP/2
    #[serde(rename = "HTTP/2")]
    Http2,
    /// Not known: the request is sealed to the agents' keys and lies in the body as an envelope (crates/envelope); method, target and header lines are
    /// stand-ins. No sender can bring this about.
    #[serde(rename = "sealed")]
    Sealed,
}

impl HttpVersion {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            HttpVersion::Http10 => "HTTP/1.0",
            HttpVersion::Http11 => "HTTP/1.1",
            HttpVersion::Http2 => "HTTP/2",
            HttpVersion::Sealed => "sealed",
        }
    }
}

/// Something that was on the wire and is not in the record, because the transport has no such thing or a library had already dropped
/// it. Said rather than invented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// HTTP/2 sends names in lower case and the library groups lines of one name: the order among different names is not known.
    HeaderOrder,
    /// The body came in chunks (RFC 9112, section 7.1): the body's bytes are kept, where one chunk ended is not.
    ChunkBoundaries,
    /// Trailer fields after the body were dropped.
    Trailers,
}

/// One HTTP request that reached the relay, exactly as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Given by the relay; sorts by time.
    pub id: DeliveryId,
    /// When the relay had the whole request.
    pub received_at: Timestamp,
    /// The tunnel it was addressed to.
    pub tunnel: TunnelName,
    /// Who connected to the relay.
    pub source_ip: IpAddr,
    /// Which of Healthie's environments that address belongs to.
    pub environment: Environment,
    /// The method as sent.
    pub method: Method,
    /// The request target as sent, including the relay's own prefix where the relay is addressed by path.
    pub target: Target,
    /// How many bytes at the beginning of `target` are the relay's address of the tunnel (`/t/NAME`) and not the handler's path.
    pub prefix_len: usize,
    /// The version of HTTP it was sent with.
    pub http_version: HttpVersion,
    /// The header lines as sent.
    pub headers: Headers,
    /// The body's bytes as sent (a content coding such as gzip is left alone).
    pub body: Bytes,
    /// What this record cannot tell about the request as sent.
    pub lost: Vec<Lost>,
}

impl Delivery {
    /// Whether the request is sealed and nothing of it can be read here.
    pub fn is_sealed(&self) -> bool {
        self.http_version == HttpVersion::Sealed
    }

    /// The target as the handler is meant to see it: without the relay's prefix. It begins with `/`.
    pub fn handler_target(&self) -> std::borrow::Cow<'_, str> {
        let rest = self.target.as_str().get(self.prefix_len..).unwrap_or(self.target.as_str());
        if rest.starts_with('/') { rest.into() } else { format!("/{rest}").into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_kept_as_sent() {
        let target: Target = "/a/../%2e?x=%41?y".parse().unwrap();
        assert_eq!((target.path(), target.query()), ("/a/../%2e", Some("x=%41?y")));
        assert_eq!("/a?".parse::<Target>().unwrap().query(), Some(""));
        for bad in ["", "a", "*", "http://a/", "/a b", "/ä", "/a#b", "/a\r\nX: y"] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn methods_are_tokens() {
        assert!("POST".parse::<Method>().is_ok());
        assert!("M-SEARCH".parse::<Method>().is_ok());
        for bad in ["", "PO ST", "POST\n", "POST:", "Ä"] {
            assert!(bad.parse::<Method>().is_err(), "{bad:?}");
        }
    }
}
