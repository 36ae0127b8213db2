//! Delivery ids: UUID version 7 (RFC 9562), given by the relay, so that ids sort by the time of receipt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Timestamp;

/// Names one delivery everywhere: in the spool, on the wire, in the archive, in logs and in headers.
///
/// A UUID version 7, so that ids sort by the time at which the relay took the delivery. It is printed and parsed in the
/// usual hyphenated lower-case form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId([u8; 16]);

/// The text is not a delivery id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdError(String);

impl DeliveryId {
    /// The smallest id that can be given at `at` or later; with [`DeliveryId::last_at`] it turns a time range into an
    /// id range.
    pub fn first_at(at: Timestamp) -> DeliveryId {
        DeliveryId::build(at, [0; 10])
    }

    /// The greatest id that can be given in the millisecond of `at`.
    pub fn last_at(at: Timestamp) -> DeliveryId {
        DeliveryId::build(at, [0xff; 10])
    }

    /// An id for a delivery received at `at`. The first of the random bytes should grow within a millisecond if ids of
    /// one millisecond are to keep their order.
    pub fn build(at: Timestamp, random: [u8; 10]) -> DeliveryId {
        let millis = u64::try_from(at.as_micros().max(0)).unwrap_or(0) / 1000;
        DeliveryId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().into_bytes())
    }

    /// When the delivery was received, to the millisecond.
    pub fn received_at(&self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = self.0;
        // 48 bits.
        Timestamp::from_micros(i64::from_be_bytes([0, 0, a, b, c, d, e, f]) * 1000)
    }

    /// The sixteen bytes, in the order that sorts.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From sixteen bytes as [`DeliveryId::as_bytes`] gave them.
    pub fn from_bytes(bytes: [u8; 16]) -> DeliveryId {
        DeliveryId(bytes)
    }

    /// From a slice that must be sixteen bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<DeliveryId> {
        bytes.try_into().ok().map(DeliveryId)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DeliveryId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match Uuid::try_parse(s) {
            Ok(id) if s.len() == 36 => Ok(DeliveryId(id.into_bytes())),
            _ => Err(IdError(s.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a delivery id; ids look like 01934b2e-5c1a-7000-8000-0123456789ab", self.0)
    }
}

impl std::error::Error for IdError {}

impl Serialize for DeliveryId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let early = DeliveryId::last_at(Timestamp::from_micros(1_700_000_000_000_999));
        let late = DeliveryId::first_at(Timestamp::from_micros(1_700_000_000_001_000));
        assert!(early < late, "{early} {late}");
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.received_at(), Timestamp::from_micros(1_700_000_000_000_000));
        assert_eq!(late.received_at(), Timestamp::from_micros(1_700_000_000_001_000));
    }

    #[test]
    fn text_form_goes_round_and_other_forms_are_refused() {
        let id = DeliveryId::build(Timestamp::from_micros(1_700_000_000_000_000), [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "7", "01934b2e5c1a700080000123456789ab", "{01934b2e-5c1a-7000-8000-0123456789ab}"] {
            assert!(bad.parse::<DeliveryId>().is_err(), "{bad}");
        }
    }
}
