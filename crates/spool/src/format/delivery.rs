//! How a delivery looks on the disk.
//!
//! Its value is `version (1 byte) | received_at (8 bytes, big-endian microseconds) | length of the head (4 bytes, big-endian) | head (protobuf) |
//! body`. The time stands apart so that ages are read without decoding, and the body so that it is copied once. Fields are only ever added; a
//! number once used keeps its meaning. The tunnel's name is not in it: its key begins with the tunnel's number.
//!
//! Where the spool has a key, a delivery's value is `version 2 (1 byte) | received_at | encrypted`: everything from the length of the head on
//! is encrypted (tunnel-vault), bound to the tunnel's number, the place in its stream and the time. So what stays legible on the disk is
//! which tunnel got a delivery when, and how long it is; and, in the tunnels' values, names of tunnels and devices and how far they are.
//! Values of both versions may lie beside each other.

use bytes::Bytes;
use prost::Message;
use tunnel_delivery::{
    Delivery, DeliveryId, Environment, HeaderLine, Headers, HttpVersion, Lost, Timestamp, TunnelName, address_bytes,
    address_of,
};
use tunnel_vault::{KeyId, OVERHEAD, Vault, VaultError};

use super::{Reason, VERSION};
use crate::Seq;

const ENCRYPTED: u8 = 2;
/// Version and time.
const FRONT: usize = 1 + 8;
/// The same, and the length of the head.
const FIXED: usize = FRONT + 4;

#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    source_ip: Bytes,
    #[prost(uint32, tag = "3")]
    environment: u32,
    #[prost(string, tag = "4")]
    method: String,
    #[prost(string, tag = "5")]
    target: String,
    #[prost(uint64, tag = "6")]
    prefix_len: u64,
    #[prost(uint32, tag = "7")]
    http_version: u32,
    #[prost(message, repeated, tag = "8")]
    headers: Vec<Line>,
    #[prost(uint32, repeated, tag = "9")]
    lost: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// A delivery ready to be written: everything but the body copied once, the body shared with the delivery.
pub(crate) struct Encoded {
    front: Vec<u8>,
    body: Bytes,
    encrypted: bool,
}

/// Where a delivery is stored: the number of its tunnel and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At(pub(crate) u32, pub(crate) Seq);

impl At {
    /// What an encrypted value is bound to, besides its spool.
    fn bound(self, front: &[u8]) -> Vec<u8> {
        let At(tunnel, seq) = self;
        [&tunnel.to_be_bytes()[..], &seq.0.to_be_bytes(), front.get(1..FRONT).unwrap_or_default()].concat()
    }
}

impl Encoded {
    pub(crate) fn len(&self) -> usize {
        self.front.len() + self.body.len() + if self.encrypted { OVERHEAD } else { 0 }
    }

    /// Writes the value; `out` must be [`Encoded::len`] bytes long.
    pub(crate) fn write_to(&self, out: &mut [u8], at: At, vault: Option<&Vault>) -> Result<(), VaultError> {
        let Some(vault) = vault.filter(|_| self.encrypted) else {
            let (front, body) = out.split_at_mut(self.front.len());
            front.copy_from_slice(&self.front);
            body.copy_from_slice(&self.body);
            return Ok(());
        };
        let (front, buffer) = out.split_at_mut(FRONT);
        front.copy_from_slice(&self.front[..FRONT]);
        front[0] = ENCRYPTED;
        let (head, body) = (&self.front[FRONT..], &self.body);
        // Where the vault wants what it is to encrypt: before it the key's id and the nonce, behind it the tag.
        let begin = OVERHEAD - TAG;
        buffer[begin..begin + head.len()].copy_from_slice(head);
        buffer[begin + head.len()..begin + head.len() + body.len()].copy_from_slice(body);
        vault.encrypt_in_place(&at.bound(front), buffer)
    }
}

/// The bytes that the vault writes behind what it encrypts.
const TAG: usize = 16;

/// The data key that a stored delivery was encrypted with; none of one that is not encrypted.
pub(crate) fn key_of(value: &[u8]) -> Option<KeyId> {
    match value {
        [ENCRYPTED, rest @ ..] => rest.get(FRONT - 1..).and_then(Vault::key_of),
        _ => None,
    }
}

pub(crate) fn encode(delivery: &Delivery, encrypted: bool) -> Encoded {
    let head = Head {
        id: Bytes::copy_from_slice(delivery.id.as_bytes()),
        source_ip: address_bytes(delivery.source_ip),
        environment: delivery.environment.number().into(),
        method: delivery.method.as_str().to_owned(),
        target: delivery.target.as_str().to_owned(),
        prefix_len: delivery.prefix_len as u64,
        http_version: delivery.http_version.number(),
        headers: delivery
            .headers
            .iter()
            .map(|line| Line { name: line.name.clone(), value: line.value.clone() })
            .collect(),
        lost: delivery.lost.iter().map(|lost| lost.number()).collect(),
    };
    let head_len = head.encoded_len();
    let mut front = Vec::with_capacity(FIXED + head_len);
    front.push(VERSION);
    front.extend_from_slice(&delivery.received_at.as_micros().to_be_bytes());
    // A head of 4 GiB cannot come in: the queue refuses it long before (MAX_DELIVERY), so a saturated length is never stored.
    front.extend_from_slice(&u32::try_from(head_len).unwrap_or(u32::MAX).to_be_bytes());
    head.encode_raw(&mut front);
    Encoded { front, body: delivery.body.clone(), encrypted }
}

