//! How tunnels look on the disk, and with `delivery` how deliveries do. This is not the wire format: the two change independently.
//!
//! A tunnel's value is `version (1 byte) | protobuf`. Fields are only ever added; a number once used keeps its meaning.

mod delivery;

use bytes::Bytes;
use prost::Message;
use tunnel_delivery::{DeviceKey, Timestamp};

use crate::record::{Device, Record};
use crate::{Gap, Role, Seq, Why};

pub(crate) use delivery::{At, Encoded, decode, encode, key_of, received_at};

/// The version of a tunnel's value, and of a delivery's that is not encrypted.
const VERSION: u8 = 1;
/// Why stored bytes cannot be read. A sentence for [`crate::SpoolError`].
type Reason = String;

#[derive(Clone, PartialEq, Message)]
struct TunnelMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    first: u64,
    #[prost(uint64, tag = "3")]
    next: u64,
    #[prost(uint64, tag = "4")]
    bytes: u64,
    #[prost(uint64, tag = "5")]
    dropped_age: u64,
    #[prost(uint64, tag = "6")]
    dropped_size: u64,
    #[prost(message, optional, tag = "7")]
    gap: Option<GapMessage>,
    #[prost(message, repeated, tag = "8")]
    devices: Vec<DeviceMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct DeviceMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    after: u64,
    #[prost(message, optional, tag = "3")]
    gap: Option<GapMessage>,
    #[prost(int64, tag = "4")]
    joined: i64,
    #[prost(uint64, optional, tag = "5")]
    began: Option<u64>,
    #[prost(bool, tag = "6")]
    watches: bool,
    /// Its public key; empty where it has told none.
    #[prost(bytes = "bytes", tag = "7")]
    key: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct GapMessage {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(uint64, tag = "2")]
    upto: u64,
    #[prost(uint32, tag = "3")]
    why: u32,
}

impl From<Gap> for GapMessage {
    fn from(gap: Gap) -> GapMessage {
        let why = match gap.why {
            Why::Age => 1,
            Why::Size => 2,
            Why::Removed => 3,
        };
        GapMessage { from: gap.from.0, upto: gap.upto.0, why }
    }
}

impl From<GapMessage> for Gap {
    fn from(gap: GapMessage) -> Gap {
        let why = match gap.why {
            2 => Why::Size,
            3 => Why::Removed,
            _ => Why::Age,
        };
        Gap { from: Seq(gap.from), upto: Seq(gap.upto), why }
    }
}

pub(crate) fn encode_record(record: &Record) -> Vec<u8> {
    let message = TunnelMessage {
        id: record.id,
        first: record.first.0,
        next: record.next.0,
        bytes: record.bytes,
        dropped_age: record.dropped_age,
        dropped_size: record.dropped_size,
        gap: record.gap.map(GapMessage::from),
        devices: record
            .devices
            .iter()
            .map(|d| DeviceMessage {
                name: d.name.as_str().to_owned(),
                after: d.after.0,
                gap: d.gap.map(GapMessage::from),
                joined: d.joined.as_micros(),
                began: Some(d.began.0),
                key: d.key.map(|key| Bytes::copy_from_slice(key.as_bytes())).unwrap_or_default(),
                watches: d.role == Role::Watches,
            })
            .collect(),
    };
    let mut out = Vec::with_capacity(1 + message.encoded_len());
    out.push(VERSION);
    message.encode_raw(&mut out);
    out
}

pub(crate) fn decode_record(value: &[u8]) -> Result<Record, Reason> {
    let message = match value {
        [VERSION, rest @ ..] => TunnelMessage::decode(rest).map_err(|e| e.to_string())?,
        [other, ..] => return Err(format!("its format {other} is not known")),
        [] => return Err("it is empty".to_owned()),
    };
    if message.first == 0 || message.first > message.next {
        return Err(format!("its bounds {} and {} make no sense", message.first, message.next));
    }
    // A gap lies among the places that were given.
    let gaps = message.devices.iter().map(|device| device.gap).chain([message.gap]).flatten();
    if let Some(gap) = gaps.into_iter().find(|gap| gap.from == 0 || gap.from > gap.upto || gap.upto >= message.next) {
        return Err(format!("its gap from {} to {} makes no sense", gap.from, gap.upto));
    }
    let device = |d: DeviceMessage| {
        if d.after >= message.next {
            return Err(format!("its device {} stands at {} of {}", d.name, d.after, message.next - 1));
        }
        Ok(Device {
            name: d.name.parse().map_err(|e| format!("{e}"))?,
            role: if d.watches { Role::Watches } else { Role::Takes },
            // Earlier programs did not note it: then nothing is known to have been taken by it.
            began: Seq(d.began.unwrap_or(d.after)),
            after: Seq(d.after),
            gap: d.gap.map(Gap::from),
            joined: Timestamp::from_micros(d.joined),
            key: match DeviceKey::from_slice(&d.key) {
                None if !d.key.is_empty() => return Err(format!("the key of its device {} is none", d.name)),
                key => key,
            },
        })
    };
    Ok(Record {
        id: message.id,
        first: Seq(message.first),
        next: Seq(message.next),
        bytes: message.bytes,
        dropped_age: message.dropped_age,
        dropped_size: message.dropped_size,
        gap: message.gap.map(Gap::from),
        devices: message.devices.into_iter().map(device).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn garbage_is_an_error_and_not_a_panic(mut value in vec(any::<u8>(), 0..200)) {
            let _ = decode_record(&value);
            if let Some(first) = value.first_mut() {
                *first = VERSION;
            }
            let _ = decode_record(&value);
        }

        #[test]
        fn records_go_round(first in 1u64..50, waiting in 0u64..50, bytes: u64, dropped: (u64, u64), at: i64, key: Option<[u8; 32]>, gap: Option<(u64, u64, u8)>) {
            let last = (first + waiting).saturating_sub(1);
            let among = |n: u64| 1 + n % last.max(1);
            let gap = gap.filter(|_| last > 0).map(|(a, b, why)| Gap { from: Seq(among(a).min(among(b))), upto: Seq(among(a).max(among(b))), why: [Why::Age, Why::Size, Why::Removed][usize::from(why % 3)] });
            let device = |name: &str, role, after| {
                let (began, joined) = (Seq(after / 2), Timestamp::from_micros(at));
                Device { name: name.parse().unwrap(), role, began, after: Seq(after), gap, joined, key: key.and_then(|key| DeviceKey::from_slice(&key)) }
            };
            let record = Record {
                id: 7, first: Seq(first), next: Seq(first + waiting), bytes, dropped_age: dropped.0, dropped_size: dropped.1, gap,
                devices: vec![device("a", Role::Takes, 0), device("b", Role::Watches, first - 1)],
            };
            prop_assert_eq!(decode_record(&encode_record(&record)).unwrap(), record);
        }
    }
}
