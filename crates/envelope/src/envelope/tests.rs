//! Envelopes go round, open for nobody else, and take nothing for an envelope that is none.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use tunnel_delivery::{DeliveryId, Environment, HeaderLine, Lost, Timestamp};

use super::*;
use crate::KeyPair;
use crate::padding::padded;

fn ring() -> KeyRing {
    KeyRing::new(KeyPair::new().unwrap())
}

static OURS: LazyLock<KeyRing> = LazyLock::new(ring);
static THEIRS: LazyLock<KeyRing> = LazyLock::new(ring);

fn sample(body: &'static [u8]) -> Delivery {
    let mut headers = Headers::default();
    headers.push("Host", "team.relay.test");
    headers.push("X-patient", vec![0xff, b'7']);
    Delivery {
        id: DeliveryId::from_bytes([7; 16]),
        received_at: Timestamp::from_micros(1_800_000_000_000_001),
        tunnel: "team".parse().unwrap(),
        source_ip: [203, 0, 113, 9].into(),
        environment: Environment::Staging,
        method: "POST".parse().unwrap(),
        target: "/t/team/hook?patient=12".parse().unwrap(),
        prefix_len: 7,
        http_version: HttpVersion::Http11,
        headers,
        body: Bytes::from_static(body),
        lost: vec![Lost::ChunkBoundaries],
    }
}

#[test]
fn each_recipient_opens_it_and_nobody_else() {
    let delivery = sample(b"{\"resource_id\":12}");
    let sealed = seal(&delivery, &[OURS.public(), THEIRS.public(), OURS.public()]).unwrap();
    assert_eq!(open(&sealed, &OURS).as_ref(), Ok(&delivery));
    assert_eq!(open(&sealed, &THEIRS).as_ref(), Ok(&delivery));
    assert_eq!(open(&sealed, &ring()), Err(OpenError::NotForUs(2)));
    assert_eq!(sealed.body.len(), sealed_len(&delivery, 2));
    assert!(sealed.is_sealed());
    assert_eq!((sealed.method.as_str(), sealed.target.as_str(), sealed.headers.0.len()), ("SEALED", "/", 0));
    for secret in [&b"resource_id"[..], b"hook", b"patient", b"X-patient", b"POST"] {
        assert!(!sealed.body.windows(secret.len()).any(|w| w == secret), "{secret:?}");
    }
}

#[test]
fn an_older_pair_of_the_ring_still_opens() {
    let sealed = seal(&sample(b""), &[OURS.public()]).unwrap();
    let old = KeyRing::parse(&OURS.text()).unwrap();
    let ring = old.behind(ring()).unwrap();
    assert_ne!(ring.public(), OURS.public());
    assert_eq!(open(&sealed, &ring), Ok(sample(b"")));
}

#[test]
fn what_stands_outside_cannot_be_exchanged() {
    let sealed = seal(&sample(b"{}"), &[OURS.public()]).unwrap();
    let changes: [fn(&mut Delivery); 6] = [
        |d| d.id = DeliveryId::from_bytes([8; 16]),
        |d| d.received_at = Timestamp::from_micros(1),
        |d| d.tunnel = "other".parse().unwrap(),
        |d| d.source_ip = [203, 0, 113, 10].into(),
        |d| d.source_ip = std::net::Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped().into(),
        |d| d.environment = Environment::Production,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut other = sealed.clone();
        change(&mut other);
        assert_eq!(open(&other, &OURS), Err(OpenError::Changed), "change {n}");
    }
}

#[test]
fn recipients_cannot_be_removed_added_or_swapped_between_envelopes() {
    let (one, other) = (sample(b"{}"), sample(b"[]"));
    let both = [OURS.public(), THEIRS.public()];
    let (a, b) = (seal(&one, &both).unwrap(), seal(&other, &both).unwrap());
    let bodied = |body: Vec<u8>| Delivery { body: body.into(), ..a.clone() };
    // One recipient is cut out, count and all.
    for cut in [FIXED, FIXED + STANZA] {
        let mut fewer = a.body.to_vec();
        fewer.drain(cut..cut + STANZA);
        fewer[4] = 1;
        let fewer = bodied(fewer);
        assert!([&OURS, &THEIRS].iter().all(|ring| open(&fewer, ring).is_err()));
    }
    // The keys of one, the content of the other, of the same id and time.
    let begin = FIXED + 2 * STANZA;
    let mixed = bodied([&a.body[..begin], &b.body[begin..]].concat());
    assert_eq!(open(&mixed, &OURS), Err(OpenError::Changed));
}

