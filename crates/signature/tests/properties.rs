//! What holds for any request: what is signed verifies, what was changed does not, and nothing panics.

use proptest::prelude::*;
use tunnel_signature::{
    Error, Message, Profile, Reading, Reason, Request, Secret, SignedHeaders, Twist, Variant, Verdict, Verifier, sign,
};

/// What is signed, and with what.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    reading: Reading,
    secret: String,
    method: String,
    target: String,
    content_type: String,
    body: Vec<u8>,
}

impl Case {
    fn sign(&self) -> Result<SignedHeaders, Error> {
        let request =
            Request { method: &self.method, target: &self.target, content_type: &self.content_type, body: &self.body };
        sign(self.reading, &Secret::new(&*self.secret).unwrap(), &request)
    }

    /// Verifies these headers on this case's method, target, body and secret.
    fn verify(&self, headers: &[(&str, &str)]) -> Verdict {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let message = Message { method: &self.method, target: &self.target, headers: &headers, body: &self.body };
        Verifier::new(&[Secret::new(&*self.secret).unwrap()]).verify(&message)
    }
}

fn readings() -> impl Strategy<Value = Reading> {
    prop::sample::select(Reading::all().collect::<Vec<_>>())
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        any::<String>().prop_map(String::into_bytes),
        "[ -~]{0,60}".prop_map(String::into_bytes)
    ]
}

fn targets() -> impl Strategy<Value = String> {
    "/[a-z/%.]{0,12}(\\?[a-z=&?%]{0,12})?"
}

fn cases() -> impl Strategy<Value = Case> {
    (readings(), "[!-~]{1,80}", "[A-Z]{1,7}", targets(), "[a-z]{1,9}/[a-z]{1,9}(; charset=[a-z0-9-]{1,5})?", bodies())
        .prop_map(|(reading, secret, method, target, content_type, body)| Case {
            reading,
            secret,
            method,
            target,
            content_type,
            body,
        })
        .prop_filter("UTF-16 units are counted in text only", |case| {
            !case.reading.variant().has(Twist::Utf16Length) || std::str::from_utf8(&case.body).is_ok()
        })
        .prop_filter("see base.rs: such a query is read in one way only", |case| {
            !case.reading.variant().has(Twist::SingleQuery) || !case.target.contains("??")
        })
}

/// `/p?` and `/p` have the same (empty) query in all documents: no reading but `@request-target` tells them apart.
fn as_signed(target: &str) -> &str {
    match target.split_once('?') {
        Some((path, "")) => path,
        _ => target,
    }
}

proptest! {
    #[test]
    fn what_is_signed_is_valid(case in cases()) {
        let headers = case.sign().unwrap();
        let verdict = case.verify(&headers.lines());
        let matched = verdict.matched().unwrap_or_else(|| panic!("{case:?}: {verdict:?}"));
        prop_assert_eq!(matched.reading.profile(), case.reading.profile());
        // A deviation that changes nothing in this request is not claimed, and none is invented.
        for twist in matched.reading.variant().twists() {
            prop_assert!(case.reading.variant().has(twist), "{:?} for {:?}", matched.reading, case);
        }
        let lines = headers.lines().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let message = Message { method: &case.method, target: &case.target, headers: &lines, body: &case.body };
        prop_assert_eq!(&matched.signed, &tunnel_signature::base_string(case.reading, &message).unwrap());
    }

    #[test]
    fn a_change_of_the_body_is_a_digest_mismatch(case in cases(), at: prop::sample::Index, bit in 0..8u8) {
        let headers = case.sign().unwrap();
        let mut changed = case.clone();
        if changed.body.is_empty() {
            changed.body.push(bit);
        } else {
            *at.get_mut(&mut changed.body) ^= 1 << bit;
        }
        let verdict = changed.verify(&headers.lines());
        prop_assert_eq!(verdict.reason().map(Reason::code), Some("digest-mismatch"), "{:?}", verdict);
    }

    #[test]
    fn body_and_digest_changed_together_are_a_signature_mismatch(case in cases(), body in bodies()) {
        prop_assume!(body != case.body);
        let good = case.sign().unwrap();
        let changed = Case { body, ..case };
        let Ok(other) = changed.sign() else { return Ok(()) };
        let verdict = changed.verify(&SignedHeaders { signature: good.signature, ..other }.lines());
        prop_assert_eq!(verdict.reason().map(Reason::code), Some("signature-mismatch"), "{:?}", verdict);
    }

    #[test]
    fn any_other_target_method_type_or_secret_is_a_signature_mismatch(case in cases(), other in cases(), what in 0..4u8) {
        let headers = case.sign().unwrap();
        let mut changed = case.clone();
        let mut sent = headers.clone();
        match what {
            0 if as_signed(&case.target) != as_signed(&other.target) => changed.target = other.target,
            1 => changed.method = other.method,
            2 => sent.content_type = other.content_type,
            _ => changed.secret = other.secret,
        }
        prop_assume!(changed != case || sent != headers);
        let verdict = changed.verify(&sent.lines());
        prop_assert_eq!(verdict.reason().map(Reason::code), Some("signature-mismatch"), "{:?}", verdict);
    }

    #[test]
    fn no_other_query_passes(case in cases(), at: prop::sample::Index) {
        // One `?` more or less at any place is the change that the two readings of the query could hide.
        let headers = case.sign().unwrap();
        let mut changed = case.clone();
        changed.target.insert(1 + at.index(case.target.len()), '?');
        prop_assume!(as_signed(&changed.target) != as_signed(&case.target));
        prop_assert!(!changed.verify(&headers.lines()).is_valid(), "{:?} as {:?}", case, changed.target);
    }

    #[test]
    fn a_signature_made_again_for_another_target_is_valid_there_only(case in cases(), target in targets()) {
        prop_assume!(as_signed(&target) != as_signed(&case.target) && !target.contains("??"));
        let headers = case.sign().unwrap();
        let verdict = case.verify(&headers.lines());
        let lines = headers.lines().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let message = Message { method: &case.method, target: &case.target, headers: &lines, body: &case.body };
        let verifier = Verifier::new(&[Secret::new(&*case.secret).unwrap()]);
        let new = verifier.resign(&message, verdict.matched().unwrap(), &target).unwrap();
        let mut lines = headers.lines();
        lines[new.line].1 = &new.value;
        prop_assert!(!case.verify(&lines).is_valid());
        let moved = Case { target, ..case };
        let verdict = moved.verify(&lines);
        prop_assert!(verdict.is_valid(), "{:?}", verdict);
    }

    #[test]
    fn no_header_bytes_make_it_panic(
        values in prop::collection::vec(prop_oneof![any::<Vec<u8>>(), "[a-z0-9=:;,()\"@ -]{0,60}".prop_map(String::into_bytes)], 5),
        names in prop::collection::vec(0..6usize, 0..8),
        method: String,
        target: String,
        body: Vec<u8>,
    ) {
        const NAMES: [&[u8]; 6] =
            [b"signature", b"Signature-Input", b"content-digest", b"Content-Type", b"content-length", b"host"];
        let headers: Vec<_> =
            names.iter().enumerate().map(|(at, name)| (NAMES[*name], values[at % values.len()].as_slice())).collect();
        let message = Message { method: &method, target: &target, headers: &headers, body: &body };
        for secrets in [vec![], vec![Secret::new("whsec_x").unwrap()]] {
            let verdict = Verifier::new(&secrets).verify(&message);
            prop_assert!(!verdict.is_valid());
            let _ = verdict.reason().map(ToString::to_string);
        }
        for reading in Reading::all() {
            let _ = tunnel_signature::base_string(reading, &message);
        }
    }
}

