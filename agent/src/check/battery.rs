//! The battery: every case, what it sends, what is right, and what a wrong answer means. Data; nothing is sent here.
//!
//! The order matters: what shows the gravest faults comes first, so that a handler that falls over later has told most already.

use bytes::Bytes;
use tunnel_signature::{Profile, Reading};

use super::bodies;
use super::case::{Case, Change, How, Place, Step, Wants};
use super::report::Mark;
use crate::trigger::forge::{OF_THE_SIGNATURE, Tamper};

/// How many deliveries the burst has.
pub(super) const BURST: usize = 50;

/// Gives each body an id of its own.
pub(super) struct Seeds(pub(super) u64);

impl Seeds {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}

/// All cases for a handler. `also` are readings that it claims besides the place's own.
pub(super) fn battery(place: &Place, also: &[Reading], seed: u64) -> Vec<Case> {
    let mut seeds = Seeds(seed);
    let mut all = vec![one(
        "valid",
        "a valid delivery",
        Wants::Accepted,
        "check that the handler has the secret that this check signs with (--secret), verifies in the profile that was chosen \
         (--profile), and for the path that was signed (--path)",
        Step::plain(bodies::usual(seeds.next())),
    )];
    all.extend(must_refuse(place, &mut seeds));
    all.extend(must_accept(also, &mut seeds));
    all.extend(in_numbers(&mut seeds));
    all
}

fn one(name: &'static str, sends: &'static str, wants: Wants, advice: &'static str, step: Step) -> Case {
    Case { name, sends, wants, advice, how: How::InTurn, steps: vec![step] }
}

