//! The numbers and bytes by which a delivery's closed fields are written, on the wire, on the disk and in envelopes alike, and what makes a header line fit to
//! be written into a request again. Where in a message a field stands is each format's own.
//!
//! A number once used keeps its meaning for good: programs and files of other versions have it. What an unknown one means is the reader's to say: a
//! version that is not known cannot be passed on, something lost that is not known may be skipped.

use std::net::IpAddr;

use bytes::Bytes;

use crate::{Environment, HeaderLine, HttpVersion, Lost};

impl HttpVersion {
    /// 10, 11, 20; 255 for sealed: programs that know nothing of sealing refuse it, and so the delivery.
    pub const fn number(self) -> u32 {
        match self {
            HttpVersion::Http10 => 10,
            HttpVersion::Http11 => 11,
            HttpVersion::Http2 => 20,
            HttpVersion::Sealed => 255,
        }
    }

    /// The version of that number, if it is known.
    pub const fn numbered(number: u32) -> Option<HttpVersion> {
        Some(match number {
            10 => HttpVersion::Http10,
            11 => HttpVersion::Http11,
            20 => HttpVersion::Http2,
            255 => HttpVersion::Sealed,
            _ => return None,
        })
    }
}

impl Lost {
    /// 1 header order, 2 chunk boundaries, 3 trailers.
    pub const fn number(self) -> u32 {
        match self {
            Lost::HeaderOrder => 1,
            Lost::ChunkBoundaries => 2,
            Lost::Trailers => 3,
        }
    }

    /// What has that number, if it is known.
    pub const fn numbered(number: u32) -> Option<Lost> {
        Some(match number {
            1 => Lost::HeaderOrder,
            2 => Lost::ChunkBoundaries,
            3 => Lost::Trailers,
            _ => return None,
        })
    }
}

impl Environment {
    /// 0 unknown, 1 staging, 2 production.
    pub const fn number(self) -> u8 {
        match self {
            Environment::Unknown => 0,
            Environment::Staging => 1,
            Environment::Production => 2,
        }
    }

    /// The environment of that number; unknown where the number is.
    pub const fn numbered(number: u32) -> Environment {
        match number {
            1 => Environment::Staging,
            2 => Environment::Production,
            _ => Environment::Unknown,
        }
    }
}

/// An address as its four or sixteen bytes.
pub fn address_bytes(address: IpAddr) -> Bytes {
    match address {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

/// The address of four or sixteen bytes; nothing of any other number of them.
pub fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

impl HeaderLine {
    /// Whether it is one line: a line break, or a colon in the name, would begin something of the writer's making where it is written into a request again.
    /// What came over HTTP always is; what a peer or a file says need not be.
    pub fn is_one_line(&self) -> bool {
        let breaks = |bytes: &[u8]| bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
        !self.name.is_empty() && !self.name.contains(&b':') && !breaks(&self.name) && !breaks(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_they_always_were_and_go_round() {
        for (version, number) in
            [(HttpVersion::Http10, 10), (HttpVersion::Http11, 11), (HttpVersion::Http2, 20), (HttpVersion::Sealed, 255)]
        {
            assert_eq!((version.number(), HttpVersion::numbered(number)), (number, Some(version)));
        }
        for (lost, number) in [(Lost::HeaderOrder, 1), (Lost::ChunkBoundaries, 2), (Lost::Trailers, 3)] {
            assert_eq!((lost.number(), Lost::numbered(number)), (number, Some(lost)));
        }
        for (environment, number) in
            [(Environment::Unknown, 0), (Environment::Staging, 1), (Environment::Production, 2)]
        {
            assert_eq!((environment.number(), Environment::numbered(number.into())), (number, environment));
        }
        for unknown in [0, 4, 12, 256, u32::MAX] {
            assert_eq!((HttpVersion::numbered(unknown), Lost::numbered(unknown)), (None, None), "{unknown}");
        }
        assert_eq!(Environment::numbered(3), Environment::Unknown);
    }

    #[test]
    fn addresses_go_round_and_other_lengths_are_none() {
        for text in ["52.4.158.130", "2001:db8::1", "::ffff:10.0.0.1"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(address_of(&address_bytes(address)), Some(address));
        }
        for len in [0, 3, 5, 15, 17] {
            assert_eq!(address_of(&vec![1; len]), None, "{len}");
        }
    }

    #[test]
    fn what_would_begin_another_line_is_not_one() {
        assert!(HeaderLine::new("X-A", "b: c").is_one_line());
        assert!(HeaderLine::new("X-A", "").is_one_line());
        for (name, value) in [("", "b"), ("X:A", "b"), ("X\nA", "b"), ("X", "a\rb"), ("X", "a\nb"), ("X", "a\0b")] {
            assert!(!HeaderLine::new(name, value).is_one_line(), "{name:?} {value:?}");
        }
    }
}
