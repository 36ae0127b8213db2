//! Envelopes and the files of keys: what a stranger may seal, and what an operator may paste.

use std::cell::RefCell;

use bytes::Bytes;
use tunnel_delivery::{Delivery, DeliveryId, Environment, Headers, HttpVersion, Timestamp};
use tunnel_envelope::{KeyPair, KeyRing, MAX_HEAD, MAX_LINES, OpenError, fuzzing, open, seal};
use tunnel_vault::UserKey;

/// What stands outside the envelope.
fn outside(http_version: HttpVersion, body: Bytes) -> Delivery {
    let at = Timestamp::from_micros(1_763_714_000_000_000);
    Delivery {
        id: DeliveryId::first_at(at),
        received_at: at,
        tunnel: "team".parse().expect("it is a name"),
        source_ip: [18, 206, 70, 225].into(),
        environment: Environment::Staging,
        method: "SEALED".parse().expect("it is a method"),
        target: "/".parse().expect("it is a target"),
        prefix_len: 0,
        http_version,
        headers: Headers::default(),
        body,
        lost: Vec::new(),
    }
}

/// What is inside is a request within the caps, and written again is read the same.
pub(crate) fn content(plain: &[u8]) {
    let sealed = outside(HttpVersion::Sealed, Bytes::new());
    let Ok(first) = fuzzing::read(plain, sealed.clone()) else { return };
    assert_ne!(first.http_version, HttpVersion::Sealed, "one is sealed in another");
    assert_eq!((first.id, first.source_ip, &first.tunnel), (sealed.id, sealed.source_ip, &sealed.tunnel));
    let head: usize = first.headers.iter().map(|line| line.name.len() + line.value.len()).sum();
    assert!(head <= MAX_HEAD && first.headers.0.len() <= MAX_LINES);
    let line_ends = |bytes: &[u8]| bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    assert!(!first.headers.iter().any(|line| line_ends(&line.name) || line_ends(&line.value)));
    assert!(first.handler_target().starts_with('/'));
    assert_eq!(fuzzing::read(&fuzzing::write(&first), sealed).as_ref(), Ok(&first));
}

thread_local! {
    /// Keys, and an envelope that they open.
    static SEALED: RefCell<Option<(KeyRing, Delivery)>> = const { RefCell::new(None) };
}

/// An envelope opens only as it was sealed. The first two bytes say where the one that opens is changed by the rest: nothing that is put
/// there, but what was there, opens.
pub(crate) fn changed(input: &[u8]) {
    let mut input = crate::cut::Cut(input);
    let at = usize::from(input.byte()) << 8 | usize::from(input.byte());
    SEALED.with_borrow_mut(|known| {
        let (ring, sealed) = known.get_or_insert_with(|| {
            let ring = KeyRing::new(KeyPair::new().expect("a pair is made"));
            let plain = outside(HttpVersion::Http11, Bytes::from_static(b"{}"));
            let sealed = seal(&plain, &[ring.public()]).expect("it is sealed");
            assert_eq!(open(&sealed, &ring).as_ref(), Ok(&plain));
            (ring, sealed)
        });
        let mut envelope = sealed.body.to_vec();
        let at = at % (envelope.len() + 1);
        let end = envelope.len().min(at + input.0.len());
        envelope.splice(at..end, input.0.iter().copied());
        let same = envelope == sealed.body;
        let opened = open(&Delivery { body: envelope.into(), ..sealed.clone() }, ring);
        assert_eq!(opened.is_ok(), same, "{opened:?}");
        assert!(!matches!(opened, Err(OpenError::Content(_))), "what was not sealed was read: {opened:?}");
        let alone = open(&outside(HttpVersion::Sealed, Bytes::copy_from_slice(input.0)), ring);
        assert!(alone.is_err(), "{alone:?}");
    });
}

/// Keys as text are read, and a ring written again is the same.
pub(crate) fn keys(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(e) = UserKey::parse(&text, "a file") {
        let said = e.to_string();
        let words =
            text.split_whitespace().filter(|word| word.len() > 12 && word.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(
            words.clone().count() == 0 || !words.clone().any(|word| said.contains(word)),
            "{said:?} tells of a key"
        );
    }
    if let Ok(ring) = KeyRing::parse(&text) {
        let again = KeyRing::parse(&ring.text()).expect("what was written is read");
        assert_eq!(again.all().collect::<Vec<_>>(), ring.all().collect::<Vec<_>>());
    }
}
