//! The doctor: a delivery broken in exactly one way is told to be broken in that way, in every reading; one broken otherwise gets no
//! cause; and whatever it looks at, it ends within its bound and makes nothing valid.

use tunnel_signature::doctor::{Cause, Certainty, Context, DigestState, KnownSecret, Note, diagnose};
use tunnel_signature::{Profile, Reading, Secret, Verdict};

mod bounds;
mod breaks;
mod sent;

use sent::{BODY, SECRET, Sent, TARGET, digest_of, python};

#[test]
fn two_breaks_are_found_in_a_variant_and_sooner_in_one_that_matched_before() {
    let reading: Reading = "scribe:two-backslashes-n".parse().unwrap();
    let sent = Sent::new(reading).at("/hooks/in/?a=b&c=%20d").set("Content-Type", "application/json;charset=utf-8");
    let secret = Secret::new(SECRET).unwrap();
    let known = [KnownSecret { label: "staging", secret: &secret, expected: true }];
    let [unknown, expected] = [None, Some(reading)].map(|matched_before| {
        let context = Context { matched_before, ..Context::default() };
        let diagnosis = sent.with(|message| diagnose(message, &known, &context));
        assert_eq!(diagnosis.findings[0].causes.len(), 2);
        assert_eq!(diagnosis.findings[0].reading, Some(reading));
        diagnosis.work.macs
    });
    assert!(expected < unknown, "{expected} and {unknown} tries");
}

#[test]
fn a_valid_one_shows_what_was_signed() {
    for reading in Reading::all() {
        let sent = Sent::new(reading);
        let diagnosis = sent.examined();
        let signed = diagnosis.signed.unwrap();
        assert!(diagnosis.verdict.is_valid() && diagnosis.findings.is_empty() && diagnosis.work.macs == 0);
        assert_eq!(signed.bytes, sent.string().into_bytes());
        let names: Vec<_> = signed.parts.iter().map(|part| &*part.component).collect();
        let six = ["@method", "@path", "@query", "content-digest", "content-type", "content-length"];
        assert_eq!(names[..6], six, "{reading:?}");
        assert_eq!(names.len(), if reading.profile() == Profile::Rfc9421 { 7 } else { 6 });
        assert_eq!(signed.secret, "staging");
    }
    let guide = Sent::signed(Reading::plain(Profile::Guide), "/p", "a/b; c", b"{}", SECRET);
    let signed = guide.examined().signed.unwrap();
    let digest = digest_of(&guide);
    assert_eq!(signed.visible(), format!("post·/p··{digest}·a/b;·c·2"));
    assert_eq!(signed.parts[4].visible(), "a/b;·c");
}

#[test]
fn another_reading_than_before_and_passed_times_are_pointed_out() {
    let now = Reading::plain(Profile::Rfc9421);
    let before = Reading::plain(Profile::Guide);
    let sent = Sent::new(now);
    let input = format!("{};created=1000;expires=1300", sent.header("Signature-Input"));
    let sent = sent.set("Signature-Input", &input).edited(str::to_owned);
    let secret = Secret::new(SECRET).unwrap();
    let known = [KnownSecret { label: "staging", secret: &secret, expected: true }];
    for (received_at, note) in [(1310, Some(Note::Expired(10))), (990, Some(Note::CreatedAhead(10))), (1000, None)] {
        let context = Context { matched_before: Some(before), received_at: Some(received_at), ..Context::default() };
        let diagnosis = sent.with(|message| diagnose(message, &known, &context));
        assert!(diagnosis.verdict.is_valid(), "no verdict depends on it");
        let mut notes = vec![Note::OtherReading { before, now }];
        notes.extend(note.clone());
        assert_eq!(diagnosis.notes, notes);
        let same = Context { matched_before: Some(now), ..context };
        let notes: Vec<_> = note.into_iter().collect();
        assert_eq!(sent.with(|message| diagnose(message, &known, &same)).notes, notes);
    }
}

