//! The doctor: a delivery broken in exactly one way is told to be broken in that way, in every reading; one broken otherwise gets no
//! cause; and whatever it looks at, it ends within its bound and makes nothing valid.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;
use tunnel_signature::doctor::{
    Cause, Certainty, Context, Diagnosis, DigestState, KnownSecret, MAX_BODIES, MAX_MACS, Note, diagnose,
};
use tunnel_signature::{Message, Profile, Reading, Request, Secret, Twist, Verdict, base_string, sha256, sign};

const SECRET: &str = "whsec_c2VjcmV0LW9mLXRoZS10dW5uZWw=";
const OTHER: &str = "whsec_of_production";
const TARGET: &str = "/hooks/in?a=b&c=%20d";
const BODY: &str = r#"{"event_type":"appointment.created","resource_id":"12","note":"Zoë 😀 a/b <b>"}"#;

/// A delivery as it arrives.
#[derive(Clone, Debug)]
struct Sent {
    reading: Reading,
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    /// Signed properly.
    fn new(reading: Reading) -> Sent {
        Sent::signed(reading, TARGET, "application/json", BODY.as_bytes(), SECRET)
    }

    fn signed(reading: Reading, target: &str, content_type: &str, body: &[u8], secret: &str) -> Sent {
        let request = Request { method: "POST", target, content_type, body };
        let headers = sign(reading, &Secret::new(secret).unwrap(), &request).unwrap();
        let mut lines: Vec<_> = headers.lines().map(|(n, v)| (n.to_owned(), v.as_bytes().to_vec())).to_vec();
        lines.push(("Host".to_owned(), b"Hooks.Example.com".to_vec()));
        Sent { reading, method: "POST".to_owned(), target: target.to_owned(), headers: lines, body: body.to_vec() }
    }