/// What is not what Healthie signed.
fn must_refuse(place: &Place, seeds: &mut Seeds) -> Vec<Case> {
    const FAIL: Wants = Wants::Refused(Mark::Fail);
    // The other two profiles' signed strings do not hold Signature-Input: whoever ignores it loses nothing.
    let input = if place.reading.profile() == Profile::Rfc9421 { FAIL } else { Wants::Refused(Mark::Warn) };
    let other = bodies::usual(seeds.next());
    let rows: [(&'static str, &'static str, Wants, &'static str, Change); 15] = [
        (
            "body-changed",
            "a valid delivery with one byte of the body changed",
            FAIL,
            "compute the SHA-256 of the raw body and compare it with Content-Digest",
            Change::Tampered(Tamper::Body),
        ),
        (
            "digest-changed",
            "a valid delivery with the Content-Digest of another body",
            FAIL,
            "compare Content-Digest with the SHA-256 of the raw body",
            Change::Tampered(Tamper::Digest),
        ),
        (
            "body-and-digest-changed",
            "a delivery whose body and digest were changed together; the signature is the old one",
            FAIL,
            "the digest proves nothing by itself: compute the HMAC of the signed string and compare it with Signature",
            Change::SealedAgain,
        ),
        (
            "signature-changed",
            "a valid delivery with one character of the signature changed",
            FAIL,
            "compute the HMAC of the signed string and compare all of it",
            Change::Tampered(Tamper::Signature),
        ),
        (
            "wrong-secret",
            "a delivery signed with another secret",
            FAIL,
            "compute the HMAC with the webhook's own secret and compare it with Signature",
            Change::WrongSecret,
        ),
        (
            "another-s-signature",
            "a delivery with the signature of another delivery",
            FAIL,
            "the signed string must hold this delivery's digest",
            Change::SignatureOf(other),
        ),
        (
            "path-changed",
            "a delivery that was signed for another path",
            FAIL,
            "the signed string must hold the path of the URL registered with Healthie, so that what was meant for one endpoint \
             cannot be sent to another",
            Change::Tampered(Tamper::Path),
        ),
        (
            "query-changed",
            "a valid delivery with a query added",
            FAIL,
            "the signed string must hold the query as it came",
            Change::AddedQuery("admin=1"),
        ),
        (
            "wrong-method",
            "a valid delivery sent as PUT",
            FAIL,
            "take POST only, and put the method as it came into the signed string",
            Change::Method("PUT"),
        ),
        (
            "unsigned",
            "a delivery without any of the signature headers",
            FAIL,
            "refuse with 401 what lacks Content-Digest, Signature-Input or Signature",
            Change::Without(&OF_THE_SIGNATURE),
        ),
        (
            "no-signature",
            "a valid delivery without Signature",
            FAIL,
            "refuse with 401 what has no Signature",
            Change::Without(&["Signature"]),
        ),
        (
            "no-digest",
            "a valid delivery without Content-Digest",
            FAIL,
            "refuse with 401 what has no Content-Digest",
            Change::Without(&["Content-Digest"]),
        ),
        (
            "no-signature-input",
            "a valid delivery without Signature-Input",
            input,
            "refuse with 401 what has no Signature-Input",
            Change::Without(&["Signature-Input"]),
        ),
        (
            "empty-signature",
            "a valid delivery with nothing behind the signature's label",
            FAIL,
            "compare signatures of equal length only, in constant time",
            Change::CutTo(0),
        ),
        (
            "cut-signature",
            "a valid delivery with the first half of the signature",
            FAIL,
            "compare signatures of equal length only, in constant time",
            Change::CutTo(22),
        ),
    ];
    let mut all: Vec<Case> = rows
        .into_iter()
        .map(|(name, sends, wants, advice, change)| {
            let step = Step { label: String::new(), body: bodies::usual(seeds.next()), change };
            one(name, sends, wants, advice, step)
        })
        .collect();
    all.push(one(
        "empty-body",
        "the headers of a valid delivery with an empty body",
        FAIL,
        "compare the digest also where the body is empty",
        Step { label: String::new(), body: bodies::usual(seeds.next()), change: Change::Emptied },
    ));
    all
}

/// What Healthie may send.
fn must_accept(also: &[Reading], seeds: &mut Seeds) -> Vec<Case> {
    let plain = |name, sends, advice, body: Bytes| one(name, sends, Wants::Accepted, advice, Step::plain(body));
    let changed = |name, sends, advice, body: Bytes, change| {
        one(name, sends, Wants::Accepted, advice, Step { label: String::new(), body, change })
    };
    const RAW: &str = "verify over the bytes as they came, before anything parses them";
    const FIELDS: &str = "changed_fields is filled for updates and may be empty or absent: take both";
    let mut all = vec![
        plain(
            "integer-id",
            "resource_id as an integer",
            "the documents disagree about the type of ids: take strings and integers",
            bodies::integer_id(seeds.next()),
        ),
        plain("changed-fields-empty", "an update with an empty changed_fields", FIELDS, {
            bodies::empty_changed_fields(seeds.next())
        }),
        plain("changed-fields-absent", "an update without changed_fields", FIELDS, {
            bodies::no_changed_fields(seeds.next())
        }),
        plain(
            "unknown-event",
            "an event that is in no list",
            "new events appear over time: answer 2xx and do nothing",
            bodies::of_event(bodies::UNKNOWN, seeds.next()),
        ),
        plain("spaced-json", "JSON with blanks between its parts", RAW, bodies::spaced(seeds.next())),
        plain("escaped-json", "JSON with escapes that a parser resolves", RAW, bodies::escaped(seeds.next())),
        plain(
            "non-ascii",
            "text beyond ASCII, so that bytes, characters and UTF-16 units are three numbers",
            "count the body's bytes and verify over the bytes as they came",
            bodies::beyond_ascii(seeds.next()),
        ),
        changed(
            "query",
            "a delivery to the URL with a query",
            "put the query as it came into the signed string; do not decode or sort it",
            bodies::usual(seeds.next()),
            Change::Query("tenant=a%20b&x=1"),
        ),
        changed(
            "lower-case-headers",
            "header names in lower case, as HTTP/2 and many proxies have them",
            "header names have no letter case: look them up without regard to it",
            bodies::usual(seeds.next()),
            Change::LowerCaseNames,
        ),
        plain(
            "large-body",
            "a body of 200 KiB",
            "raise the limit of the body parser; many stop at 100 kB by default",
            bodies::large(seeds.next()),
        ),
    ];
    all.push(Case {
        how: How::InPieces,
        ..plain(
            "slow-client",
            "a delivery whose body comes in pieces",
            "read on until Content-Length bytes have come",
            bodies::usual(seeds.next()),
        )
    });
    if !also.is_empty() {
        let step = |reading: &Reading, seed| Step {
            label: reading.to_string(),
            body: bodies::usual(seed),
            change: Change::As(*reading),
        };
        all.push(Case {
            name: "other-profiles",
            sends: "a valid delivery in each of the other profiles that were named",
            wants: Wants::Accepted,
            advice: "the handler does not verify in this profile",
            how: How::InTurn,
            steps: also.iter().map(|reading| step(reading, seeds.next())).collect(),
        });
    }
    let mut known = std::collections::HashSet::new();
    let types = tunnel_catalogue::all().iter().filter(|e| known.insert(e.resource_type.name()));
    all.push(Case {
        name: "resource-types",
        sends: "an event of each of the documented resource types",
        wants: Wants::Accepted,
        advice: "answer 2xx to events that the handler has no use for",
        how: How::InTurn,
        steps: types
            .map(|e| Step {
                label: e.name.to_owned(),
                body: bodies::of_event(e.name, seeds.next()),
                change: Change::Nothing,
            })
            .collect(),
    });
    all
}

/// What only several deliveries show.
fn in_numbers(seeds: &mut Seeds) -> Vec<Case> {
    let numbered = |n: usize, body: Bytes| Step { label: format!("{}", n + 1), body, change: Change::Nothing };
    let again = bodies::usual(seeds.next());
    let life = seeds.next();
    vec![
        Case {
            name: "repeats",
            sends: "one delivery three times",
            wants: Wants::Accepted,
            advice: "Healthie delivers at least once: answer 2xx to what was handled before, and do nothing",
            how: How::InTurn,
            steps: (0..3).map(|n| numbered(n, again.clone())).collect(),
        },
        Case {
            name: "out-of-order",
            sends: "deleted, updated and created of one resource, in this order",
            wants: Wants::Accepted,
            advice: "order is not promised: take what comes and read the record's present state over the API",
            how: How::InTurn,
            steps: bodies::out_of_order(life)
                .into_iter()
                .map(|(label, body)| Step { label: label.into(), body, change: Change::Nothing })
                .collect(),
        },
        Case {
            name: "burst",
            sends: "50 deliveries at once",
            wants: Wants::Accepted,
            advice: "answer first and work afterwards, and let the server take more connections at once (a longer listen queue, more workers)",
            how: How::AtOnce,
            steps: (0..BURST).map(|n| numbered(n, bodies::usual(seeds.next()))).collect(),
        },
        one(
            "valid-at-the-end",
            "a valid delivery after all of this",
            Wants::Accepted,
            "something that came before has put the handler out of order",
            Step::plain(bodies::usual(seeds.next())),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tunnel_signature::{Message, Secret, Verifier};

    fn place(reading: Reading) -> Place {
        Place {
            reading,
            secret: Secret::new("whsec_x").unwrap(),
            host: "localhost:1".into(),
            signed: "/api/hooks/healthie".into(),
            sent: "/hooks/healthie".into(),
        }
    }

    /// Whether a verifier that knows the external path accepts the request, as it reached the handler.
    fn accepted(place: &Place, step: &Step) -> bool {
        let out = step.request(place).unwrap();
        let lines: Vec<(&[u8], &[u8])> = out.headers.iter().map(|l| (&*l.name, &*l.value)).collect();
        let target = out.target.replacen(&place.sent, &place.signed, 1);
        let message = Message { method: &out.method, target: &target, headers: &lines, body: &out.body };
        Verifier::new(std::slice::from_ref(&place.secret)).verify(&message).is_valid()
    }

    #[test]
    fn names_are_unique_and_requests_are_what_the_case_says() {
        for reading in Reading::all() {
            let place = place(reading);
            let all = battery(&place, &[Reading::plain(Profile::Scribe)], 7);
            let names: BTreeSet<_> = all.iter().map(|c| c.name).collect();
            assert_eq!(names.len(), all.len());
            for case in &all {
                assert!(!case.steps.is_empty() && !case.advice.is_empty() && !case.sends.is_empty());
                for step in &case.steps {
                    let right = case.wants == Wants::Accepted;
                    assert_eq!(accepted(&place, step), right, "{reading} {} {}", case.name, step.label);
                }
            }
            assert_eq!(all.iter().find(|c| c.name == "resource-types").unwrap().steps.len(), 62);
        }
    }

    #[test]
    fn another_seed_gives_other_ids() {
        let place = place(Reading::plain(Profile::Guide));
        let (a, b) = (battery(&place, &[], 1), battery(&place, &[], 1000));
        assert!(a.iter().zip(&b).all(|(a, b)| a.steps[0].body != b.steps[0].body));
    }
}
