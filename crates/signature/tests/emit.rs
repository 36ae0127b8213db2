//! Every emitted verifier, run in its own language on deliveries that hold and on ones that must be refused. A language that is not
//! installed is passed over, and said to be; in Rust the texts are compiled into this test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use tunnel_signature::{
    Language, Message, Profile, Reading, Request, Secret, Twist, Verdict, Verifier, base_string, emit, sha256, sign,
};

#[path = "emitted/mod.rs"]
mod emitted;

const SECRET: &str = "whsec_of_the_emitted_ones";

/// A delivery, and whether the verifier of its reading must take it.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    reading: Reading,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    method: String,
    secret: String,
    holds: bool,
}

impl Case {
    fn good(reading: Reading, name: &str, target: &str, content_type: &str, body: &[u8]) -> Case {
        let request = Request { method: "POST", target, content_type, body };
        let signed = sign(reading, &Secret::new(SECRET).unwrap(), &request).unwrap();
        let mut headers: Vec<_> = signed.lines().map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        headers.push(("Host".to_owned(), "Hooks.example.com:8443".to_owned()));
        Case {
            name: format!("{reading} {name}"),
            reading,
            target: target.to_owned(),
            headers,
            body: body.to_vec(),
            method: "POST".to_owned(),
            secret: SECRET.to_owned(),
            holds: true,
        }
    }

    fn but(&self, name: &str, change: impl FnOnce(&mut Case)) -> Case {
        let mut case = self.clone();
        case.name = format!("{} {name}", self.reading);
        case.holds = false;
        change(&mut case);
        case
    }

    fn field(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(n, _)| n == name).unwrap().1
    }

    fn with<T>(&self, look: impl FnOnce(&Message<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        look(&Message { method: &self.method, target: &self.target, headers: &headers, body: &self.body })
    }

    /// The signature made again over whatever the headers now are.
    fn signed_again(&mut self, key: &str) {
        let string = self.with(|message| base_string(self.reading, message)).unwrap();
        self.signed_over(&string, key);
    }

    fn signed_over(&mut self, string: &[u8], key: &str) {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(string).finalize().into_bytes();
        let hex: String = mac.iter().map(|b| format!("{b:02x}")).collect();
        let text = match &**self.field("Signature") {
            old if !old.contains(':') => format!("sig1={hex}"),
            old if old.len() == "sig1=::".len() + 64 => format!("sig1=:{hex}:"),
            _ => format!("sig1=:{}:", STANDARD.encode(mac)),
        };
        *self.field("Signature") = text;
    }
}

