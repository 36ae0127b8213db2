//! Every file of fixtures/signatures, made by a signer that shares no code with this crate, comes out as its index says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tunnel_signature::{Message, Reason, Secret, Verdict, Verifier};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/signatures")
}

fn index() -> BTreeMap<String, Value> {
    let text = fs::read_to_string(folder().join("index.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Method, target, header lines and body of a raw request.
struct Raw {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Raw {
    fn read(file: &str) -> Raw {
        let bytes = fs::read(folder().join(file)).unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("{file}: no end of head"));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap().split(' ');
        let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
        let pair = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap();
        Raw { method, target, headers: lines.map(pair).collect(), body: bytes[end + 4..].to_vec() }
    }

    fn with<T>(&self, look: impl FnOnce(&Message<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        look(&Message { method: &self.method, target: &self.target, headers: &headers, body: &self.body })
    }
}

fn verifier(secrets: &[&str]) -> Verifier {
    let secrets: Vec<_> = secrets.iter().map(|s| Secret::new(*s).unwrap()).collect();
    Verifier::new(&secrets)
}

#[test]
fn the_index_names_every_file_and_no_other() {
    let files: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "index.json")
        .collect();
    let named: BTreeSet<_> = index().into_keys().collect();
    assert_eq!(files, named);
    assert!(files.len() > 70, "only {} files", files.len());
}

#[test]
fn every_file_comes_out_as_its_index_says() {
    let mut wrong = Vec::new();
    for (file, expected) in index() {
        let secrets: Vec<_> = expected["secrets"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let verdict = Raw::read(&file).with(|message| verifier(&secrets).verify(message));
        let seen = match &verdict {
            Verdict::Valid(m) => {
                assert_eq!(m.secret_index, secrets.len() - 1, "{file}: the last secret signs");
                (Some(m.reading.profile().as_str()), m.reading.variant().name(), "valid", None)
            }
            Verdict::Invalid(reason) => (None, None, "invalid", Some(reason.code())),
            Verdict::Unsigned => (None, None, "unsigned", None),
            Verdict::NoSecret { note } => (None, None, "no-secret", note.as_ref().map(Reason::code)),
        };
        let said = (
            expected["profile"].as_str(),
            expected["variant"].as_str().map(str::to_owned),
            expected["status"].as_str().unwrap(),
            expected["reason"].as_str(),
        );
        if seen != said {
            wrong.push(format!("{file}: expected {said:?}, got {verdict:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn with_another_secret_no_file_is_valid() {
    for file in index().into_keys() {
        let verdict = Raw::read(&file).with(|message| verifier(&["whsec_other"]).verify(message));
        assert!(!verdict.is_valid(), "{file}: {verdict:?}");
    }
}

#[test]
fn one_of_two_signatures_made_again_leaves_the_other_alone() {
    let verifier = verifier(&["whsec_fixture_do_not_use_in_production"]);
    let mut raw = Raw::read("rfc9421-two-labels-on-lines-of-their-own.http");
    let matched = raw.with(|message| verifier.verify(message)).matched().cloned().unwrap();
    assert_eq!(matched.label, "sig1");
    let new = raw.with(|message| verifier.resign(message, &matched, "/seen-by-the-handler")).unwrap();
    let other = raw.headers.iter().find(|(_, value)| value.starts_with("proxy=:")).cloned().unwrap();
    raw.headers[new.line].1 = new.value;
    raw.target = "/seen-by-the-handler".to_owned();
    assert!(raw.headers.contains(&other));
    let verdict = raw.with(|message| verifier.verify(message));
    assert!(verdict.is_valid(), "{verdict:?}");
    // The same on one line, as a proxy may have joined them.
    let (signatures, mut others): (Vec<_>, Vec<_>) = raw.headers.drain(..).partition(|(name, _)| name == "Signature");
    let values: Vec<_> = signatures.into_iter().map(|(_, value)| value).collect();
    others.push(("Signature".to_owned(), values.join(", ")));
    raw.headers = others;
    let matched = raw.with(|message| verifier.verify(message)).matched().cloned().unwrap();
    let new = raw.with(|message| verifier.resign(message, &matched, "/again")).unwrap();
    assert!(new.value.starts_with(&other.1) && new.value.contains(", sig1=:"), "{}", new.value);
    raw.headers[new.line].1 = new.value;
    raw.target = "/again".to_owned();
    assert!(raw.with(|message| verifier.verify(message)).is_valid());
}