    fn with<T>(&self, look: impl FnOnce(&Message<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
        look(&Message { method: &self.method, target: &self.target, headers: &headers, body: &self.body })
    }

    fn header(&self, name: &str) -> String {
        let value = &self.headers.iter().find(|(n, _)| n == name).unwrap().1;
        String::from_utf8(value.clone()).unwrap()
    }

    fn set(mut self, name: &str, value: &str) -> Sent {
        self.headers.iter_mut().find(|(n, _)| n == name).unwrap().1 = value.as_bytes().to_vec();
        self
    }

    fn without(mut self, name: &str) -> Sent {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    fn and(mut self, name: &str, value: &str) -> Sent {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    fn at(self, target: &str) -> Sent {
        Sent { target: target.to_owned(), ..self }
    }

    fn carrying(self, body: &str) -> Sent {
        Sent { body: body.as_bytes().to_vec(), ..self }
    }

    fn string(&self) -> String {
        String::from_utf8(self.with(|message| base_string(self.reading, message)).unwrap()).unwrap()
    }

    /// Signed again over a string, with a key.
    fn over(self, string: &str, key: &[u8]) -> Sent {
        let mac: [u8; 32] =
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(string).finalize().into_bytes().into();
        let text = written(self.reading, &mac);
        self.set("Signature", &text)
    }

    /// Signed over its own string, edited.
    fn edited(self, edit: impl FnOnce(&str) -> String) -> Sent {
        let string = edit(&self.string());
        self.over(&string, SECRET.as_bytes())
    }

    fn examined(&self) -> Diagnosis {
        let (own, other) = (Secret::new(SECRET).unwrap(), Secret::new(OTHER).unwrap());
        let secrets = [
            KnownSecret { label: "staging", secret: &own, expected: true },
            KnownSecret { label: "production", secret: &other, expected: false },
        ];
        let others = ["/", "/elsewhere?x=1"];
        let context = Context { prefix: Some("/t/dev"), other_targets: &others, ..Context::default() };
        self.with(|message| diagnose(message, &secrets, &context))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn written(reading: Reading, mac: &[u8]) -> String {
    let twist = |twist| reading.variant().has(twist);
    let profile = reading.profile();
    if twist(Twist::BareHex) || profile == Profile::Guide && !twist(Twist::ColonHex) && !twist(Twist::Base64) {
        format!("sig1={}", hex(mac))
    } else if twist(Twist::ColonHex) || profile == Profile::Scribe && !twist(Twist::Base64) {
        format!("sig1=:{}:", hex(mac))
    } else {
        format!("sig1=:{}:", STANDARD.encode(mac))
    }
}

/// The digest's base64 in a signed string.
fn digest_of(sent: &Sent) -> String {
    STANDARD.encode(sha256(&sent.body))
}

fn mac_of(sent: &Sent) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(sent.string());
    mac.finalize().into_bytes().to_vec()
}

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

impl Sent {
    /// The MAC in base64 with `-` and `_`, over a target for which it has some.
    fn url_safe(self) -> Sent {
        (0..)
            .map(|n| Sent::signed(self.reading, &format!("/hooks/{n}"), "application/json", BODY.as_bytes(), SECRET))
            .find_map(|sent| {
                let text = URL_SAFE.encode(mac_of(&sent));
                (text.contains(['-', '_'])).then(|| sent.set("Signature", &format!("sig1=:{text}:")))
            })
            .unwrap()
    }

    /// Signed over a target that cannot be signed properly.
    fn edited_at(self, target: &str) -> Sent {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let good = Sent { target: "/PATH?QUERY".to_owned(), ..self };
        let string = good.string().replace("??QUERY", "?QUERY").replace("?QUERY", &format!("?{query}"));
        let string = string.replace("/PATH", path).replace("QUERY", query);
        good.over(&string, SECRET.as_bytes()).at(target)
    }
}

fn python() -> String {
    BODY.replace("\":\"", "\": \"").replace("\",\"", "\", \"").replace('ë', "\\u00eb").replace('😀', "\\ud83d\\ude00")
}

fn php() -> String {
    BODY.replace('/', "\\/").replace('ë', "\\u00eb").replace('😀', "\\ud83d\\ude00")
}

/// Bytes, UTF-16 units, characters.
fn counts(body: &[u8]) -> (String, String, String) {
    let text = std::str::from_utf8(body).unwrap();
    (text.len().to_string(), text.encode_utf16().count().to_string(), text.chars().count().to_string())
}

/// The content length, the last number of the string (before the parameters in `rfc9421`), replaced.
fn last(string: &str, from: &[&str], to: &str) -> String {
    let (head, tail) = match string.find("\n\"@signature-params") {
        Some(at) => string.split_at(at),
        None => (string, ""),
    };
    let bare = from.iter().find_map(|from| head.strip_suffix(from)).unwrap_or(head);
    format!("{bare}{to}{tail}")
}

#[test]
fn each_break_is_found_first_in_every_reading() {
    let mut wrong = Vec::new();
    for (code, word, make) in breaks() {
        let mut found = 0;
        for reading in Reading::all() {
            let good = Sent::new(reading);
            let string = good.string();
            // What only one profile has.
            let rfc9421 = reading.profile() == Profile::Rfc9421;
            let only_rfc9421 =
                ["parameters-line-missing", "parameters-dropped", "host", "algorithm", "digest-not-covered"];
            if !rfc9421 && only_rfc9421.contains(&code) {
                continue;
            }
            let sent = make(good);
            let diagnosis = sent.examined();
            if diagnosis.verdict.is_valid() {
                continue; // another reading has it so, or this one does not look at what was broken
            }
            found += 1;
            let sentence = diagnosis.sentence();
            let seen = diagnosis.cause().map(Cause::code);
            let first = diagnosis.findings.first();
            let proven = first.is_some_and(|f| f.certainty == Certainty::Proven && f.causes.len() == 1);
            // Without Signature-Input there is no string of `rfc9421`.
            let must_be_proven =
                !(rfc9421 && (word.contains("Signature-Input") || code == "malformed-signature-input"));
            if seen != Some(code) || !sentence.contains(word) || (must_be_proven && !proven) {
                wrong.push(format!(
                    "{reading:?} {code} ({word}): {seen:?} {first:?} {sentence} {:?}\n{string}",
                    diagnosis.notes
                ));
            }
        }
        if found == 0 {
            wrong.push(format!("{code} ({word}) breaks no reading"));
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
        notes.extend(note);
        assert_eq!(diagnosis.notes, notes);
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
