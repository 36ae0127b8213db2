//! Every way to break a delivery, by name, and two at once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tunnel_signature::doctor::{Cause, Certainty};
use tunnel_signature::{Profile, Reading, Secret, Verifier, sha256};

use crate::sent::{BODY, OTHER, SECRET, Sent, TARGET, counts, digest_of, hex, last, mac_of, php, python};

type Break = fn(Sent) -> Sent;

/// The value of one part of the signed string replaced, in all profiles.
fn part(string: &str, name: &str, from: &str, to: &str) -> String {
    if string.starts_with('"') {
        string.replacen(&format!("\"{name}\": {from}"), &format!("\"{name}\": {to}"), 1)
    } else {
        string.replacen(&format!(" {from}"), &format!(" {to}"), 1)
    }
}

/// The cause's code, a word of its sentence, and how to break a good delivery so.
#[rustfmt::skip]
fn breaks() -> Vec<(&'static str, &'static str, Break)> {
    vec![
        ("path-prefix", "without the relay's", |s| s.at(&format!("/t/dev{TARGET}"))),
        ("path-prefix", "with the relay's", |s| Sent::signed(s.reading, &format!("/t/dev{TARGET}"), "application/json", BODY.as_bytes(), SECRET).at(TARGET)),
        ("trailing-slash", "arrived without one", |s| Sent::signed(s.reading, "/hooks/in/?a=b&c=%20d", "application/json", BODY.as_bytes(), SECRET).at(TARGET)),
        ("trailing-slash", "without the slash", |s| s.at("/hooks/in/?a=b&c=%20d")),
        ("other-target", "another delivery", |s| Sent::signed(s.reading, "/elsewhere?x=1", "application/json", BODY.as_bytes(), SECRET).at(TARGET)),
        ("leading-segments", "mount point", |s| Sent::signed(s.reading, "/in?a=b&c=%20d", "application/json", BODY.as_bytes(), SECRET).at(TARGET)),
        ("absolute-url", "whole URL", |s| s.edited(|t| part(t, "@path", "/hooks", "https://Hooks.Example.com/hooks"))),
        ("absolute-url", "whole URL", |s| { let target = format!("https://hooks.example.com{TARGET}"); s.at(&target) }),
        ("query", "was not signed", |s| Sent::signed(s.reading, "/hooks/in", "application/json", BODY.as_bytes(), SECRET).at(TARGET)),
        ("query", "one ?", |s| s.edited(|t| t.replacen(" a=b", " ?a=b", 1))),
        ("query", "without a ?", |s| s.edited(|t| t.replacen(" ??a=b", " a=b", 1).replacen(" ?a=b", " a=b", 1))),
        ("query", "two ?", |s| s.edited(|t| t.replacen(" ?a=b", " ??a=b", 1))),
        ("query", "left out", |s| Sent::signed(s.reading, "/hooks/in", "application/json", BODY.as_bytes(), SECRET).edited(|t| t.replacen("  ", " ", 1).replacen("\"@query\": ?\\\\n", "", 1).replacen("\"@query\": ?\\n", "", 1).replacen("\"@query\": ?\n", "", 1))),
        ("query", "part of the path", |s| { let guide = s.reading.profile() == Profile::Guide; s.edited(|t| if guide { t.replacen("/hooks/in a=b&c=%20d", "/hooks/in?a=b&c=%20d", 1) } else { t.replacen(": /hooks/in", &format!(": {TARGET}"), 1).replacen("?a=b&c=%20d", "\0", 1).replacen("??a=b&c=%20d", "", 1).replacen("?a=b&c=%20d", "", 1).replacen('\0', "?a=b&c=%20d", 1) }) }),
        ("percent-encoding", "decoded", |s| s.edited(|t| t.replacen("%20", " ", 1))),
        ("percent-encoding", "that it arrived without", |s| Sent::signed(s.reading, "/hooks/%5B1%5D", "application/json", BODY.as_bytes(), SECRET).at("/hooks/[1]")),
        ("method-case", "letter case", |s| s.edited(|t| t.replacen("post", "P0ST", 1).replacen("POST", "post", 1).replacen("P0ST", "POST", 1))),
        ("other-method", "GET", |s| { let guide = s.reading.profile() == Profile::Guide; s.edited(|t| t.replacen(if guide { "post" } else { "POST" }, if guide { "get" } else { "GET" }, 1)) }),
        ("digest-part", "without its =", |s| { let d = digest_of(&s); s.edited(|t| t.replacen(&d, d.trim_end_matches('='), 1).replacen(&format!("sha-256=:{}:", d.trim_end_matches('=')), d.trim_end_matches('='), 1)) }),
        ("digest-part", "in hex", |s| { let d = digest_of(&s); let h = hex(&sha256(&s.body)); s.edited(|t| t.replacen(&d, &h, 1).replacen(d.trim_end_matches('='), &h, 1)) }),
        ("digest-part", "whole header", |s| { let d = digest_of(&s); s.edited(|t| t.replacen(&format!("sha-256=:{d}:"), &format!("SHA-256={d}"), 1).replacen(&format!(" {d}"), &format!(" SHA-256={d}"), 1).replacen(&format!(" {} ", d.trim_end_matches('=')), &format!(" SHA-256={d} "), 1)) }),
        ("length-part", "characters", |s| { let (b, u, c) = counts(&s.body); s.edited(|t| last(t, &[&b, &u], &c)) }),
        ("length-part", "UTF-16", |s| { let (b, u, _) = counts(&s.body); s.edited(|t| last(t, &[&b, &u], &u)) }),
        ("length-part", "no content length", |s| { let (b, u, _) = counts(&s.body); s.edited(|t| last(t, &[&b, &u], "")) }),
        ("length-part", "JSON.stringify", |s| { let spaced = BODY.replace("\":\"", "\": \""); let sent = Sent::signed(s.reading, TARGET, "application/json", spaced.as_bytes(), SECRET); let (_, u, _) = counts(BODY.as_bytes()); let (b, v, _) = counts(spaced.as_bytes()); sent.edited(|t| last(t, &[&b, &v], &u)) }),
        ("content-type", "without the parameters", |s| s.set("Content-Type", "application/json; charset=utf-8")),
        ("content-type", "drops the charset", |s| Sent::signed(s.reading, TARGET, "application/json; charset=utf-8", BODY.as_bytes(), SECRET).set("Content-Type", "application/json")),
        ("content-type", "lower case", |s| s.set("Content-Type", "Application/JSON")),
        ("content-type", "no content type", |s| s.edited(|t| t.replacen("application/json", "", 1))),
        ("trailing-newline", "newline", |s| s.edited(|t| format!("{t}\n"))),
        ("parameters-line-missing", "@signature-params", |s| s.set("Signature-Input", "sig1=(\"@authority\" \"content-digest\")").edited(|t| t.split("\n\"@signature-params").next().unwrap().to_owned())),
        ("parameters-dropped", "created", |s| { let input = format!("{};created=1", s.header("Signature-Input")); s.set("Signature-Input", &input).edited(|t| t.replace(";created=1", "")) }),
        ("host", "hooks.example.com", |s| s.set("Signature-Input", "sig1=(\"@authority\" \"@path\" \"content-digest\")").edited(str::to_owned).set("Host", "hooks.example.com:8443")),

        ("other-secret", "production", |s| { let t = s.string(); s.over(&t, OTHER.as_bytes()) }),
        ("secret-form", "without its whsec_", |s| { let t = s.string(); s.over(&t, &SECRET.as_bytes()[6..]) }),
        ("secret-form", "as base64", |s| { let t = s.string(); s.over(&t, &STANDARD.decode(&SECRET[6..]).unwrap()) }),
        ("secret-form", "line end after", |s| { let t = s.string(); s.over(&t, format!("{SECRET}\n").as_bytes()) }),
        ("secret-form", "with quotes", |s| { let t = s.string(); s.over(&t, format!("\"{SECRET}\"").as_bytes()) }),
        ("secret-form", "left empty", |s| { let t = s.string(); s.over(&t, b"") }),

        ("signature-form", "no colons", |s| { let m = mac_of(&s); s.set("Signature", &format!("sig1={}", STANDARD.encode(m))) }),
        ("signature-form", "- and _", |s| s.url_safe()),
        ("signature-form", "hex text", |s| { let m = mac_of(&s); s.set("Signature", &format!("sig1=:{}:", STANDARD.encode(hex(&m)))) }),
        ("signature-form", "quotes", |s| { let m = mac_of(&s); s.set("Signature", &format!("sig1=\"{}\"", hex(&m))) }),
        ("signature-form", "no proper label", |s| { let m = mac_of(&s); s.set("Signature", &hex(&m)) }),

        ("body-serialised-again", "as Python writes it", |s| Sent::signed(s.reading, TARGET, "application/json", python().as_bytes(), SECRET).carrying(BODY)),
        ("body-serialised-again", "as PHP writes", |s| Sent::signed(s.reading, TARGET, "application/json", php().as_bytes(), SECRET).carrying(BODY)),
        ("body-serialised-again", "no needless escapes", |s| s.carrying(&python())),
        ("body-serialised-again", "Rails", |s| Sent::signed(s.reading, TARGET, "application/json", BODY.replace('<', "\\u003c").replace('>', "\\u003e").as_bytes(), SECRET).carrying(BODY)),
        ("body-serialised-again", "two blanks", |s| Sent::signed(s.reading, TARGET, "application/json", BODY.replace("\":\"", "\": \"").replace("\",\"", "\",\n  \"").replace('{', "{\n  ").replace('}', "\n}").as_bytes(), SECRET).carrying(BODY)),
        ("body-serialised-again", "keys sorted", |s| Sent::signed(s.reading, TARGET, "application/json", br#"{"a":"1","b":"2"}"#, SECRET).carrying(r#"{"b":"2","a":"1"}"#)),
        ("body-form", "newline at its end", |s| s.carrying(&format!("{BODY}\n"))),
        ("body-form", "newline that is gone", |s| Sent::signed(s.reading, TARGET, "application/json", format!("{BODY}\n").as_bytes(), SECRET).carrying(BODY)),
        ("body-form", "byte order mark", |s| s.carrying(&format!("\u{feff}{BODY}"))),
        ("body-form", "\\r\\n", |s| Sent::signed(s.reading, TARGET, "application/json", b"{\r\n}", SECRET).carrying("{\n}")),
        ("body-form", "where Content-Length says", |s| s.carrying(&format!("{BODY}garbage"))),
        ("body-changed", "raw bytes", |s| s.carrying(&BODY.replace("12", "13"))),
        ("body-changed", "raw bytes", |s| s.carrying(&BODY.replace("12", "123"))),
        ("body-changed", "raw bytes", |s| s.carrying(&BODY.replace("12", "123")).set("Content-Length", "83")),
        ("digest-header", "in hex", |s| { let h = hex(&sha256(&s.body)); s.set("Content-Digest", &format!("SHA-256={h}")).edited(str::to_owned) }),
        ("digest-header", "name of its algorithm", |s| { let d = digest_of(&s); s.set("Content-Digest", &format!("sha256={d}")).edited(str::to_owned) }),
        ("digest-unreadable", "no hash", |s| s.set("Content-Digest", "SHA-256=?").edited(str::to_owned)),
        ("length-header", "UTF-16", |s| { let (_, u, _) = counts(&s.body); s.set("Content-Length", &u).edited(str::to_owned) }),
        ("length-header", "not the body's length", |s| s.set("Content-Length", "7").edited(str::to_owned)),
        ("headers-missing", "\"Signature-Input\"", |s| s.without("Signature-Input")),
        ("headers-missing", "\"Content-Digest\"", |s| s.without("Content-Digest")),
        ("headers-missing", "\"content-type\"", |s| s.without("Content-Type")),
        ("headers-missing", "\"content-length\"", |s| s.without("Content-Length")),
        ("header-twice", "Content-Type", |s| s.and("Content-Type", "text/plain")),
        ("label-mismatch", "one label", |s| { let t = s.header("Signature").replace("sig1", "sig2"); s.set("Signature", &t) }),
        ("algorithm", "hmac-sha256", |s| { let input = format!("{};alg=\"ed25519\"", s.header("Signature-Input")); s.set("Signature-Input", &input).edited(str::to_owned) }),
        ("digest-not-covered", "change the body", |s| s.set("Signature-Input", "sig1=(\"@path\")").edited(str::to_owned)),
        ("malformed-signature-input", "RFC 9421", |s| s.set("Signature-Input", "sig9=(")),
        ("malformed-request", "percent-encoded", |s| s.at("/hooks/ä").edited_at("/hooks/ä")),
    ]
}

/// What only RFC 9421 has.
const ONLY_RFC9421: [&str; 5] =
    ["parameters-line-missing", "parameters-dropped", "host", "algorithm", "digest-not-covered"];

#[test]
fn each_break_breaks_a_reading() {
    for (code, word, make) in breaks() {
        let broken = |reading| {
            let sent = make(Sent::new(reading));
            let verifier = Verifier::new(&[Secret::new(SECRET).unwrap()]);
            !sent.with(|message| verifier.verify(message)).is_valid()
        };
        assert!(Reading::all_of(Profile::Rfc9421).chain(Reading::all()).any(broken), "{code} ({word})");
    }
}

#[test]
fn each_break_is_found_first_in_every_reading_of_the_guide() {
    each_break_is_found_first(Profile::Guide);
}

#[test]
fn each_break_is_found_first_in_every_reading_of_the_ai_scribe_guide() {
    each_break_is_found_first(Profile::Scribe);
}

#[test]
fn each_break_is_found_first_in_every_reading_of_rfc_9421() {
    each_break_is_found_first(Profile::Rfc9421);
}

fn each_break_is_found_first(profile: Profile) {
    let mut wrong = Vec::new();
    for (code, word, make) in breaks() {
        let rfc9421 = profile == Profile::Rfc9421;
        if !rfc9421 && ONLY_RFC9421.contains(&code) {
            continue;
        }
        for reading in Reading::all_of(profile) {
            let good = Sent::new(reading);
            let string = good.string();
            let diagnosis = make(good).examined();
            if diagnosis.verdict.is_valid() {
                continue; // another reading has it so, or this one does not look at what was broken
            }
            let sentence = diagnosis.sentence();
            let seen = diagnosis.cause().map(Cause::code);
            let first = diagnosis.findings.first();
            let proven = first.is_some_and(|f| f.certainty == Certainty::Proven && f.causes.len() == 1);
            // Without Signature-Input there is no string of `rfc9421`.
            let no_string = rfc9421 && (word.contains("Signature-Input") || code == "malformed-signature-input");
            if seen != Some(code) || !sentence.contains(word) || !(proven || no_string) {
                let notes = &diagnosis.notes;
                wrong.push(format!("{reading:?} {code} ({word}): {seen:?} {first:?} {sentence} {notes:?}\n{string}"));
            }
        }
    }
    let shown: Vec<_> = wrong.iter().step_by(1 + wrong.len() / 12).cloned().collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), shown.join("\n\n"));
}

