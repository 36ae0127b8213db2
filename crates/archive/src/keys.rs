//! Which keys there are. One tree holds everything, so that one batch changes a delivery and its indexes together; the first byte
//! says what a key belongs to, and keys of one kind sort by delivery id, which is by time.
//!
//! | tag | key | value |
//! | --- | --- | --- |
//! | `l` | id | shelf of lines: what lists show and what changes (`record`) |
//! | `r` | id | shelf of requests: what never changes |
//! | `a` | id, attempt | shelf of attempts |
//! | `R` `A` | as above, piece | requests and attempts too long for their shelf |
//! | `n` | id, piece | the note |
//! | `e` `t` | term, id | postings by event, by resource type |
//! | `s` `c` | code, id | postings by signature status, by answer class |
//! | `i` `f` | hash, id | postings by resource id, by fingerprint |
//! | `I` `F` | MAC of the hash, id | the same, written where the archive had a key (`veil`); since format 4 |
//! | `u` | term, id | postings by tunnel |
//! | `d` | the first one's id, id | postings of repeats by what they repeat |
//! | `D` | id | postings of repeats |
//! | `k` | the last one's id | what a stretch of deliveries holds, roughly (`sketch`); since format 3 |
//! | `x` | id | shelf of removed deliveries, until the store is compacted (`seal`) |
//! | `w` | a key's prefix | pieces under that prefix are being written, or removed |
//! | `m` | – | counters |
//! | `q` | – | how often the store was opened (`engine`) |
//!
//! Values of `l` `r` `a` `R` `A` `n` `x` are sealed (`seal`), and all but the last, and `k`, are encrypted where the archive has a key (`veil`); to
//! everything but `engine` they look as they did before.
//!
//! Names in keys come from the outside: [`term`] caps them and keeps one from being the beginning of another. No key is longer than
//! [`MAX`].

use tunnel_delivery::DeliveryId;

use crate::shelf::Shelf;
use crate::veil::Hashed;

/// The greatest length of a key in bytes: tag, an escaped name, two bytes of end, an id. Every index node of the engine's tree holds
/// up to 257 of them.
pub(crate) const MAX: usize = 1 + 2 * NAME_MAX + 2 + 16;

/// How many bytes of a name go into a key; longer names that begin alike share their postings.
pub(crate) const NAME_MAX: usize = 64;

/// Lines, by delivery.
pub(crate) const LINES: Shelf = Shelf { tag: b'l', width: 16 };
/// Requests, by delivery.
pub(crate) const REQUESTS: Shelf = Shelf { tag: b'r', width: 16 };
/// Attempts, by delivery and number.
pub(crate) const ATTEMPTS: Shelf = Shelf { tag: b'a', width: 20 };
/// Removed deliveries, each with the number of the commit that removed it.
pub(crate) const TOMBS: Shelf = Shelf { tag: TOMB, width: 16 };
pub(crate) const TOMB: u8 = b'x';
/// Sketches.
pub(crate) const SKETCH: u8 = b'k';
pub(crate) const EVENT: u8 = b'e';
pub(crate) const INTENT: u8 = b'w';
pub(crate) const COUNTERS: &[u8] = b"m";
pub(crate) const OPENED: &[u8] = b"q";
/// Postings by resource id: entries are hash and delivery id.
pub(crate) const RESOURCE_ID: Hashed = Hashed { plain: b"i", blind: b"I" };
/// Postings by fingerprint: entries are hash and delivery id.
pub(crate) const FINGERPRINT: Hashed = Hashed { plain: b"f", blind: b"F" };
/// Postings of repeats: entries are the id of the first one and that of the repeat.
pub(crate) const REPEATS: &[u8] = b"d";
/// Postings of all deliveries that repeat another.
pub(crate) const DUPLICATES: &[u8] = b"D";
/// The tags of all postings.
pub(crate) const POSTINGS: [u8; 11] = *b"DFIcdefistu";

fn with_id(tag: u8, id: DeliveryId) -> Vec<u8> {
    let mut key = Vec::with_capacity(24);
    key.push(tag);
    key.extend_from_slice(id.as_bytes());
    key
}

/// The key of the sketch whose last delivery has this id.
pub(crate) fn sketch(last: DeliveryId) -> Vec<u8> {
    with_id(SKETCH, last)
}

/// What comes before the piece's number in the keys of a long request.
pub(crate) fn request(id: DeliveryId) -> Vec<u8> {
    with_id(b'R', id)
}

/// What comes before the piece's number in the keys of a note.
pub(crate) fn note(id: DeliveryId) -> Vec<u8> {
    with_id(b'n', id)
}

