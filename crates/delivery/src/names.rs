//! Names that people choose: tunnels and devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    what: &'static str,
    name: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a {} name: use 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'",
            self.name, self.what
        )
    }
}

impl std::error::Error for NameError {}

/// One DNS label in lower case (RFC 1035, section 2.3.1, with a leading digit allowed by RFC 1123): a tunnel's name is the
/// first label of its host name, so it must be one.
fn label(what: &'static str, s: &str) -> Result<Box<str>, NameError> {
    let fits = !s.is_empty()
        && s.len() <= 63
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-');
    if fits { Ok(s.into()) } else { Err(NameError { what, name: s.chars().take(80).collect() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(s: &str) -> Result<Self, NameError> {
                label($what, s).map($type)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

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

name!(
    /// The name of a tunnel: a public endpoint of the relay, addressed as `NAME.domain` or `/t/NAME`.
    TunnelName,
    "tunnel"
);
name!(
    /// The name of an agent within its tunnel; each device has a place of its own in the stream of deliveries.
    DeviceName,
    "device"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "7", "team-a", &"x".repeat(63)] {
            assert!(good.parse::<TunnelName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad}");
        }
    }
}