#[test]
fn what_cannot_be_signed_is_an_error() {
    let secret = Secret::new("whsec_x").unwrap();
    let request = Request { method: "POST", target: "/p", content_type: "a/b", body: b"\xff" };
    for reading in Reading::all() {
        for target in ["", "p", "/a b", "/a\r\nX: y"] {
            assert!(matches!(sign(reading, &secret, &Request { target, ..request }), Err(Error::CannotSign(_))));
        }
        let broken = Request { content_type: "a/b\r\nX: y", ..request };
        assert!(matches!(sign(reading, &secret, &broken), Err(Error::CannotSign(_))), "{reading:?}");
    }
    let utf16 = Reading::new(Profile::Guide, Variant::PLAIN.with(Twist::Utf16Length)).unwrap();
    assert!(matches!(sign(utf16, &secret, &request), Err(Error::CannotSign(_))));
}

#[test]
fn duplicated_lines_are_never_valid_in_the_profiles_that_know_one_line() {
    for reading in [Profile::Guide, Profile::Scribe].map(Reading::plain) {
        let case = Case {
            reading,
            secret: "whsec_x".into(),
            method: "POST".into(),
            target: "/p".into(),
            content_type: "application/json".into(),
            body: b"{}".to_vec(),
        };
        let headers = case.sign().unwrap();
        for at in 0..5 {
            let mut lines = headers.lines().to_vec();
            lines.push(lines[at]);
            let verdict = case.verify(&lines);
            // A second Content-Length that says the same is caught in `scribe` only, which signs the header.
            let harmless = lines[at].0 == "Content-Length" && reading.profile() == Profile::Guide;
            assert_eq!(verdict.is_valid(), harmless, "{reading:?} {:?}: {verdict:?}", lines[at]);
        }
    }
}

#[test]
fn without_a_secret_a_wrong_digest_is_noted() {
    let headers: &[(&[u8], &[u8])] = &[
        (b"Signature", b"sig1=ab"),
        (b"Signature-Input", b"sig1=()"),
        (b"Content-Digest", b"SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="),
    ];
    let message = Message { method: "POST", target: "/", headers, body: b"{}" };
    let verdict = Verifier::new(&[]).verify(&message);
    assert!(matches!(&verdict, Verdict::NoSecret { note: Some(Reason::DigestMismatch { .. }) }), "{verdict:?}");
}

#[test]
fn only_the_body_changed_is_told_from_everything_changed() {
    let case = Case {
        reading: Reading::plain(Profile::Scribe),
        secret: "whsec_x".into(),
        method: "POST".into(),
        target: "/p".into(),
        content_type: "application/json".into(),
        body: b"{ }".to_vec(),
    };
    let headers = case.sign().unwrap();
    let changed = Case { body: b"{}".to_vec(), ..case.clone() };
    let Verdict::Invalid(Reason::DigestMismatch { signature_holds, .. }) = changed.verify(&headers.lines()) else {
        panic!("not a digest mismatch");
    };
    assert_eq!(signature_holds, Some(case.reading));
}
