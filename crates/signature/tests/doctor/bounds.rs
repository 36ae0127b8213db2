//! What the doctor does not do: guess, go on for ever, tell a secret.

use proptest::prelude::*;
use tunnel_signature::doctor::{Cause, Context, KnownSecret, MAX_BODIES, MAX_MACS, Note, diagnose};
use tunnel_signature::{Message, Profile, Reading, Secret};

use crate::sent::{OTHER, SECRET, Sent};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_no_small_change_explains_gets_no_cause(
        reading in prop::sample::select(Reading::all().collect::<Vec<_>>()),
        what in 0..4,
        noise in "[a-z]{3,9}",
        secret in "whsec_[a-z]{8}",
    ) {
        let good = Sent::new(reading);
        let sent = match what {
            0 => { let string = good.string(); good.over(&string, secret.as_bytes()) }
            1 => good.edited(|string| string.replacen("in", &noise, 1)),
            2 => good.edited(|string| format!("{string}{noise}")),
            _ => good.at(&format!("/{noise}?{secret}")),
        };
        let diagnosis = sent.examined();
        prop_assert!(!diagnosis.verdict.is_valid());
        prop_assert!(diagnosis.findings.is_empty(), "{:?}", diagnosis.findings);
        prop_assert_eq!(diagnosis.notes, vec![Note::Unexplained]);
    }

    #[test]
    fn whatever_comes_it_ends_within_its_bound_and_tells_no_secret(
        values in prop::collection::vec(prop_oneof![any::<Vec<u8>>(), "[a-z0-9=:;,()\"@ -]{0,60}".prop_map(String::into_bytes)], 6),
        names in prop::collection::vec(0..7usize, 0..9),
        method in "[A-Za-z]{0,4}|\\PC{0,4}",
        target in "/?[a-z/?%0-9. ]{0,40}|\\PC{0,9}",
        others in prop::collection::vec("/?[a-z/?]{0,6}", 0..40),
        prefix in prop::option::of("\\PC{0,5}"),
        body in prop_oneof![any::<Vec<u8>>(), "[\\[\\]{}:,\"\\\\a0ue/ä<\n -]{0,40}".prop_map(String::into_bytes)],
        expected: bool,
        labels in "\\PC{0,4}",
    ) {
        const NAMES: [&str; 7] =
            ["signature", "Signature-Input", "content-digest", "Content-Type", "content-length", "host", "Signature"];
        let headers: Vec<_> =
            names.iter().enumerate().map(|(at, name)| (NAMES[*name].as_bytes(), values[at % values.len()].as_slice())).collect();
        let message = Message { method: &method, target: &target, headers: &headers, body: &body };
        let (own, other) = (Secret::new(SECRET).unwrap(), Secret::new(OTHER).unwrap());
        let known = [
            KnownSecret { label: &labels, secret: &own, expected },
            KnownSecret { label: "production", secret: &other, expected: false },
        ];
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        let context =
            Context { prefix: prefix.as_deref(), other_targets: &others, matched_before: None, received_at: Some(0) };
        let diagnosis = diagnose(&message, &known, &context);
        prop_assert!(!diagnosis.verdict.is_valid() && diagnosis.signed.is_none());
        prop_assert!(diagnosis.work.macs <= MAX_MACS && diagnosis.work.bodies <= MAX_BODIES);
        let notes: String = diagnosis.notes.iter().map(ToString::to_string).collect();
        for text in [format!("{diagnosis:?}"), diagnosis.sentence(), notes] {
            prop_assert!(!text.contains(SECRET) && !text.contains(&SECRET[6..]) && !text.contains(OTHER));
            prop_assert!(!text.contains(char::is_control), "{:?}", text);
        }
    }

    #[test]
    fn a_changed_part_is_found_wherever_the_request_came_from(
        reading in prop::sample::select(Reading::all().collect::<Vec<_>>()),
        path in "(/[a-z]{1,5}){1,4}",
        query in "[a-z]=[a-z0-9]{1,5}",
        body in "[a-z]{0,20}",
        secret in "[!-~]{1,40}",
    ) {
        let sent = Sent::signed(reading, &format!("{path}?{query}"), "a/b", body.as_bytes(), &secret);
        let sent = sent.at(&format!("{path}/?{query}"));
        let secret = Secret::new(secret).unwrap();
        let known = [KnownSecret { label: "x", secret: &secret, expected: true }];
        let diagnosis = sent.with(|message| diagnose(message, &known, &Context::default()));
        prop_assert_eq!(diagnosis.cause().map(Cause::code), Some("trailing-slash"), "{:?}", diagnosis);
    }
}

#[test]
fn the_most_that_can_be_asked_ends_at_the_bound() {
    let targets: Vec<_> = (0..40).map(|n| format!("/a{n}/b/c/d/e/f/g%20h?q={n}")).collect();
    let others: Vec<_> = targets.iter().map(String::as_str).collect();
    let secrets: Vec<_> =
        (0..9).map(|n| Secret::new(format!("whsec_{n}c2VjcmV0LW9mLXRoZS10dW5uZWw=")).unwrap()).collect();
    let known: Vec<_> = secrets.iter().map(|secret| KnownSecret { label: "x", secret, expected: true }).collect();
    let sent = Sent::new(Reading::plain(Profile::Guide)).at("/a/b/c/d/e/f/g%20h?q").over("x", b"y");
    let context = Context { prefix: Some("/t/x"), other_targets: &others, ..Context::default() };
    let diagnosis = sent.with(|message| diagnose(message, &known, &context));
    assert_eq!(diagnosis.work.macs, MAX_MACS);
    assert_eq!(diagnosis.notes, [Note::Unexplained, Note::SearchCut]);
}
