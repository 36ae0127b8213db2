//! Seals: what makes a stored piece of a record recognisable in the raw bytes of the store's file, without the storage engine.
//!
//! The engine refuses, or panics over, many kinds of damage, and serves nothing more after the first. It keeps values as they are,
//! each in one stretch of its file; so a value that carries its own key, order and checksum can be found by reading the file from end
//! to end. Index entries carry none: they are made anew from the records.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | [`MAGIC`], or [`ENCRYPTED`] |
//! | 2 | length of the payload |
//! | 1 | length of the key |
//! | 8 | number of the commit; among several seals of one key the greatest is the latest |
//! | … | key, then payload |
//! | 4 | CRC-32 of everything before it |
//!
//! Numbers are big-endian. Where the payload is encrypted (`veil`), lengths and checksum are of what is stored.

use tunnel_vault::OVERHEAD;

use crate::keys;
use crate::piece::Piece;

/// How every seal begins. Not text, and not a number that is likely elsewhere.
pub(crate) const MAGIC: [u8; 4] = [0x9e, b'h', 0xf5, 0x1b];

/// How seals begin whose payload is encrypted.
pub(crate) const ENCRYPTED: [u8; 4] = [0x9e, b'h', 0xf5, 0x1c];

const HEAD: usize = 4 + 2 + 1 + 8;
const TAIL: usize = 4;

/// The longest key that is sealed: a piece of a long attempt.
const KEY_MAX: usize = 1 + 20 + 2;

/// The greatest number of bytes that a seal adds, encryption included.
pub(crate) const ADDS: usize = HEAD + KEY_MAX + OVERHEAD + TAIL;

/// The longest sealed value.
pub(crate) const LONGEST: usize = Piece::MAX + ADDS;

/// A seal that was found whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seal<'a> {
    /// The number of its commit.
    pub(crate) number: u64,
    /// The key it was stored under.
    pub(crate) key: &'a [u8],
    /// What was stored.
    pub(crate) payload: &'a [u8],
    /// Whether that is encrypted.
    pub(crate) encrypted: bool,
}

impl Seal<'_> {
    /// Where the payload begins.
    pub(crate) fn payload_at(&self) -> usize {
        HEAD + self.key.len()
    }

    /// How many bytes it takes in all.
    pub(crate) fn len(&self) -> usize {
        HEAD + self.key.len() + self.payload.len() + TAIL
    }
}

/// The longest payload.
fn longest(encrypted: bool) -> usize {
    Piece::MAX + if encrypted { OVERHEAD } else { 0 }
}

/// Whether values of this key are sealed: those that hold records, and the marks of removed ones.
pub(crate) fn covers(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'l' | b'r' | b'a' | b'R' | b'A' | b'n' | &keys::TOMB))
}

/// A payload with its seal.
pub(crate) fn seal(key: &[u8], number: u64, payload: &[u8], encrypted: bool) -> Vec<u8> {
    debug_assert!(key.len() <= KEY_MAX && payload.len() <= longest(encrypted));
    let mut sealed = Vec::with_capacity(HEAD + key.len() + payload.len() + TAIL);
    sealed.extend_from_slice(if encrypted { &ENCRYPTED } else { &MAGIC });
    // Both fit: see the assertion above.
    sealed.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    sealed.push(key.len() as u8);
    sealed.extend_from_slice(&number.to_be_bytes());
    sealed.extend_from_slice(key);
    sealed.extend_from_slice(payload);
    let crc = crc32fast::hash(&sealed);
    sealed.extend_from_slice(&crc.to_be_bytes());
    sealed
}

/// The seal at the beginning of these bytes; `None` if there is none, or not a whole one.
pub(crate) fn at_start(bytes: &[u8]) -> Option<Seal<'_>> {
    let (encrypted, rest) = match bytes.strip_prefix(&MAGIC) {
        Some(rest) => (false, rest),
        None => (true, bytes.strip_prefix(&ENCRYPTED)?),
    };
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (&[key_len], rest) = rest.split_first_chunk::<1>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (len, key_len) = (usize::from(u16::from_be_bytes(*len)), usize::from(key_len));
    if len > longest(encrypted) || key_len > KEY_MAX {
        return None;
    }
    let (key, rest) = rest.split_at_checked(key_len)?;
    let (payload, rest) = rest.split_at_checked(len)?;
    let crc = rest.first_chunk::<4>()?;
    let sealed = &bytes[..HEAD + key_len + len];
    (crc32fast::hash(sealed) == u32::from_be_bytes(*crc)).then(|| Seal {
        number: u64::from_be_bytes(*number),
        key,
        payload,
        encrypted,
    })
}

/// The seal that is a whole stored value of this key.
pub(crate) fn open<'a>(key: &[u8], value: &'a [u8]) -> Option<Seal<'a>> {
    at_start(value).filter(|seal| seal.key == key && seal.len() == value.len())
}

/// Finds every whole seal that begins before `until`, with the place where it begins.
pub(crate) fn find<'a>(bytes: &'a [u8], until: usize, mut each: impl FnMut(usize, Seal<'a>)) {
    let mut at = 0;
    while let Some(found) = bytes[at..until.min(bytes.len())].iter().position(|b| *b == MAGIC[0]) {
        at += found;
        match at_start(&bytes[at..]) {
            Some(seal) => {
                each(at, seal);
                // A body may hold the bytes of another store: what lies within a whole seal is not looked at.
                at += seal.len();
            }
            None => at += 1,
        }
        if at >= until.min(bytes.len()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_seal_is_found_among_anything_and_opened(
            before in proptest::collection::vec(any::<u8>(), 0..200), key in proptest::collection::vec(any::<u8>(), 0..=KEY_MAX),
            number: u64, encrypted: bool, payload in proptest::collection::vec(any::<u8>(), 0..300), after in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let sealed = seal(&key, number, &payload, encrypted);
            prop_assert!(sealed.len() <= payload.len() + ADDS);
            let expected = Seal { number, key: &key, payload: &payload, encrypted };
            prop_assert_eq!(open(&key, &sealed), Some(expected));
            let all = [&before[..], &sealed, &after].concat();
            let mut found = Vec::new();
            find(&all, all.len(), |at, seal| found.push((at, seal)));
            prop_assert_eq!(found, vec![(before.len(), expected)]);
        }

        #[test]
        fn a_changed_bit_breaks_it(payload in proptest::collection::vec(any::<u8>(), 0..60), bit: prop::sample::Index) {
            let mut sealed = seal(b"l123", 7, &payload, payload.len() % 2 == 1);
            let bit = bit.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(open(b"l123", &sealed), None);
        }

        #[test]
        fn any_bytes_may_be_searched(bytes: Vec<u8>, until in 0usize..300) {
            find(&bytes, until, |_, _| ());
            find(&[&MAGIC[..], &bytes].concat(), until, |_, _| ());
        }
    }
}