/// What must hold and what must not, for one reading.
fn cases_of(reading: Reading) -> Vec<Case> {
    let json = "application/json";
    let wide = "{\"name\":\"Zoë 😀\"}".as_bytes();
    let plain = Case::good(reading, "plain", "/hooks/in?a=b&c=%20d", json, wide);
    let other = Case::good(reading, "other", "/hooks/in?a=b&c=%20d", json, b"{\"other\":1}");
    let mut cases = vec![
        Case::good(reading, "no query", "/hooks/in/", json, b"{}"),
        Case::good(reading, "empty query", "/?", "application/json; charset=utf-8", b"{}"),
        Case::good(reading, "two marks in the query", "/p?a=b?c", json, b"{}"),
        Case::good(reading, "no body", "/", json, b""),
        Case::good(reading, "a byte order mark", "/", json, b"\xef\xbb\xbf{}"),
        plain.but("method in use", |c| c.holds = true),
        plain.but("a blank around values", |c| {
            c.headers.iter_mut().for_each(|(_, v)| *v = format!(" {v}\t"));
            c.holds = true;
        }),
        plain.but("body byte", |c| c.body[2] ^= 1),
        plain.but("body longer", |c| c.body.push(b'\n')),
        plain.but("body and digest of another", |c| {
            c.body = other.body.clone();
            for name in ["Content-Digest", "Content-Length"] {
                *c.field(name) = other.clone().field(name).clone();
            }
        }),
        plain.but("digest of another", |c| *c.field("Content-Digest") = other.clone().field("Content-Digest").clone()),
        plain.but("digest of another, signed", |c| {
            *c.field("Content-Digest") = other.clone().field("Content-Digest").clone();
            c.signed_again(SECRET);
        }),
        plain.but("digest empty, signed", |c| {
            *c.field("Content-Digest") = "sha-256=".to_owned();
            c.signed_again(SECRET);
        }),
        plain.but("algorithm md5, signed", |c| {
            let digest = c.field("Content-Digest");
            *digest = digest.replace("SHA-256", "md5").replace("sha-256", "md5");
            c.signed_again(SECRET);
        }),
        plain.but("signature of another", |c| *c.field("Signature") = other.clone().field("Signature").clone()),
        plain.but("signature cut", |c| assert!(c.field("Signature").pop().is_some())),
        plain.but("signature empty", |c| *c.field("Signature") = "sig1=".to_owned()),
        plain.but("signature of zeros", |c| {
            let digits = |c: char| if c.is_ascii_alphanumeric() { '0' } else { c };
            let value = c.field("Signature").trim_start_matches("sig1=").chars().map(digits).collect::<String>();
            *c.field("Signature") = format!("sig1={value}");
        }),
        plain.but("a line end after the signature", |c| c.field("Signature").push('\n')),
        plain.but("other label", |c| {
            let value = c.field("Signature");
            *value = value.replace("sig1", "sig2");
        }),
        plain.but("path", |c| c.target = c.target.replace("in", "on")),
        plain.but("slash", |c| c.target = c.target.replace("in?", "in/?")),
        plain.but("query", |c| c.target.push('x')),
        plain.but("query dropped", |c| c.target = "/hooks/in".to_owned()),
        plain.but("target with a line end", |c| c.target.push('\n')),
        plain.but("target with a blank", |c| c.target.push_str(" x")),
        plain.but("target empty", |c| c.target.clear()),
        plain.but("method", |c| c.method = "PUT".to_owned()),
        plain.but("content type", |c| c.field("Content-Type").push_str("; charset=utf-8")),
        plain.but("content type with a line end", |c| c.field("Content-Type").insert(0, '\n')),
        plain.but("content length", |c| *c.field("Content-Length") = "1".to_owned()),
        plain.but("content length, signed", |c| {
            *c.field("Content-Length") = "1".to_owned();
            c.signed_again(SECRET);
        }),
        plain.but("other secret", |c| c.secret.push('x')),
        plain.but("empty secret", |c| {
            c.secret.clear();
            c.signed_again("");
        }),
        other.but("another body with this signature", |c| {
            *c.field("Signature") = plain.clone().field("Signature").clone();
        }),
    ];
    for name in ["Signature", "Signature-Input", "Content-Digest", "Content-Type", "Content-Length"] {
        let mut case = plain.but(&format!("without {name}"), |c| c.headers.retain(|(n, _)| n != name));
        case.holds = case.with(|message| verdict_of(message, SECRET)) == Some(reading);
        cases.push(case);
    }
    cases.push(plain.but("without any header", |c| c.headers.clear()));
    if reading.has_utf16() {
        let mut case = plain.but("not UTF-8", |c| c.body = b"{\"\xff\"}".to_vec());
        *case.field("Content-Digest") = format!("SHA-256={}", STANDARD.encode(sha256(&case.body)));
        *case.field("Content-Length") = case.body.len().to_string();
        // As a sender would sign that decodes it all the same.
        let ascii = case.but("", |c| c.body = b"{\"?\"}".to_vec());
        let string = ascii.with(|message| base_string(reading, message)).unwrap();
        case.signed_over(&string, SECRET);
        cases.push(case);
    }
    if reading.profile() == Profile::Rfc9421 {
        let input = |c: &mut Case, text: &str| {
            *c.field("Signature-Input") = text.to_owned();
            c.signed_again(SECRET);
        };
        let all =
            "sig1=(\"@request-target\" \"@authority\" \"content-digest\");created=1;keyid=\"k\";alg=\"hmac-sha256\"";
        cases.push(plain.but("other components", |c| {
            input(c, all);
            c.holds = true;
        }));
        cases.push(plain.but("parameters changed", |c| {
            input(c, all);
            *c.field("Signature-Input") = all.replace("created=1", "created=2");
        }));
        cases.push(plain.but("other algorithm", |c| {
            input(c, &all.replace("hmac-sha256", "ed25519"));
        }));
        cases.push(plain.but("digest not covered", |c| input(c, "sig1=(\"@method\" \"@path\")")));
        cases.push(plain.but("a component of the language's own", |c| {
            input(c, all);
            *c.field("Signature-Input") = "sig1=(\"content-digest\" \"constructor\")".to_owned();
        }));
        cases.push(plain.but("unknown component", |c| {
            *c.field("Signature-Input") = "sig1=(\"content-digest\" \"@status\")".to_owned();
        }));
        cases.push(plain.but("component twice", |c| {
            let line = format!("\"content-digest\": {}\n", c.field("Content-Digest"));
            let twice = "(\"content-digest\" \"content-digest\")";
            *c.field("Signature-Input") = format!("sig1={twice}");
            c.signed_over(format!("{line}{line}\"@signature-params\": {twice}").as_bytes(), SECRET);
        }));
        cases.push(plain.but("no components", |c| *c.field("Signature-Input") = "sig1=()".to_owned()));
    }
    cases
}