#[test]
fn two_breaks_are_found_together() {
    type Pair = (&'static str, [&'static str; 2], Break);
    #[rustfmt::skip]
    let pairs: [Pair; 7] = [
        ("slash and charset", ["trailing-slash", "content-type"], |s| s.at("/hooks/in/?a=b&c=%20d").set("Content-Type", "application/json;charset=utf-8")),
        ("prefix and query", ["path-prefix", "query"], |s| Sent::signed(s.reading, "/hooks/in", "application/json", BODY.as_bytes(), SECRET).at(&format!("/t/dev{TARGET}"))),
        ("prefix and secret", ["path-prefix", "other-secret"], |s| Sent::signed(s.reading, TARGET, "application/json", BODY.as_bytes(), OTHER).at(&format!("/t/dev{TARGET}"))),
        ("length and secret", ["length-part", "secret-form"], |s| { let (b, u, c) = counts(&s.body); let t = last(&s.string(), &[&b, &u], &c); s.over(&t, &SECRET.as_bytes()[6..]) }),
        ("secret and signature", ["secret-form", "signature-form"], |s| { let t = s.string(); let s = s.over(&t, &SECRET.as_bytes()[6..]); let m = s.header("Signature").replace([':', '='], "").replacen("sig1", "", 1); s.set("Signature", &m) }),
        ("body and slash", ["body-serialised-again", "trailing-slash"], |s| s.carrying(&python()).at("/hooks/in/?a=b&c=%20d")),
        ("newline in body and secret", ["body-form", "other-secret"], |s| { let t = s.string(); s.over(&t, OTHER.as_bytes()).carrying(&format!("{BODY}\n")) }),
    ];
    for (name, codes, make) in pairs {
        for reading in Profile::ALL.map(Reading::plain) {
            let diagnosis = make(Sent::new(reading)).examined();
            assert!(!diagnosis.verdict.is_valid());
            let finding = diagnosis.findings.first().unwrap_or_else(|| panic!("{reading:?} {name}: {diagnosis:?}"));
            let mut seen: Vec<_> = finding.causes.iter().map(Cause::code).collect();
            seen.sort_unstable();
            let mut codes = codes;
            codes.sort_unstable();
            assert_eq!(seen, codes, "{reading:?} {name}");
            assert_eq!(finding.certainty, Certainty::Proven);
            assert_eq!(finding.reading.map(Reading::profile), Some(reading.profile()), "{name}");
        }
    }
}
