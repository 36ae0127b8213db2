//! Signatures: what is said to be valid has a MAC that only the secret gives, whatever the headers look like; and what is read of the headers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use tunnel_signature::doctor::{self, Certainty, Context, KnownSecret, MAX_BODIES, MAX_MACS, SecretForm};
use tunnel_signature::{Message, Secret, Verdict, Verifier, base_string, fuzzing};

use crate::request::Request;

/// The secret that the kept inputs are signed with.
const KNOWN: &str = "whsec_fuzz";

/// A secret that no input can have been signed with: it depends on the input.
fn unknown(input: &[u8]) -> Secret {
    let digest = Sha256::new().chain_update(b"nobody knows this").chain_update(input).finalize();
    Secret::new(hex(&digest)).expect("it is not empty")
}

fn known() -> Secret {
    Secret::new(KNOWN).expect("it is not empty")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether a header's value has these bytes in hex or base64.
fn has_bytes(values: &[&[u8]], bytes: &[u8]) -> bool {
    let written = [hex(bytes), STANDARD_NO_PAD.encode(bytes)];
    values.iter().any(|value| {
        let value = String::from_utf8_lossy(value);
        value.to_ascii_lowercase().contains(&written[0]) || value.contains(&written[1])
    })
}

/// No verdict is `valid` without the MAC.
pub(crate) fn verdict(input: &[u8]) {
    let request = Request::of(input);
    let message = request.message();
    let stranger = Verifier::new(&[unknown(input)]).verify(&message);
    assert!(!stranger.is_valid(), "valid with a secret that nobody knows: {stranger:?}");
    assert!(!Verifier::new(&[]).verify(&message).is_valid());
    let verifier = Verifier::new(&[unknown(input), known()]);
    let verdict = verifier.verify(&message);
    assert_eq!(verdict, verifier.verify(&message));
    match &verdict {
        Verdict::Valid(matched) => {
            assert_eq!(matched.secret_index, 1);
            let mut mac = Hmac::<Sha256>::new_from_slice(KNOWN.as_bytes()).expect("any length is a key");
            mac.update(&matched.signed);
            let mac = mac.finalize().into_bytes();
            assert!(
                has_bytes(&request.values("signature"), &mac),
                "valid, and its MAC is not in the request: {matched:?}"
            );
            assert!(digest_is_there(&request, &message), "valid, and its body's digest is not in the request");
            if matched.params.is_none() {
                assert_eq!(base_string(matched.reading, &message).as_ref(), Ok(&matched.signed));
            }
            // Changed anywhere, the body is another.
            let other = [message.body, b" "].concat();
            assert!(!verifier.verify(&Message { body: &other, ..message }).is_valid());
        }
        _ => {
            let _ = verdict.reason().map(ToString::to_string);
        }
    }
}

fn digest_is_there(request: &Request<'_>, message: &Message<'_>) -> bool {
    let values = request.values("content-digest");
    let written =
        [STANDARD_NO_PAD.encode(Sha256::digest(message.body)), STANDARD_NO_PAD.encode(Sha512::digest(message.body))];
    values.iter().any(|value| written.iter().any(|text| String::from_utf8_lossy(value).contains(text)))
}

/// Signature-Input and Signature as fields: what is read, written again, is read the same; no label and no component comes twice.
pub(crate) fn input(field: &[u8]) {
    if let Some(inputs) = fuzzing::inputs(field) {
        assert!((1..=8).contains(&inputs.len()));
        for (at, (label, member, components)) in inputs.iter().enumerate() {
            assert!(!inputs[..at].iter().any(|(other, ..)| other == label), "{label} is there twice");
            let again = fuzzing::inputs(format!("{label}={member}").as_bytes());
            assert_eq!(again, Some(vec![(label.clone(), member.clone(), components.clone())]));
            assert!(member.is_ascii() && !member.bytes().any(|b| b.is_ascii_control()), "{member:?}");
            for component in components {
                assert!(!component.contains([':', '"', '\\', '\n']) || component.is_empty() || member.contains('\\'));
            }
        }
    }
    if let Some(members) = fuzzing::signatures(field) {
        for (at, (label, mac)) in members.iter().enumerate() {
            assert!(!members[..at].iter().any(|(other, _)| other == label), "{label} is there twice");
            if let Some(mac) = mac {
                assert!(has_bytes(&[field], mac), "{label} has a MAC that is not in the field");
                let written = format!("{label}={}", hex(mac));
                assert_eq!(fuzzing::signatures(written.as_bytes()), Some(vec![(label.clone(), Some(*mac))]));
                let written = format!("{label}=:{}:", STANDARD.encode(mac));
                assert_eq!(fuzzing::signatures(written.as_bytes()), Some(vec![(label.clone(), Some(*mac))]));
            }
        }
    }
}

/// A line of Content-Digest, and a body after it: where the digest is said to be right, it is there.
pub(crate) fn digest(input: &[u8]) {
    let (field, body) = input.split_at(input.iter().position(|b| *b == b'\n').unwrap_or(input.len()));
    let body = body.get(1..).unwrap_or_default();
    let headers: &[(&[u8], &[u8])] =
        &[(b"Signature", b"sig1=ab"), (b"Signature-Input", b"sig1=()"), (b"Content-Digest", field)];
    let message = Message { method: "POST", target: "/", headers, body };
    let verdict = Verifier::new(&[]).verify(&message);
    let Verdict::NoSecret { note } = verdict else { panic!("without a secret it is {verdict:?}") };
    let written = [STANDARD_NO_PAD.encode(Sha256::digest(body)), STANDARD_NO_PAD.encode(Sha512::digest(body))];
    let text = String::from_utf8_lossy(field);
    match note {
        None => {
            assert!(written.iter().any(|digest| text.contains(digest)), "{text:?} is said to be right");
            let with = |name: &str| text.to_ascii_lowercase().contains(name);
            assert!(with("sha-256") || with("sha-512"));
            let other = [body, b" "].concat();
            let changed = Verifier::new(&[]).verify(&Message { body: &other, ..message });
            assert!(matches!(changed, Verdict::NoSecret { note: Some(_) }), "{changed:?}");
        }
        // Said plainly it must be right.
        Some(reason) => {
            let plain = [format!("sha-256=:{}=:", written[0]), format!("SHA-256={}=", written[0])];
            assert!(!plain.iter().any(|plain| plain.as_bytes() == field), "{text:?}: {reason}");
        }
    }
}

/// The doctor stays within its bounds, makes nothing valid, and proves nothing with a secret that nobody knows.
pub(crate) fn doctor(input: &[u8]) {
    let request = Request::of(input);
    let message = request.message();
    let (stranger, known) = (unknown(input), known());
    let context = Context {
        prefix: Some("/t/team"),
        other_targets: &["/hooks/healthie", "/other?a=b"],
        matched_before: None,
        received_at: Some(1_763_714_000),
    };
    let strangers = [KnownSecret { label: "stranger", secret: &stranger, expected: true }];
    let diagnosis = doctor::diagnose(&message, &strangers, &context);
    assert_eq!(diagnosis.verdict, Verifier::new(std::slice::from_ref(&stranger)).verify(&message));
    assert!(diagnosis.work.macs <= MAX_MACS && diagnosis.work.bodies <= MAX_BODIES, "{:?}", diagnosis.work);
    for finding in &diagnosis.findings {
        // A key of nothing is one that anybody knows.
        let empty = finding
            .causes
            .iter()
            .any(|cause| matches!(cause, doctor::Cause::SecretForm { form: SecretForm::Empty, .. }));
        assert!(finding.certainty != Certainty::Proven || empty, "proven with a secret that nobody knows: {finding:?}");
        assert!(!finding.causes.is_empty());
    }
    let both = [
        KnownSecret { label: "known", secret: &known, expected: true },
        KnownSecret { label: "stranger", secret: &stranger, expected: false },
    ];
    let diagnosis = doctor::diagnose(&message, &both, &context);
    assert!(diagnosis.work.macs <= MAX_MACS && diagnosis.work.bodies <= MAX_BODIES, "{:?}", diagnosis.work);
    assert_eq!(diagnosis.verdict.is_valid(), Verifier::new(&[known]).verify(&message).is_valid());
    assert_eq!(diagnosis.signed.is_some(), diagnosis.verdict.is_valid());
    for signed in diagnosis.signed.iter().flat_map(|signed| &signed.parts) {
        assert!(!signed.visible().chars().any(char::is_control));
    }
}