trait Utf16 {
    fn has_utf16(&self) -> bool;
}

impl Utf16 for Reading {
    fn has_utf16(&self) -> bool {
        self.variant().has(Twist::Utf16Length)
    }
}

/// The reading that this crate's verifier finds.
fn verdict_of(message: &Message<'_>, secret: &str) -> Option<Reading> {
    match Verifier::new(&[Secret::new(secret).ok()?]).verify(message) {
        Verdict::Valid(matched) => Some(matched.reading),
        _ => None,
    }
}

fn cases() -> Vec<Case> {
    Reading::all().flat_map(cases_of).collect()
}

#[test]
fn the_cases_are_what_this_crate_s_own_verifier_says() {
    let cases = cases();
    assert!(cases.iter().filter(|case| case.holds).count() >= 7 * 33);
    for case in cases {
        let valid = case.with(|message| verdict_of(message, &case.secret)).is_some();
        // What another reading takes, this one need not.
        assert!(valid || !case.holds, "{} should hold", case.name);
    }
}

/// A file's name for a reading.
fn file_name(reading: Reading) -> String {
    reading.to_string().replace([':', '+'], "_").replace('-', "")
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emitted").join(file)
}

/// A fresh folder with the cases and all verifiers of a language.
fn folder(language: Language) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("emitted-{language}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for reading in Reading::all() {
        let name = format!("{}.{}", file_name(reading), language.extension());
        fs::write(folder.join(name), emit(language, reading)).unwrap();
    }
    let cases: Vec<_> = cases()
        .into_iter()
        .map(|case| {
            json!({
                "name": case.name, "verifier": file_name(case.reading), "method": case.method, "target": case.target,
                "headers": case.headers, "body": STANDARD.encode(case.body), "secret": case.secret,
            })
        })
        .collect();
    fs::write(folder.join("cases.json"), serde_json::to_string(&cases).unwrap()).unwrap();
    folder
}

/// Whether the program is installed; says so if not.
fn installed(program: &str, version: &str) -> bool {
    let there = Command::new(program).arg(version).output().is_ok_and(|output| output.status.success());
    if !there {
        #[allow(clippy::print_stderr)] // a test that is passed over must say so
        {
            eprintln!("{program} is not installed: its emitted verifiers are not run");
        }
    }
    there
}