/// The key of an attempt on its shelf.
pub(crate) fn attempt(id: DeliveryId, number: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(id.as_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// What comes before the piece's number in the keys of a long attempt.
pub(crate) fn attempt_pieces(id: DeliveryId, number: u32) -> Vec<u8> {
    [&[b'A'][..], &attempt(id, number)].concat()
}

/// The key of a piece.
pub(crate) fn piece(prefix: &[u8], number: u16) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

/// The key that says that pieces under this prefix are being written.
pub(crate) fn intent(prefix: &[u8]) -> Vec<u8> {
    [&[INTENT], prefix].concat()
}

/// Postings of an event's name.
pub(crate) fn event(name: &str) -> Vec<u8> {
    term(EVENT, name)
}

/// Postings of a resource's type.
pub(crate) fn resource_type(name: &str) -> Vec<u8> {
    term(b't', name)
}

/// Postings of a tunnel.
pub(crate) fn tunnel(name: &str) -> Vec<u8> {
    term(b'u', name)
}

/// Postings of a signature status.
pub(crate) fn signature(code: u8) -> Vec<u8> {
    vec![b's', code]
}

/// Postings of an answer class.
pub(crate) fn answer(code: u8) -> Vec<u8> {
    vec![b'c', code]
}

/// The postings that a block's key belongs to, as far as they can be told, and the width of their entries.
pub(crate) fn postings_of(key: &[u8]) -> (Option<&[u8]>, usize) {
    match key.first() {
        Some(b'e' | b't' | b'u') => (split_term(key).map(|(term, _)| term), 16),
        Some(b's' | b'c') => (key.get(..2), 16),
        Some(b'i' | b'f' | b'I' | b'F') => (key.get(..1), 24),
        Some(b'd') => (key.get(..1), 32),
        _ => (key.get(..1), 16),
    }
}

/// A name within a key: at most [`NAME_MAX`] bytes of it, a zero byte as 0 255, and 0 1 at the end. So no name is the beginning of
/// another, and names sort as their bytes do.
fn term(tag: u8, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len().min(NAME_MAX) + 20);
    key.push(tag);
    push_escaped(&mut key, name);
    key.extend_from_slice(&[0, 1]);
    key
}

fn push_escaped(key: &mut Vec<u8>, name: &str) {
    for &byte in name.as_bytes().iter().take(NAME_MAX) {
        key.push(byte);
        if byte == 0 {
            key.push(255);
        }
    }
}

/// What all keys of events begin with whose name begins so.
pub(crate) fn events_beginning(name: &str) -> Vec<u8> {
    let mut key = vec![EVENT];
    push_escaped(&mut key, name);
    key
}

/// The term, tag and end included, at the beginning of a posting's key, and the name in it (its first [`NAME_MAX`] bytes).
pub(crate) fn split_term(key: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let mut name = Vec::new();
    let mut at = 1;
    loop {
        match (*key.get(at)?, key.get(at + 1)) {
            (0, Some(1)) => return Some((&key[..at + 2], name)),
            (0, Some(255)) => {
                name.push(0);
                at += 2;
            }
            (0, _) => return None,
            (byte, _) => {
                name.push(byte);
                at += 1;
            }
        }
    }
}

/// The first key after all that begin with `prefix`. Every prefix begins with a tag, which is below 255, so there is one.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if last < 255 {
            key.push(last + 1);
            return key;
        }
    }
    vec![255]
}

/// The first key after this one.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// FNV-1a, 64 bit: for buckets, not for trust. What it finds is compared in full.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 8] {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for part in parts {
        part.iter().copied().for_each(&mut eat);
        // Lengths keep ("a", "bc") from ("ab", "c").
        (part.len() as u64).to_le_bytes().into_iter().for_each(&mut eat);
    }
    // The low bits of FNV mix best; they come first, so that entries spread.
    hash.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), any::<char>()], 0..12)
            .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn terms_sort_as_names_and_none_begins_another(a in name(), b in name()) {
            let (ka, kb) = (event(&a), event(&b));
            prop_assert_eq!(a.as_bytes().cmp(b.as_bytes()), ka.cmp(&kb));
            prop_assert_eq!(a == b, kb.starts_with(&ka), "{:?} {:?}", ka, kb);
            prop_assert_eq!(b.starts_with(&a), kb.starts_with(&events_beginning(&a)));
        }

        #[test]
        fn a_term_is_found_again_in_a_key(a in name(), id: [u8; 16]) {
            let key = [event(&a), id.to_vec()].concat();
            let (term, back) = split_term(&key).unwrap();
            prop_assert_eq!(term, &event(&a)[..]);
            prop_assert_eq!(back, a.as_bytes());
        }

        #[test]
        fn any_bytes_may_be_split(key: Vec<u8>) {
            let _ = split_term(&key);
        }

        #[test]
        fn after_is_after_all_and_before_the_rest(prefix in proptest::collection::vec(any::<u8>(), 0..6), tail: Vec<u8>, other: Vec<u8>) {
            let prefix = [vec![b'e'], prefix].concat();
            let end = after(&prefix);
            prop_assert!([&prefix[..], &tail].concat() < end);
            prop_assert!(other < prefix || other.starts_with(&prefix) || other >= end);
        }
    }

    #[test]
    fn keys_are_short_however_long_the_name() {
        for name in ["\0".repeat(5000), "ä".repeat(5000)] {
            assert!(event(&name).len() + 16 <= MAX, "{}", event(&name).len());
        }
    }

    #[test]
    fn attempts_sort_by_time_and_number() {
        let at = |ms: i64| DeliveryId::first_at(tunnel_delivery::Timestamp::from_micros(ms * 1000));
        assert!(attempt(at(1), 300) < attempt(at(2), 1));
        assert!(attempt(at(1), 255) < attempt(at(1), 256));
    }
}
