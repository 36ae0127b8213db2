//! The corpus of raw requests: its files read into cases. What the files mean is said in `corpus/generate.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// One raw request, or several, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) why: String,
    send: String,
    /// The statuses that come back when it is sent straight, interim ones left out.
    pub(crate) answers: Vec<u16>,
    /// Target and body of what is delivered then.
    pub(crate) delivers: Vec<(String, String)>,
    /// What the sender could rightly have meant, where that is more.
    means: Option<Vec<(String, String)>>,
}

#[derive(Deserialize)]
struct File {
    case: Vec<Case>,
}

/// Where the files are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hardening/corpus")
}

/// All cases, in the order of their files.
pub(crate) fn cases() -> Vec<Case> {
    let listed = std::fs::read_dir(folder()).expect("the corpus is there");
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    let read = |path: &PathBuf| -> File {
        let text = std::fs::read_to_string(path).unwrap();
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    files.iter().flat_map(|path| read(path).case).collect()
}

impl Case {
    /// The bytes to send.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        decode(self.send.replace('\n', "").as_bytes(), &mut out);
        out
    }

    /// Whether answers have no bodies.
    pub(crate) fn is_head(&self) -> bool {
        self.send.trim_start().starts_with("HEAD ")
    }

    /// Whether a delivery is one that the sender could have meant.
    pub(crate) fn means(&self, target: &str, body: &str) -> bool {
        let is = |(t, b): &(String, String)| t == target && b == body;
        self.delivers.iter().any(is) || self.means.iter().flatten().any(is)
    }
}

fn decode(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some((&byte, rest)) = text.split_first() {
        text = rest;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, rest) = text.split_first().expect("something after a backslash");
        text = rest;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let (hex, rest) = text.split_at(2);
                out.push(u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).expect("two hex digits"));
                text = rest;
            }
            b'{' => {
                let end = text.iter().position(|b| *b == b'}').expect("a closing brace");
                let star = text.iter().position(|b| *b == b'*').expect("a star");
                let count: usize = std::str::from_utf8(&text[..star]).unwrap().parse().expect("a count");
                let mut once = Vec::new();
                decode(&text[star + 1..end], &mut once);
                out.extend(once.repeat(count));
                text = &text[end + 1..];
            }
            other => panic!("\\{} is no escape", char::from(other)),
        }
    }
}

/// What a program that stands before the relay answers where that is not what the relay answers: by case, and for which version of it this was noted.
#[derive(Debug, Default, Deserialize, serde::Serialize)]
pub(crate) struct Differences {
    pub(crate) version: String,
    pub(crate) answers: BTreeMap<String, Vec<u16>>,
}

impl Differences {
    /// The file of that program; empty if there is none yet.
    pub(crate) fn read(program: &str) -> Differences {
        match std::fs::read_to_string(Differences::path(program)) {
            Ok(text) => toml::from_str(&text).unwrap_or_else(|e| panic!("{program}: {e}")),
            Err(_) => Differences::default(),
        }
    }

    pub(crate) fn write(&self, program: &str) {
        let mut text = format!(
            "# What {program} answers where that differs from what the relay answers straight. Written by the test with HEALTHIE_TUNNEL_BLESS=1.\n\
             version = {:?}\n\n[answers]\n",
            self.version
        );
        for (name, answers) in &self.answers {
            text += &format!("{name} = {answers:?}\n");
        }
        std::fs::write(Differences::path(program), text).unwrap();
    }

    fn path(program: &str) -> PathBuf {
        folder().join("behind").join(format!("{program}.toml"))
    }
}

#[test]
fn the_files_are_what_the_generator_writes() {
    let checked = Command::new("python3").arg(folder().join("generate.py")).arg("--check").output();
    let checked = checked.expect("python3 is installed");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn cases_are_many_and_say_what_they_are() {
    let cases = cases();
    assert!(cases.len() >= 600, "{}", cases.len());
    for case in &cases {
        assert!(!case.why.is_empty(), "{}", case.name);
        assert!(case.delivers.iter().all(|(target, _)| !target.starts_with("/smuggled/")), "{}", case.name);
    }
    let find = |name: &str| cases.iter().find(|case| case.name == name).unwrap().bytes();
    assert!(find("line-hundred").ends_with(b"X: y\r\n\r\n{}"), "{}", String::from_utf8_lossy(&find("line-hundred")));
    assert_eq!(find("line-hundred").windows(6).filter(|w| w == b"X: y\r\n").count(), 98);
    assert!(find("line-high-bytes").windows(3).any(|w| w == b"\xe4\xf6\xfc"));
}