fn compare(language: Language, output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{language}: {errors}");
    let answers = String::from_utf8_lossy(&output.stdout);
    let cases = cases();
    assert_eq!(answers.len(), cases.len(), "{language}: {errors}");
    let wrong: Vec<_> = cases
        .iter()
        .zip(answers.chars())
        .filter(|(case, answer)| *answer != if case.holds { '1' } else { '0' })
        .map(|(case, answer)| format!("{}: {answer}", case.name))
        .collect();
    assert!(wrong.is_empty(), "{language}: {} wrong\n{}\n{errors}", wrong.len(), wrong.join("\n"));
}

fn run_script(language: Language, program: &str, version: &str, script: &str) {
    if installed(program, version) {
        let folder = folder(language);
        compare(language, &Command::new(program).arg(here(script)).arg(folder).output().unwrap());
    }
}

#[test]
fn node() {
    run_script(Language::Node, "node", "--version", "run.js");
}

#[test]
fn python() {
    run_script(Language::Python, "python3", "--version", "run.py");
}

#[test]
fn ruby() {
    run_script(Language::Ruby, "ruby", "--version", "run.rb");
}

#[test]
fn php() {
    run_script(Language::Php, "php", "--version", "run.php");
}

#[test]
fn go() {
    if !installed("go", "version") {
        return;
    }
    let folder = folder(Language::Go);
    let (mut imports, mut verifiers) = (String::new(), String::new());
    for reading in Reading::all() {
        let name = file_name(reading);
        let text = fs::read_to_string(folder.join(format!("{name}.go"))).unwrap();
        fs::remove_file(folder.join(format!("{name}.go"))).unwrap();
        fs::create_dir(folder.join(&name)).unwrap();
        let text = text.replace("\npackage webhook\n", &format!("\npackage {name}\n"));
        fs::write(folder.join(&name).join("verify.go"), text).unwrap();
        imports.push_str(&format!("\t\"emitted/{name}\"\n"));
        verifiers.push_str(&format!("\t\"{name}\": {name}.VerifyHealthieWebhook,\n"));
    }
    let main = fs::read_to_string(here("main.go.txt")).unwrap();
    fs::write(folder.join("main.go"), main.replace("//IMPORTS\n", &imports).replace("//VERIFIERS\n", &verifiers))
        .unwrap();
    fs::write(folder.join("go.mod"), "module emitted\n\ngo 1.19\n").unwrap();
    // The compiler's cache is kept beside the target folder, not in a home folder.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(&folder).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
        command.env("GOCACHE", cache.join("cache")).env("GOPATH", cache.join("path")).env("GOTOOLCHAIN", "local");
        command.output().unwrap()
    };
    let built = go(&["vet", "./..."]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    compare(Language::Go, &go(&["run", ".", "cases.json"]));
}

#[test]
fn rust() {
    for case in cases() {
        let Some((_, text, verify)) = emitted::ALL.iter().find(|(name, ..)| *name == file_name(case.reading)) else {
            continue;
        };
        assert_eq!(*text, emit(Language::Rust, case.reading), "run the ignored test below");
        let headers: Vec<_> = case.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        let answer = verify(&case.method, &case.target, &headers, &case.body, &case.secret);
        assert_eq!(answer, case.holds, "{}", case.name);
    }
    // Together they have every deviation.
    for row in &tunnel_signature::DOCUMENTED {
        let has = |reading: &Reading| {
            reading.variant().has(row.twist) && emitted::ALL.iter().any(|(name, ..)| *name == file_name(*reading))
        };
        assert!(Reading::all().any(|reading| has(&reading)), "no Rust verifier is checked in for {}", row.name);
    }
}

/// `cargo test -p tunnel-signature --test emit -- --ignored` after a change of the Rust template.
#[test]
#[ignore = "writes tests/emitted/*.rs again"]
fn write_the_rust_verifiers_again() {
    for reading in Reading::all() {
        let file = here(&format!("{}.rs", file_name(reading)));
        if file.exists() {
            fs::write(file, emit(Language::Rust, reading)).unwrap();
        }
    }
}