#[test]
fn two_envelopes_of_one_delivery_have_nothing_in_common() {
    let [a, b] = [(); 2].map(|()| seal(&sample(b"{}"), &[OURS.public()]).unwrap().body);
    assert_eq!(a.len(), b.len());
    assert_ne!(a[FIXED + ID..][..ENC], b[FIXED + ID..][..ENC]);
    let begin = FIXED + STANZA;
    assert_ne!(a[begin..][..16], b[begin..][..16]);
}

#[test]
fn a_length_says_little() {
    let len = |body: &'static [u8]| seal(&sample(body), &[OURS.public()]).unwrap().body.len();
    assert_eq!(len(b"{\"resource_id\":1}"), len(b"{\"resource_id\":1234567}"));
    assert!(padded(1 << 18) < (1 << 18) + (1 << 15));
}

#[test]
fn what_cannot_be_sealed_is_told() {
    let delivery = sample(b"{}");
    assert_eq!(seal(&delivery, &[]), Err(SealError::NoRecipient));
    let many: Vec<_> = (0..=64_u8).map(|n| DeviceKey::from_slice(&[n; 32]).unwrap()).collect();
    assert_eq!(seal(&delivery, &many), Err(SealError::TooManyRecipients(65)));
    // A point of small order: what is agreed with it is known to everybody (RFC 7748, section 6.1).
    let zero = DeviceKey::from_slice(&[0; 32]).unwrap();
    assert_eq!(seal(&delivery, &[zero]), Err(SealError::BadKey(zero)));
    assert!(!crate::is_usable(&zero) && crate::is_usable(&OURS.public()));
    let sealed = seal(&delivery, &[OURS.public()]).unwrap();
    assert_eq!(seal(&sealed, &[OURS.public()]), Err(SealError::Sealed));
    assert_eq!(open(&delivery, &OURS), Err(OpenError::NotSealed));
    let mut long = delivery;
    long.headers.push("a", vec![b'x'; content::MAX_HEAD]);
    assert_eq!(seal(&long, &[OURS.public()]), Err(SealError::TooLarge));
}

#[test]
fn a_newer_version_is_told_as_one() {
    let mut sealed = seal(&sample(b"{}"), &[OURS.public()]).unwrap();
    let mut body = sealed.body.to_vec();
    body[3] = 2;
    sealed.body = body.into();
    assert_eq!(open(&sealed, &OURS), Err(OpenError::TooNew(2)));
}

/// An envelope of a forger who knows the public key, around any text.
fn forged(plain: &[u8]) -> Delivery {
    let mut sealed = seal(&sample(b""), &[OURS.public()]).unwrap();
    let (key, id, context) = ([5; KEY], id_of(&OURS.public()), context(&sealed));
    let (enc, wrapped) = wrap(&OURS.public(), &context, &id, &key).unwrap();
    let mut out = [&MAGIC[..], &[1], &id, &enc, &wrapped].concat();
    let (associated, begin) = ([&context, &out[..]].concat(), out.len());
    out.extend_from_slice(plain);
    let tag = cipher(&key).unwrap();
    let tag = tag.seal_in_place_separate_tag(nonce(), Aad::from(associated), &mut out[begin..]).unwrap();
    out.extend_from_slice(tag.as_ref());
    sealed.body = out.into();
    sealed
}

#[test]
fn what_a_forger_seals_is_checked_as_what_comes_from_the_network() {
    let good = |change: fn(&mut Delivery)| {
        let mut d = sample(b"{}");
        change(&mut d);
        let mut out = Vec::new();
        content::write(&d, &mut out);
        open(&forged(&out), &OURS)
    };
    assert_eq!(good(|_| {}), Ok(sample(b"{}")));
    let bad: [fn(&mut Delivery); 7] = [
        |d| d.headers.push("X", "a\r\nHost: elsewhere"),
        |d| d.headers.push("X:", "a"),
        |d| d.headers.push("", "a"),
        |d| d.headers.push("X", vec![0]),
        |d| d.prefix_len = 1000,
        |d| d.http_version = HttpVersion::Sealed,
        |d| (0..600).for_each(|_| d.headers.push("a", "b")),
    ];
    for (n, change) in bad.into_iter().enumerate() {
        assert!(matches!(good(change), Err(OpenError::Content(_))), "{n}");
    }
    for bad in [&b""[..], &[0; 3], &[0xff; 8], &[0, 0, 0, 200, 1, 2]] {
        assert!(matches!(open(&forged(bad), &OURS), Err(OpenError::Content(_))), "{bad:?}");
    }
}