/// When a stored delivery was received, without decoding it.
pub(crate) fn received_at(value: &[u8]) -> Result<Timestamp, Reason> {
    match value {
        [VERSION | ENCRYPTED, rest @ ..] => rest
            .first_chunk::<8>()
            .map(|micros| Timestamp::from_micros(i64::from_be_bytes(*micros)))
            .ok_or_else(|| "it ends before its time".to_owned()),
        [other, ..] => Err(format!("its format {other} is not known")),
        [] => Err("it is empty".to_owned()),
    }
}

pub(crate) fn decode(tunnel: &TunnelName, at: At, value: &[u8], vault: Option<&Vault>) -> Result<Delivery, Reason> {
    let received_at = received_at(value)?;
    // One copy of the whole value; the headers and the body are slices of it.
    let mut body = match (value, vault) {
        ([ENCRYPTED, ..], None) => return Err("it is encrypted and there is no key".to_owned()),
        ([ENCRYPTED, ..], Some(vault)) => {
            vault.decrypt(&at.bound(value), &value[FRONT..]).map(Bytes::from).map_err(|e| e.to_string())?
        }
        _ => Bytes::copy_from_slice(&value[FRONT..]),
    };
    let head_len = body.first_chunk::<4>().copied().ok_or("it ends before its head")?;
    let head_len = u32::from_be_bytes(head_len) as usize;
    let mut body = body.split_off(FIXED - FRONT);
    if head_len > body.len() {
        return Err("it ends within its head".to_owned());
    }
    let head = Head::decode(body.split_to(head_len)).map_err(|e| format!("its head: {e}"))?;
    Ok(Delivery {
        id: DeliveryId::from_slice(&head.id).ok_or("its id is not 16 bytes long")?,
        received_at,
        tunnel: tunnel.clone(),
        source_ip: address_of(&head.source_ip).ok_or("its source address is neither 4 nor 16 bytes long")?,
        environment: Environment::numbered(head.environment),
        method: head.method.parse().map_err(|e| format!("{e}"))?,
        target: head.target.parse().map_err(|e| format!("{e}"))?,
        prefix_len: usize::try_from(head.prefix_len).map_err(|_| "its prefix is too long")?,
        http_version: HttpVersion::numbered(head.http_version)
            .ok_or_else(|| format!("its HTTP version {} is not known", head.http_version))?,
        headers: Headers(head.headers.into_iter().map(|l| HeaderLine { name: l.name, value: l.value }).collect()),
        body,
        lost: head
            .lost
            .into_iter()
            .map(|lost| Lost::numbered(lost).ok_or_else(|| format!("what it lost, {lost}, is not known")))
            .collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn any_delivery() -> impl Strategy<Value = Delivery> {
        let line = (vec(any::<u8>(), 0..30), vec(any::<u8>(), 0..60)).prop_map(|(n, v)| HeaderLine::new(n, v));
        let lost = proptest::sample::subsequence(vec![Lost::HeaderOrder, Lost::ChunkBoundaries, Lost::Trailers], 0..=3);
        let version = prop_oneof![
            Just(HttpVersion::Http10),
            Just(HttpVersion::Http11),
            Just(HttpVersion::Http2),
            Just(HttpVersion::Sealed)
        ];
        let environment =
            prop_oneof![Just(Environment::Staging), Just(Environment::Production), Just(Environment::Unknown)];
        (
            (any::<[u8; 16]>(), any::<i64>(), any::<IpAddr>(), environment, "[A-Za-z!-]{1,10}"),
            ("/[!\"$-~]{0,60}", any::<u32>(), version, vec(line, 0..10), vec(any::<u8>(), 0..3000), lost),
        )
            .prop_map(
                |((id, at, source_ip, environment, method), (target, prefix, http_version, lines, body, lost))| {
                    Delivery {
                        id: DeliveryId::from_bytes(id),
                        received_at: Timestamp::from_micros(at),
                        tunnel: "team".parse().unwrap(),
                        source_ip,
                        environment,
                        method: method.parse().unwrap(),
                        target: target.parse().unwrap(),
                        prefix_len: prefix as usize,
                        http_version,
                        headers: Headers(lines),
                        body: body.into(),
                        lost,
                    }
                },
            )
    }

    const AT: At = At(7, Seq(9));

    fn value_of(delivery: &Delivery, vault: Option<&Vault>) -> Vec<u8> {
        let encoded = encode(delivery, vault.is_some());
        let mut value = vec![0; encoded.len()];
        encoded.write_to(&mut value, AT, vault).unwrap();
        value
    }

    fn vault() -> Vault {
        let dir = tempfile::tempdir().unwrap();
        let key = tunnel_vault::UserKey::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "a test").unwrap();
        Vault::open(dir.path(), Some(&key), false, tunnel_vault::Entropy::system()).unwrap().unwrap()
    }

    fn sample() -> Delivery {
        Delivery {
            id: DeliveryId::from_bytes([7; 16]),
            received_at: Timestamp::from_micros(1_800_000_000_123_456),
            tunnel: "team".parse().unwrap(),
            source_ip: "52.4.158.130".parse().unwrap(),
            environment: Environment::Production,
            method: "POST".parse().unwrap(),
            target: "/t/team/hook?x=1".parse().unwrap(),
            prefix_len: 7,
            http_version: HttpVersion::Http11,
            headers: [HeaderLine::new("Host", "a"), HeaderLine::new("X-Y", vec![0xff, 0x20])].into_iter().collect(),
            body: "{}".into(),
            lost: vec![Lost::ChunkBoundaries, Lost::Trailers],
        }
    }

    /// What an older relay left on the disk is read by this one, and the other way about.
    #[test]
    fn a_delivery_has_the_bytes_that_it_always_had() {
        let hex = |delivery: &Delivery| value_of(delivery, None).iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(&sample()),
            "0100066517289a6240000000500a1007070707070707070707070707070707120434049e8218022204504f53542a102f742f7465616d2f686f6f6b3f783d313007380b42090a04486f737412016142090a03582d591202ff204a0202037b7d"
        );
        let other = Delivery {
            source_ip: "2001:db8::1".parse().unwrap(),
            environment: Environment::Staging,
            http_version: HttpVersion::Sealed,
            lost: vec![Lost::HeaderOrder],
            ..sample()
        };
        assert_eq!(
            hex(&other),
            "0100066517289a62400000005c0a1007070707070707070707070707070707121020010db800000000000000000000000118012204504f53542a102f742f7465616d2f686f6f6b3f783d31300738ff0142090a04486f737412016142090a03582d591202ff204a01017b7d"
        );
    }

    proptest! {
        #[test]
        fn deliveries_go_round_byte_for_byte(delivery in any_delivery()) {
            let value = value_of(&delivery, None);
            prop_assert_eq!(received_at(&value).unwrap(), delivery.received_at);
            prop_assert_eq!(key_of(&value), None);
            prop_assert_eq!(decode(&delivery.tunnel, AT, &value, None).unwrap(), delivery);
        }

        #[test]
        fn encrypted_ones_too_and_in_their_place_only(delivery in any_delivery(), bit in any::<proptest::sample::Index>(), cut in any::<proptest::sample::Index>()) {
            let vault = vault();
            let value = value_of(&delivery, Some(&vault));
            prop_assert_eq!(received_at(&value).unwrap(), delivery.received_at);
            prop_assert!(key_of(&value).is_some());
            prop_assert!(delivery.body.len() < 8 || !value.windows(delivery.body.len()).any(|w| w == delivery.body));
            prop_assert_eq!(&decode(&delivery.tunnel, AT, &value, Some(&vault)).unwrap(), &delivery);
            prop_assert_eq!(&decode(&delivery.tunnel, AT, &value_of(&delivery, None), Some(&vault)).unwrap(), &delivery);
            prop_assert!(decode(&delivery.tunnel, AT, &value, None).is_err());
            for other in [At(8, AT.1), At(7, Seq(10))] {
                prop_assert!(decode(&delivery.tunnel, other, &value, Some(&vault)).is_err());
            }
            prop_assert!(decode(&delivery.tunnel, AT, &value[..cut.index(value.len())], Some(&vault)).is_err());
            let mut changed = value;
            let bit = bit.index(changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&delivery.tunnel, AT, &changed, Some(&vault)).is_err());
        }

        #[test]
        fn what_is_cut_off_before_the_body_is_refused(delivery in any_delivery(), at in any::<proptest::sample::Index>()) {
            let value = value_of(&delivery, None);
            let cut = at.index(value.len() - delivery.body.len());
            prop_assert!(decode(&delivery.tunnel, AT, &value[..cut], None).is_err());
        }

        #[test]
        fn garbage_is_an_error_and_not_a_panic(mut value in vec(any::<u8>(), 0..200)) {
            let tunnel: TunnelName = "team".parse().unwrap();
            let _ = decode(&tunnel, AT, &value, None);
            if let Some(first) = value.first_mut() {
                *first = VERSION;
            }
            if let Some(len) = value.get_mut(9..11) {
                len.fill(0); // a head length that has a chance to fit
            }
            let _ = decode(&tunnel, AT, &value, None);
        }
    }
}
