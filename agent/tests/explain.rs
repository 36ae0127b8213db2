//! Signatures explained at the command line: requests in files of every form, the doctor's main causes, verifiers to paste, and curl lines that
//! the real curl sends.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use healthie_tunnel::request_text::{curl_line, http_text};
use serde_json::Value;
use support::{Seen, answering, patiently};
use tunnel_delivery::{HeaderLine, Headers};
use tunnel_signature::{Reading, Request, Secret};

const SECRET: &str = "whsec_explain";
const BODY: &str = r#"{"resource_id":"1","event_type":"appointment.created","name":"Jürgen"}"#;

/// The program in a folder of its own, with nothing of whoever runs the test.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_healthie-tunnel"))
            .args(args)
            .env_clear()
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// What it prints; it must end with that code.
    #[track_caller]
    fn exits(&self, code: i32, args: &[&str]) -> (String, String) {
        let done = self.run(args, b"");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(done.stdout), text(done.stderr));
        assert_eq!(done.status.code(), Some(code), "{args:?}\n{out}\n{err}");
        (out, err)
    }

    #[track_caller]
    fn verified(&self, code: i32, file: &str, more: &[&str]) -> Value {
        let (out, _) = self.exits(code, &[&["verify", file, "--json", "--secret", SECRET][..], more].concat());
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }
}

/// A signed request that can be spoilt before it is written down.
#[derive(Clone)]
struct Draft {
    target: String,
    headers: Headers,
    body: Vec<u8>,
}

impl Draft {
    fn signed_with(reading: &str, secret: &str, target: &str, body: &str) -> Draft {
        let reading: Reading = reading.parse().unwrap();
        let request = Request { method: "POST", target, content_type: "application/json", body: body.as_bytes() };
        let signed = tunnel_signature::sign(reading, &Secret::new(secret).unwrap(), &request).unwrap();
        let mut headers = Headers::default();
        headers.push("Host", "team.relay.test");
        for (name, value) in signed.lines() {
            headers.push(name, value.as_bytes().to_vec());
        }
        Draft { target: target.to_owned(), headers, body: body.as_bytes().to_vec() }
    }

    fn signed(target: &str) -> Draft {
        Draft::signed_with("guide", SECRET, target, BODY)
    }

    fn at(mut self, target: &str) -> Draft {
        self.target = target.to_owned();
        self
    }

    fn with_body(mut self, body: &str) -> Draft {
        self.body = body.as_bytes().to_vec();
        self.with("Content-Length", &body.len().to_string())
    }