fn any_delivery() -> impl Strategy<Value = Delivery> {
    let text =
        |bytes: std::ops::RangeInclusive<u8>, len| vec(bytes.prop_map(|b| if b == b':' { b'-' } else { b }), len);
    let line = (text(b'!'..=b'~', 1..30), text(b' '..=b'~', 0..60)).prop_map(|(n, v)| HeaderLine::new(n, v));
    let lost = proptest::sample::subsequence(vec![Lost::HeaderOrder, Lost::ChunkBoundaries, Lost::Trailers], 0..=3);
    let version = prop_oneof![Just(HttpVersion::Http10), Just(HttpVersion::Http11), Just(HttpVersion::Http2)];
    (
        (any::<[u8; 16]>(), any::<i64>(), any::<std::net::IpAddr>(), "[A-Za-z!-]{1,10}", "/[!\"$-~]{0,60}"),
        (version, vec(line, 0..10), vec(any::<u8>(), 0..3000), lost),
    )
        .prop_map(|((id, at, source_ip, method, target), (http_version, lines, body, lost))| Delivery {
            id: DeliveryId::from_bytes(id),
            received_at: Timestamp::from_micros(at),
            source_ip,
            method: method.parse().unwrap(),
            target: target.parse().unwrap(),
            prefix_len: 0,
            http_version,
            headers: Headers(lines),
            body: body.into(),
            lost,
            ..sample(b"")
        })
}

proptest! {
    #[test]
    fn deliveries_go_round_byte_for_byte(delivery in any_delivery()) {
        let sealed = seal(&delivery, &[THEIRS.public(), OURS.public()]).unwrap();
        prop_assert_eq!(sealed.body.len(), sealed_len(&delivery, 2));
        prop_assert_eq!(open(&sealed, &OURS).unwrap(), delivery);
    }

    #[test]
    fn one_changed_bit_and_it_does_not_open(delivery in any_delivery(), at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
        let sealed = seal(&delivery, &[OURS.public()]).unwrap();
        let mut body = sealed.body.to_vec();
        let at = at.index(body.len());
        body[at] ^= 1_u8 << bit;
        let changed = Delivery { body: body.into(), ..sealed };
        prop_assert!(open(&changed, &OURS).is_err());
    }

    #[test]
    fn one_that_is_cut_off_does_not_open(at in any::<proptest::sample::Index>()) {
        let sealed = seal(&sample(b"{}"), &[OURS.public()]).unwrap();
        let cut = at.index(sealed.body.len());
        let cut = Delivery { body: sealed.body.slice(..cut), ..sealed };
        prop_assert!(open(&cut, &OURS).is_err());
    }

    #[test]
    fn garbage_is_an_error_and_not_a_panic(mut body in vec(any::<u8>(), 0..600), count in 0_u8..70) {
        let garbage = |body: &[u8]| Delivery { body: Bytes::copy_from_slice(body), http_version: HttpVersion::Sealed, ..sample(b"") };
        prop_assert!(open(&garbage(&body), &OURS).is_err());
        if let Some(begin) = body.get_mut(..FIXED) {
            begin[..4].copy_from_slice(&MAGIC);
            begin[4] = count;
        }
        if let Some(id) = body.get_mut(FIXED..FIXED + ID) {
            id.copy_from_slice(&id_of(&OURS.public()));
        }
        prop_assert!(open(&garbage(&body), &OURS).is_err());
        let _ = open(&forged(&body), &OURS);
    }
}

/// An envelope that lies in a spool opens only with the bytes that it was bound to.
#[test]
fn what_an_envelope_is_bound_to_is_what_it_always_was() {
    let bound = |address: &str, environment| {
        let delivery = Delivery { source_ip: address.parse().unwrap(), environment, ..sample(b"{}") };
        context(&delivery).iter().skip(34).map(|b| format!("{b:02x}")).collect::<String>()
    };
    let (id, at) = ("07".repeat(16), "0006651728988001");
    let v4 = bound("52.4.158.130", Environment::Production);
    assert_eq!(v4, format!("{id}{at}02{}{}", "0434049e82", "047465616d"));
    let v6 = bound("2001:db8::1", Environment::Staging);
    assert_eq!(v6, format!("{id}{at}01{}{}", "1020010db8000000000000000000000001", "047465616d"));
    assert!(context(&sample(b"")).starts_with(b"healthie-tunnel sealed delivery 1\0"));
}

/// Made by version 1: for [`sample`] with the body of [`sealed_by_version_1`], to the pair below and to one that is lost.
const PAIR_1: &str =
    "healthie-tunnel-key-1 r1PlAcyjKiBOIoWQhzrDh5X7TbjZ+CLfH3wXr0nFVpw= 0kPrM50MmQcaRqAloJlNJPU35XgWCl6mJbMy3FYAMwQ=";
