//! A door for fuzzing: how records and seals are read from the disk. Nothing but the package in fuzz/ goes through it, and it promises nothing
//! to anybody.

use bytes::Bytes;
use tunnel_delivery::DeliveryId;

use crate::record::{self, Entry};
use crate::seal::{self, ENCRYPTED, MAGIC};
use crate::{attempt, piece::Piece};

/// Where whole seals are in these bytes: each one's beginning and length.
///
/// # Panics
/// Where a seal that was found is not the one that would be made of what it says: that is what a fuzzer looks for.
pub fn seals(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    seal::find(bytes, bytes.len(), |at, sealed| {
        let made = seal::seal(sealed.key, sealed.number, sealed.payload, sealed.encrypted);
        assert_eq!(made, &bytes[at..at + sealed.len()]);
        assert_eq!(seal::open(sealed.key, &made), Some(sealed));
        found.push((at, sealed.len()));
    });
    found
}

/// Puts the right checksum behind everything that looks like a seal: no fuzzer guesses one.
pub fn reseal(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(4).position(|w| w == MAGIC || w == ENCRYPTED) {
        at += found;
        let head: Option<[u8; 7]> = bytes.get(at..at + 7).and_then(|head| head.try_into().ok());
        let Some([.., high, low, key]) = head else { return };
        let payload = usize::from(u16::from_be_bytes([high, low]));
        let end = at + 4 + 2 + 1 + 8 + usize::from(key) + payload;
        if payload <= Piece::MAX && end + 4 <= bytes.len() {
            let crc = crc32fast::hash(&bytes[at..end]).to_be_bytes();
            bytes[end..end + 4].copy_from_slice(&crc);
            at = end + 4;
        } else {
            at += 4;
        }
    }
}

/// Reads a line of a delivery, then its request and an attempt from the rest; each that is read is written and read again. How many of the
/// three were read.
///
/// # Panics
/// Where one is not the same again.
pub fn records(id: DeliveryId, line: &[u8], rest: &[u8]) -> usize {
    let mut read = 0;
    let rest = Bytes::copy_from_slice(rest);
    if let Ok(entry) = Entry::from_bytes(id, line) {
        let bytes = entry.to_bytes();
        let again = Entry::from_bytes(id, &bytes).ok();
        assert_eq!(again, Some(Entry { stored_len: bytes.len(), ..entry.clone() }));
        read += 1;
        if let Ok(whole) = record::decode(&entry.summary, rest.clone()) {
            let body = record::body(rest.clone()).ok();
            assert_eq!(body.as_ref(), Some(&whole.delivery.body), "a body alone is the one in the whole");
            assert!(whole.delivery.handler_target().starts_with('/'));
            read += 1;
        }
    }
    if let Ok(first) = attempt::decode(rest) {
        assert_eq!(attempt::decode(attempt::encode(&first).into()).ok(), Some(first));
        read += 1;
    }
    read
}