#[test]
fn the_first_difference_is_shown() {
    let sent = Sent::new(Reading::plain(Profile::Guide)).at("/hooks/in/?a=b&c=%20d");
    let difference = sent.examined().findings[0].difference.clone().unwrap();
    assert_eq!((difference.at, &*difference.before), (14, "post·/hooks/in"));
    assert!(difference.arrived.starts_with("/·a=b") && difference.signed.starts_with("·a=b"), "{difference:?}");
    let sent = Sent::new(Reading::plain(Profile::Scribe)).carrying(&format!("{BODY}\n"));
    let difference = sent.examined().findings[0].difference.clone().unwrap();
    assert_eq!((difference.at, &*difference.arrived, &*difference.signed), (BODY.len(), "\\n", ""));
}

#[test]
fn a_wrong_digest_a_wrong_signature_and_an_unsigned_one_are_told_apart() {
    let good = Sent::new(Reading::plain(Profile::Guide));
    assert_eq!(good.examined().digest, DigestState::Right);
    let stranger = good.clone().over("post / and so on", b"whsec_unknown").examined();
    assert_eq!((stranger.digest, stranger.notes), (DigestState::Right, vec![Note::Unexplained]));
    // The body changed and the signature by a stranger: only the first is known.
    let both = good.clone().over("post / and so on", b"whsec_unknown").carrying("{}").examined();
    assert_eq!((both.digest, both.findings[0].certainty), (DigestState::Wrong, Certainty::Observed));
    let again = good.clone().over("post / and so on", b"whsec_unknown").carrying(&python()).examined();
    assert_eq!((again.digest, again.findings[0].certainty), (DigestState::Wrong, Certainty::DigestOnly));
    let unsigned = good.without("Signature").without("Signature-Input").without("Content-Digest").examined();
    assert!(matches!(&unsigned.verdict, Verdict::Unsigned));
    assert_eq!(unsigned.digest, DigestState::Missing);
    assert!(
        unsigned.sentence().contains("\"Signature\", \"Signature-Input\", \"Content-Digest\""),
        "{}",
        unsigned.sentence()
    );
}

#[test]
fn a_body_too_long_to_be_written_again_is_said_to_be() {
    let body = format!("[{}1]", "1, ".repeat(400_000));
    let sent = Sent::signed(Reading::plain(Profile::Guide), "/", "a/b", body.replace(' ', "").as_bytes(), SECRET);
    let diagnosis = sent.carrying(&body).examined();
    assert_eq!(diagnosis.cause(), Some(&Cause::BodyChanged));
    assert_eq!(diagnosis.notes[0], Note::BodyTooLong(body.len()));
}

#[test]
fn what_does_not_matter_in_a_profile_is_not_blamed() {
    let slash = "/hooks/in/?a=b&c=%20d";
    let codes = |sent: Sent| -> Vec<_> { sent.examined().findings[0].causes.iter().map(Cause::code).collect() };
    // The guide's string has no Content-Length header, whatever Signature-Input names.
    let guide = Sent::new(Reading::plain(Profile::Guide)).at(slash);
    assert_eq!(codes(guide.clone().without("Content-Length")), ["trailing-slash"]);
    assert_eq!(codes(guide.without("Content-Type"))[0], "headers-missing");
    // Of Signature-Input it uses the label only.
    let base64 = Sent::new("guide:base64".parse().unwrap()).at(slash);
    assert_eq!(codes(base64.clone().set("Signature-Input", "sig1=(\"@status\")")), ["trailing-slash"]);
    assert_eq!(codes(base64.set("Signature-Input", "sig1=();alg=\"none\"")), ["trailing-slash"]);
    let rfc9421 = Sent::new(Reading::plain(Profile::Rfc9421));
    assert_eq!(codes(rfc9421.set("Signature-Input", "sig1=(\"@status\")")), ["unknown-component"]);
    assert!(TARGET.contains('?'));
}