    fn with(mut self, name: &str, value: &str) -> Draft {
        self.headers.0.retain(|line| !line.is(name));
        self.headers.push(name.to_owned(), value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Draft {
        self.headers.0.retain(|line| !line.is(name));
        self
    }

    fn text(&self) -> Vec<u8> {
        http_text("POST", &self.target, &self.headers, &self.body)
    }
}

#[test]
fn each_cause_is_told_by_name() {
    let desk = Desk::new();
    let respaced = BODY.replace("\":", "\": ").replace(",\"", ", \"");
    for (name, draft, cause) in [
        ("slash", Draft::signed("/hook").at("/hook/"), "trailing-slash"),
        ("prefix", Draft::signed("/hook").at("/t/team/hook"), "path-prefix"),
        ("mount", Draft::signed("/hook").at("/api/hook"), "leading-segments"),
        ("query", Draft::signed("/hook").at("/hook?utm=1"), "query"),
        ("respaced", Draft::signed("/hook").with_body(&respaced), "body-serialised-again"),
        ("newline", Draft::signed("/hook").with_body(&format!("{BODY}\n")), "body-form"),
        ("changed", Draft::signed("/hook").with_body(&BODY.replace('1', "2")), "body-changed"),
        ("charset", Draft::signed("/hook").with("Content-Type", "application/json; charset=utf-8"), "content-type"),
        ("no-digest", Draft::signed("/hook").without("Content-Digest"), "headers-missing"),
        ("label", Draft::signed("/hook").with("Signature-Input", "other=(\"@method\")"), "label-mismatch"),
        ("bare", Draft::signed_with("guide", "explain", "/hook", BODY), "secret-form"),
        ("staging", Draft::signed_with("rfc9421", "whsec_staging", "/hook", BODY), "other-secret"),
    ] {
        desk.put(name, draft.text());
        let file = format!("./{name}");
        let told = desk.verified(1, &file, &["--other-secret", "staging=whsec_staging"]);
        assert_eq!(told["status"], "invalid", "{name}: {told}");
        assert_eq!(told["findings"][0]["causes"][0], cause, "{name}: {told}");
        assert_eq!(told["hint"], told["findings"][0]["sentence"], "{name}");
        let (out, _) = desk.exits(1, &["verify", &file, "--secret", SECRET, "--other-secret", "staging=whsec_staging"]);
        assert!(out.contains(told["hint"].as_str().unwrap()), "{name}: {out}");
        for secret in [SECRET, "whsec_staging"] {
            assert!(!out.contains(secret) && !told.to_string().contains(secret), "{name}: {out}");
        }
    }
    let other = Draft::signed_with("guide", "whsec_nobody_knows", "/hook", BODY);
    desk.put("other.http", other.text());
    let told = desk.verified(1, "other.http", &[]);
    assert!(told["hint"].as_str().unwrap().contains("a secret that is not at hand"), "{told}");
    assert_eq!((&told["digest"], told["findings"].as_array().unwrap().len()), (&Value::from("right"), 0), "{told}");
}

#[test]
fn the_first_difference_has_a_mark_below_it() {
    let desk = Desk::new();
    desk.put("slash.http", Draft::signed("/hook").at("/hook/").text());
    let (out, _) = desk.exits(1, &["verify", "slash.http", "--secret", SECRET]);
    let lines: Vec<&str> = out.lines().collect();
    let arrived = lines.iter().position(|l| l.starts_with("  arrived  ")).unwrap_or_else(|| panic!("{out}"));
    let mark = lines[arrived + 2].find('^').unwrap_or_else(|| panic!("{out}"));
    let below = |line: &str| line.chars().nth(mark);
    assert_eq!((below(lines[arrived]), below(lines[arrived + 1])), (Some('/'), Some('·')), "{out}");
    let told = desk.verified(1, "slash.http", &[]);
    let same = told["difference"]["at"].as_u64().unwrap();
    assert_eq!((same, &told["difference"]["of"]), ("post /hook".len() as u64, &Value::from("signed-string")));
}

#[test]
fn what_is_valid_shows_its_string_in_every_form_of_the_request() {
    let desk = Desk::new();
    let draft = Draft::signed_with("scribe", SECRET, "/hook?a=1", BODY);
    desk.put("crlf", draft.text());
    let head = draft.text()[..draft.text().len() - draft.body.len()].to_vec();
    let lf = String::from_utf8(head).unwrap().replace("\r\n", "\n");
    desk.put("lf", [lf.as_bytes(), &draft.body].concat());
    desk.put("line.sh", curl_line("https://team.relay.test/hook?a=1", "POST", &draft.headers, &draft.body));
    desk.put("body.json", &draft.body);
    let headers: Vec<String> =
        draft.headers.iter().map(|l| format!("-H '{}: {}'", l.name.escape_ascii(), l.value.escape_ascii())).collect();
    let typed = format!(
        "curl -sS https://team.relay.test/hook?a=1 \\\n {} \\\n --data-binary @body.json\n",
        headers.join(" \\\n ")
    );
    // A shell would take an unquoted ? for a pattern, and finds no file.
    desk.put("typed.sh", typed);
    let lines: Vec<Value> = draft
        .headers
        .iter()
        .map(|l| serde_json::json!([std::str::from_utf8(&l.name).unwrap(), std::str::from_utf8(&l.value).unwrap()]))
        .collect();
    let json = serde_json::json!({
        "id": "019a0000-0000-7000-8000-000000000000", "received_at": "2026-11-21T09:30:00.120000Z", "tunnel": "team",
        "source_ip": "127.0.0.1", "environment": "unknown", "method": "POST", "target": draft.target,
        "http_version": "HTTP/1.1", "headers": lines, "body": { "text": BODY }, "body_sha256": "00".repeat(32),
        "event": null, "signature": { "status": "invalid", "profile": null, "variant": null, "reason": null, "hint": null },
        "duplicate_of": null, "pinned": false, "note": null, "attempts": []
    });
    desk.put("show.json", json.to_string());
    for (file, source) in
        [("./crlf", "http"), ("./lf", "http"), ("line.sh", "curl"), ("typed.sh", "curl"), ("show.json", "json")]
    {
        let told = desk.verified(0, file, &[]);
        assert_eq!((&told["status"], &told["source"]), (&"valid".into(), &source.into()), "{file}: {told}");
        assert_eq!((&told["profile"], &told["secret"]), (&"scribe".into(), &"given".into()), "{file}: {told}");
        assert_eq!(told["signed"]["parts"][0], serde_json::json!({ "component": "@method", "value": "POST" }));
        assert_eq!(told["signed"]["lines"][2], "\"@query\":·??a=1");
    }
    let (out, _) = desk.exits(0, &["verify", "./crlf", "--secret", SECRET]);
    assert!(out.contains("\"@method\":·POST⏎\n\"@path\":·/hook⏎\n"), "{out}");
    let piped = desk.run(&["verify", "-", "--secret", SECRET], &draft.text());
    assert_eq!(piped.status.code(), Some(0), "{piped:?}");
}

#[test]
fn what_cannot_be_read_is_wrong_use_and_names_file_and_line() {
    let desk = Desk::new();
    desk.put("odd.http", "POST / HTTP/1.1\nHost\n\n");
    desk.put("text", "hello");
    desk.put("line.sh", "curl http://h/ \\\n -d @missing.json");
    std::fs::create_dir(desk.0.path().join("folder.d")).unwrap();
    for (args, expected) in [
        (&["verify", "odd.http"][..], "odd.http: line 2: a header is NAME: VALUE"),
        (&["verify", "./text"], "./text: line 1: \"hello\" begins neither"),
        (&["verify", "line.sh"], "line.sh: line 2: the file missing.json:"),
        (&["verify", "gone.http"], "gone.http:"),
        (&["verify", "folder.d"], "it is a folder"),
        (&["verify", "--emit", "cobol", "./text"], "node, python, ruby, go, rust and php"),
        (&["verify", "--emit", "go", "--profile", "guide", "--variant", "x"], "\"x\" is not a variant"),
        (&["verify", "odd.http", "--other-secret", "whsec_private"], "NAME=SECRET"),
        (&["sign", "text"], "there is no secret"),
        (&["sign", "text", "--secret", "s", "--as", "curl"], "--url"),
        (&["sign", "text", "--secret", "s", "--path", "a b"], "not a request target"),
    ] {
        let (out, err) = desk.exits(2, args);
        assert!(err.contains(expected) && out.is_empty(), "{args:?}: {err}");
    }
    let big = desk.run(&["verify", "-"], &vec![b' '; 33 << 20]);
    assert!(big.status.code() == Some(2) && String::from_utf8_lossy(&big.stderr).contains("longer than the 32 MiB"));
}

#[test]
fn a_verifier_is_printed_for_what_matched() {
    let desk = Desk::new();
    desk.put("ascii.http", Draft::signed_with("guide", SECRET, "/hook", "{}").text());
    desk.put("ä.http", Draft::signed_with("guide:utf16-length", SECRET, "/hook", BODY).text());
    desk.put("wrong.http", Draft::signed("/hook").at("/other").text());
    let emitted = |file: &str| desk.exits(0, &["verify", file, "--emit", "python", "--secret", SECRET]);
    let (plain, _) = desk.exits(0, &["verify", "--emit", "python", "--profile", "guide"]);
    let (other, _) = desk.exits(0, &["verify", "--emit", "python", "--profile", "guide", "--variant", "utf16-length"]);
    assert_ne!(plain, other);
    let (out, err) = emitted("ascii.http");
    assert!(out == plain && err.contains("guide:utf16-length would sign this one just like guide"), "{err}");
    assert_eq!(emitted("ä.http"), (other, String::new()));
    let (out, err) = desk.exits(1, &["verify", "wrong.http", "--emit", "python", "--secret", SECRET]);
    assert!(out.is_empty() && err.contains("--profile"), "{err}");
}

#[test]
fn what_sign_prints_verifies() {
    let desk = Desk::new();
    let body = [BODY.as_bytes(), b"\r\n\0\xff@'"].concat();
    desk.put("body", &body);
    for (profile, variant) in [("guide", "no-padding+base64"), ("scribe", "plain"), ("rfc9421", "bare-hex")] {
        let sign = ["sign", "./body", "--secret", SECRET, "--profile", profile, "--variant", variant];
        let printed = |more: &[&str]| desk.run(&[&sign[..], more].concat(), b"").stdout;
        desk.put("signed.http", printed(&["--path", "/hook", "--query", "a=1", "--as", "http"]));
        desk.put("signed.sh", printed(&["--url", "http://localhost:3000/hook?a=1", "--as", "curl"]));
        let head = printed(&["--path", "/hook", "--query", "?a=1"]);
        desk.put("headers.http", [b"POST /hook?a=1 HTTP/1.1\n", &head[..], b"\n", &body].concat());
        for file in ["signed.http", "signed.sh", "headers.http"] {
            let told = desk.verified(0, file, &[]);
            assert_eq!(told["profile"], profile, "{file}: {told}");
            assert!(told["signed"]["text"].as_str().unwrap().contains("/hook"), "{told}");
        }
    }
}

/// Requests that are hard to write as a shell's words.
fn hard() -> Vec<(&'static str, &'static str, Headers, Vec<u8>)> {
    let line = |name: &str, value: &[u8]| HeaderLine::new(name.to_owned(), value.to_vec());
    let with = |body: &[u8], more: Vec<HeaderLine>| {
        let mut headers = Headers(vec![line("Host", b"team.relay.test")]);
        headers.0.extend(more);
        headers.push("Content-Length", body.len().to_string());
        (headers, body.to_vec())
    };
    let every: Vec<u8> = (0..=255).collect();
    let controls: Vec<u8> = (1..128).collect();
    let big: Vec<u8> = b"{\"a\":\"'!\xc3\xa4\"}\n".repeat(120_000);
    let usual =
        || vec![line("content-TYPE", b"application/json"), line("User-Agent", b"Healthie"), line("accept", b"*/*")];
    [
        ("POST", "/hook?a=1", with(BODY.as_bytes(), usual())),
        ("POST", "/", with(b"@/etc/hostname", Vec::new())),
        ("POST", "/%2e%2e/a/../b/./c?x=[1-3]{a,b}&q='\"\\^|`$(x)!", with(b"it's", Vec::new())),
        (
            "PUT",
            "//double//",
            with(&controls, vec![line("X-Odd", b"it's \x01\x1b[31m \xff $HOME `x` \\n !"), line("X-Empty", b"")]),
        ),
        ("POST", "/hook", with(&every, usual())),
        ("POST", "/hook", with(b"", usual())),
        ("POST", "/hook", with(&big, usual())),
        ("PaTCH", "/?", with("\u{202e}\u{feff}ä\r\n".as_bytes(), vec![line("X-Twice", b"1"), line("x-twice", b"2")])),
    ]
    .into_iter()
    .map(|(method, target, (headers, body))| (method, target, headers, body))
    .collect()
}

fn sorted(headers: &Headers) -> Vec<(String, String)> {
    let mut lines: Vec<_> =
        headers.iter().map(|l| (l.name.escape_ascii().to_string(), l.value.escape_ascii().to_string())).collect();
    lines.sort();
    lines
}

/// The real curl, started by the real bash, sends what was stored. Where one of them is not installed the property in `request_text` has to
/// do, which reads the line back.
#[tokio::test]
async fn curl_sends_the_same_bytes() {
    if ["curl", "bash"].iter().any(|program| Command::new(program).arg("--version").output().is_err()) {
        return;
    }
    let server = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let desk = Desk::new();
    for (n, (method, target, headers, body)) in hard().into_iter().enumerate() {
        let line = curl_line(&format!("http://127.0.0.1:{}{target}", server.port), method, &headers, &body);
        // From a file, as a longer line than a shell can be given as an argument.
        desk.put("line.sh", &line);
        let seen = sent(&desk.0.path().join("line.sh"), &server.seen, n).await;
        let text: String = line.chars().take(2000).collect();
        let read = healthie_tunnel::request_text::read(&seen, &|_| Err(String::new())).unwrap();
        assert_eq!((&*read.method, &*read.target), (method, target), "{text}");
        assert_eq!(sorted(&read.headers), sorted(&headers), "{text}");
        assert!(read.body == body, "{} of {} bytes: {text}", read.body.len(), body.len());
    }
}

/// Runs a script and gives request number `n`.
async fn sent(script: &Path, seen: &Seen, n: usize) -> Vec<u8> {
    let mut command = Command::new("bash");
    command.arg(script).env_remove("http_proxy").env("NO_PROXY", "*").env("HOME", script.parent().unwrap());
    let ran = patiently("curl's end", tokio::task::spawn_blocking(move || command.output())).await.unwrap().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    seen.wait_for(n + 1).await;
    seen.all()[n].clone()
}