const ENVELOPE_1: [&str; 9] = [
    "SFRFAQJzIXNRUQ45fBedXlXsxyQuqMUUFXDaD4jDlJDo9z6b6nH4ovp//aYbbuXtJ1rMEz37kClf4U1U9C99quQvA2Kvz3udzvmTlIMa+lK2",
    "j2oImAOVZRvE2AAlmn9W4LCGsQOZYsRR44gjAnkOsXyjY6BfUCb0fD2a++zsnDrQry93aQynyKQOrdBgT6POuFkKKNgDueu5ShoF4JGGbl7z",
    "IgrHT15UYBU2WVGuJYb5jeyRfwIcR3gipmYIo9fZdqSx5gquQY4la5eTjZiCI80L8CUoTivdEGqHCx07ZFDcZDjyI9gUK/CCJGeInhXHadD1",
    "4FmS+w5l40Y0mpkMFGgr2GroEZt8DtDSsv6ndHDCEgEzxzzLXBfA30/GDmt1mZ8DPATM1jRAeyAkyv/JkI9Kz8x6B2V03fZMC7MuWnPsF3aY",
    "mI+C+NGNrwiN5YTeDxZke85pvGs8a2HTX6hYPkRwxTeSA9yyigxPDu7E3qNRbeRS9fVSgvAezNAgFB1rp9WQklFZa8pcnyh6qQcJUnMiHh5o",
    "2bOeDnX4SsgVpqSzX/7eJfHGR05Pp2INRtfUO9MEqXMiwjAIRmnNPaQ1tB83aOIYjKKCQXUAhZDZ3dypsG5MHAkjuATVhd6A4Zobtuo/vbxy",
    "fzw/NqwR7wXrL32ZLTYynXbZChO3+vCHWBNzS3lSPITOFF+2NBnGgTQ5SfsEYCNUjt7Vh/FDZo3Uo61L2z990IUGgDsjksZR5sTJ9gPPWJ4n",
    "ZG9m30r57JhJao7Ys26OgMwSsMcWkvuN5G7sISgmIVl7uWNmPvgKeaoEYm6BE3VwS3VyzdmiMSF2jY+vAJzP1MriSJ8MW3bb7dqrWWycz5tb",
    "P+GalKcioKiix6/kDunL2/mfKTv5U2ZH3FybfnwUaYLW0xgUayNqH9pF4d1v9TEy5ws1oCHm8g2N8jNITQ==",
];

fn sealed_by_version_1() -> (Delivery, KeyRing) {
    let body = STANDARD.decode(ENVELOPE_1.concat()).unwrap();
    let sealed = seal(&sample(b"{\"resource_id\":12}"), &[OURS.public()]).unwrap();
    (Delivery { body: body.into(), ..sealed }, KeyRing::parse(PAIR_1).unwrap())
}

/// Envelopes lie in spools and archives: whatever sealing and opening change together, those would not open any more.
#[test]
fn what_version_1_sealed_opens_with_every_later_program() {
    let (sealed, ring) = sealed_by_version_1();
    assert_eq!(open(&sealed, &ring), Ok(sample(b"{\"resource_id\":12}")));
    assert_eq!(open(&sealed, &OURS), Err(OpenError::NotForUs(2)));
}

#[test]
fn a_number_of_recipients_that_cannot_be_is_told_before_their_keys_are_looked_for() {
    let sealed = seal(&sample(b"{}"), &[OURS.public()]).unwrap();
    for count in [0, 65, 255] {
        let mut body = sealed.body.to_vec();
        body[4] = count;
        body.resize(30_000, 7);
        let changed = Delivery { body: body.into(), ..sealed.clone() };
        assert!(matches!(open(&changed, &OURS), Err(OpenError::Malformed(_))), "{count}");
    }
}

/// The cipher vouches for the text's length and not for what the text says of itself.
#[test]
fn a_text_that_ends_within_its_body_or_hides_something_behind_it_is_refused() {
    let mut text = Vec::new();
    content::write(&sample(b"0123456789"), &mut text);
    assert!(open(&forged(&text), &OURS).is_ok());
    let end = text.iter().rposition(|b| *b != 0).unwrap() + 1;
    assert!(open(&forged(&text[..end]), &OURS).is_ok(), "nothing but padding is missing");
    assert!(matches!(open(&forged(&text[..end - 1]), &OURS), Err(OpenError::Content(_))), "a byte is missing");
    let last = text.len() - 1;
    for at in [end, last] {
        let mut hiding = text.clone();
        hiding[at] = 1;
        assert!(matches!(open(&forged(&hiding), &OURS), Err(OpenError::Content(_))), "behind the body, at {at}");
    }
}
