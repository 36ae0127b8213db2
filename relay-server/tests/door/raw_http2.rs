//! HTTP/2 by hand, frame by frame, as no library would send it: what smuggles over HTTP/1 in its other dress. Each case has its own connection, what must
//! come of it, and a request after it that must be served where the connection goes on.

use healthie_relay::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tunnel_spool::{ReadLimit, RedbSpool, Seq};
use tunnel_testkit::DEADLINE;

use crate::visitor::Secured;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Lines<'a> = Vec<(&'a str, &'a str)>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// HPACK, every line literal and never indexed (RFC 7541, section 6.2.2).
fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in lines {
        out.push(0);
        for text in [latin1(name), latin1(value)] {
            length(&mut out, text.len());
            out.extend(text);
        }
    }
    out
}

/// Each character is one byte, so that a case can hold any.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character of one byte")).collect()
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        return out.push(length as u8);
    }
    out.push(127);
    length -= 127;
    while length >= 128 {
        out.push((length % 128) as u8 | 128);
        length /= 128;
    }
    out.push(length as u8);
}

fn usual(path: &str) -> Lines<'_> {
    vec![(":method", "POST"), (":scheme", "https"), (":authority", "team.relay.test"), (":path", path)]
}

/// One request: its head, and its body if there is one.
fn request(stream: u32, lines: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let flags = END_HEADERS | if body.is_none() { END_STREAM } else { 0 };
    let data = body.map(|body| frame(DATA, END_STREAM, stream, body.as_bytes())).unwrap_or_default();
    [frame(HEADERS, flags, stream, &block(lines)), data].concat()
}

async fn stand() -> Secured {
    Secured::new(&[b"h2"], |_| {}).await
}

async fn connect(stand: &Secured) -> TlsStream<TcpStream> {
    let mut stream = stand.connect().await;
    let hello = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&hello).await.unwrap();
    stream
}

/// What comes of a stream, in a word: the code in the answer's body, `taken`, `reset CODE`, `goaway CODE` or `closed`.
async fn outcome(stream: &mut TlsStream<TcpStream>, of: u32) -> String {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return "closed".into();
        }
        let (kind, flags) = (head[3], head[4]);
        let about = u32::from_be_bytes(head[5..].try_into().unwrap());
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return "closed".into();
        }
        let code = |at: usize| payload.get(at..at + 4).map_or(0, |c| u32::from_be_bytes(c.try_into().unwrap()));
        match kind {
            GOAWAY if code(4) != 0 => return format!("goaway {}", code(4)),
            RST_STREAM if about == of => return format!("reset {}", code(0)),
            DATA if about == of => {
                body.extend_from_slice(&payload);
                if flags & END_STREAM != 0 {
                    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                    return said["error"].as_str().map_or_else(|| "taken".into(), str::to_owned);
                }
            }
            HEADERS if about == of && flags & END_STREAM != 0 => return "no body".into(),
            _ => {}
        }
    }
}

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// What may come of it: one of these.
    expected: &'static [&'static str],
}

const PROTOCOL: &[&str] = &["reset 1", "goaway 1"];
const MALFORMED: &[&str] = &["malformed-request"];
const TAKEN: &[&str] = &["taken"];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &'static str, bytes: Vec<u8>, expected| cases.push(Case { name, bytes, expected });
    let more = |name: &'static str, lines: &[(&'static str, &'static str)]| -> Vec<(String, String)> {
        let path = format!("/hook/{name}");
        let mut all: Vec<(String, String)> =
            usual(&path).iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        all.extend(lines.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        all
    };
    let with = |name, lines: &[(&'static str, &'static str)], body| {
        let all = more(name, lines);
        let all: Lines = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        request(1, &all, body)
    };
    add("plain", with("plain", &[], Some("{}")), TAKEN);
    add("length-right", with("length-right", &[("content-length", "2")], Some("{}")), TAKEN);
    add("host-the-same", with("host-the-same", &[("host", "team.relay.test")], Some("{}")), TAKEN);
    add("te-trailers", with("te-trailers", &[("te", "trailers")], Some("{}")), TAKEN);
    // A length that lies: over HTTP/1 the rest would be a request.
    add(
        "length-too-short",
        with("length-too-short", &[("content-length", "1")], Some("{}")),
        &["reset 1", "goaway 1", "bad-body"],
    );
    add(
        "length-zero",
        with("length-zero", &[("content-length", "0")], Some("POST /smuggled/h2 HTTP/1.1\r\n\r\n")),
        &["reset 1", "goaway 1", "bad-body"],
    );
    add(
        "length-too-long",
        with("length-too-long", &[("content-length", "50")], Some("{}")),
        &["reset 1", "goaway 1", "bad-body"],
    );
    add("length-no-number", with("length-no-number", &[("content-length", "+2")], Some("{}")), PROTOCOL);
    add(
        "length-twice",
        with("length-twice", &[("content-length", "2"), ("content-length", "3")], Some("{}")),
        &["reset 1", "goaway 1", "malformed-request"],
    );
    add(
        "length-list",
        with("length-list", &[("content-length", "2, 2")], Some("{}")),
        &["reset 1", "goaway 1", "malformed-request"],
    );
    add("length-without-body", with("length-without-body", &[("content-length", "2")], None), PROTOCOL);
    // Lines of a connection are not for HTTP/2 (RFC 9113, section 8.2.2).
    add(
        "transfer-encoding",
        with(
            "transfer-encoding",
            &[("transfer-encoding", "chunked")],
            Some("0\r\n\r\nPOST /smuggled/h2 HTTP/1.1\r\n\r\n"),
        ),
        PROTOCOL,
    );
    add(
        "transfer-encoding-identity",
        with("transfer-encoding-identity", &[("transfer-encoding", "identity")], Some("{}")),
        PROTOCOL,
    );
    add("connection", with("connection", &[("connection", "close")], Some("{}")), PROTOCOL);
    add("keep-alive", with("keep-alive", &[("keep-alive", "timeout=5")], Some("{}")), PROTOCOL);
    add("proxy-connection", with("proxy-connection", &[("proxy-connection", "close")], Some("{}")), PROTOCOL);
    add("upgrade", with("upgrade", &[("upgrade", "websocket")], Some("{}")), PROTOCOL);
    add("te-chunked", with("te-chunked", &[("te", "chunked")], Some("{}")), PROTOCOL);
    // What would end a line over HTTP/1.
    add("crlf-in-value", with("crlf-in-value", &[("x-a", "b\r\ntransfer-encoding: chunked")], Some("{}")), PROTOCOL);
    add("lf-in-value", with("lf-in-value", &[("x-a", "b\nhost: evil.example")], Some("{}")), PROTOCOL);
    add("cr-in-value", with("cr-in-value", &[("x-a", "b\rc")], Some("{}")), PROTOCOL);
    add("nul-in-value", with("nul-in-value", &[("x-a", "b\0c")], Some("{}")), PROTOCOL);
    add("crlf-in-name", with("crlf-in-name", &[("x-a: b\r\nx-b", "c")], Some("{}")), PROTOCOL);
    add("colon-in-name", with("colon-in-name", &[("x-a:b", "c")], Some("{}")), PROTOCOL);
    add("blank-in-name", with("blank-in-name", &[("x a", "c")], Some("{}")), PROTOCOL);
    add("capital-in-name", with("capital-in-name", &[("X-A", "c")], Some("{}")), PROTOCOL);
    add("empty-name", with("empty-name", &[("", "c")], Some("{}")), PROTOCOL);
    add("high-byte-in-name", with("high-byte-in-name", &[("x-\u{e4}", "c")], Some("{}")), PROTOCOL);
    // Pseudo-headers.
    for (name, line) in [
        ("method-twice", (":method", "POST")),
        ("path-twice", (":path", "/smuggled/h2")),
        ("scheme-twice", (":scheme", "https")),
        ("authority-twice", (":authority", "evil.example")),
        ("unknown-pseudo", (":evil", "1")),
        ("status-pseudo", (":status", "200")),
        ("protocol-pseudo", (":protocol", "websocket")),
    ] {
        add(name, with(name, &[line], Some("{}")), PROTOCOL);
    }
    add(
        "pseudo-after-line",
        with("pseudo-after-line", &[("x-a", "b"), (":path", "/smuggled/h2")], Some("{}")),
        PROTOCOL,
    );
    let without = |name: &'static str, left_out: &str| {
        let path = format!("/hook/{name}");
        let lines: Lines = usual(&path).into_iter().filter(|(n, _)| *n != left_out).collect();
        request(1, &lines, Some("{}"))
    };
    add("no-method", without("no-method", ":method"), PROTOCOL);
    add("no-path", without("no-path", ":path"), PROTOCOL);
    add("no-scheme", without("no-scheme", ":scheme"), PROTOCOL);
    add("no-authority", without("no-authority", ":authority"), MALFORMED);
    let instead = |name: &'static str, value: &str| {
        let path = format!("/hook/{name}");
        let lines: Lines = usual(&path).into_iter().map(|(n, v)| if n == name { (n, value) } else { (n, v) }).collect();
        request(1, &lines, Some("{}"))
    };
    for (name, path, expected) in [
        ("path-empty", "", PROTOCOL),
        ("path-relative", "hook", &["reset 1", "goaway 1", "malformed-request", "not-found"]),
        ("path-asterisk", "*", &["reset 1", "goaway 1", "malformed-request"]),
        ("path-absolute", "https://evil.example/smuggled/h2", &["reset 1", "goaway 1", "malformed-request"]),
        ("path-blank", "/hook HTTP/1.1\r\nHost: evil.example\r\n\r\nPOST /smuggled/h2", PROTOCOL),
        ("path-crlf", "/hook\r\nx: y", PROTOCOL),
        ("path-nul", "/hook\0", PROTOCOL),
    ] {
        add(name, instead(":path", path), expected);
    }
    for (name, method, expected) in [
        ("method-empty", "", PROTOCOL),
        ("method-request-line", "POST /smuggled/h2 HTTP/1.1\r\nHost: x\r\n\r\nGET", PROTOCOL),
        ("method-blank", "POST x", PROTOCOL),
        ("method-connect", "CONNECT", &["reset 1", "goaway 1", "malformed-request"]),
    ] {
        add(name, instead(":method", method), expected);
    }
    for (name, authority, expected) in [
        ("authority-evil", "evil.example", &["misdirected"][..]),
        ("authority-userinfo", "user@team.relay.test", &["reset 1", "goaway 1", "malformed-request"]),
        ("authority-empty", "", &["reset 1", "goaway 1", "malformed-request"]),
        ("authority-list", "team.relay.test, evil.example", &["reset 1", "goaway 1", "malformed-request"]),
        ("authority-port", "team.relay.test:99999", &["reset 1", "goaway 1", "malformed-request"]),
        ("authority-path", "team.relay.test/x", PROTOCOL),
        ("authority-crlf", "team.relay.test\r\nx: y", PROTOCOL),
        ("authority-capitals", "TEAM.relay.test", TAKEN),
    ] {
        add(name, instead(":authority", authority), expected);
    }
    add("host-differs", with("host-differs", &[("host", "evil.example")], Some("{}")), MALFORMED);
    add(
        "host-twice",
        with("host-twice", &[("host", "team.relay.test"), ("host", "evil.example")], Some("{}")),
        MALFORMED,
    );
    let host_only =
        [(":method", "POST"), (":scheme", "https"), (":path", "/hook/host-only"), ("host", "team.relay.test")];
    add("host-only", request(1, &host_only, Some("{}")), TAKEN);
    let two_hosts = [&host_only[..], &[("host", "team.relay.test")]].concat();
    add("host-only-twice", request(1, &two_hosts, Some("{}")), MALFORMED);
    // Frames.
    let usual_block = block(&usual("/hook/frames"));
    add("stream-zero", frame(HEADERS, END_HEADERS | END_STREAM, 0, &usual_block), &["goaway 1"]);
    add("stream-even", frame(HEADERS, END_HEADERS | END_STREAM, 2, &usual_block), &["goaway 1"]);
    add("data-before-headers", frame(DATA, END_STREAM, 1, b"{}"), &["goaway 1", "goaway 5", "reset 5"]);
    add("data-on-zero", frame(DATA, 0, 0, b"{}"), &["goaway 1"]);
    add("continuation-alone", frame(CONTINUATION, END_HEADERS, 1, &usual_block), &["goaway 1"]);
    let broken = [frame(HEADERS, END_STREAM, 1, &usual_block[..9]), frame(DATA, 0, 1, b"{}")].concat();
    add("headers-interrupted", broken, &["goaway 1"]);
    let many: Vec<u8> = (0..5000).flat_map(|_| frame(CONTINUATION, 0, 1, b"")).collect();
    add(
        "continuations-without-end",
        [frame(HEADERS, END_STREAM, 1, &usual_block), many].concat(),
        &["goaway 11", "goaway 1", "closed"],
    );
    add("bad-hpack", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 20]), &["goaway 1", "goaway 9"]);
    add("hpack-index-zero", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]), &["goaway 1", "goaway 9"]);
    add("padding-too-long", frame(HEADERS, END_HEADERS | END_STREAM | 8, 1, &[200, 0, 0]), &["goaway 1"]);
    add("frame-too-long", frame(DATA, 0, 1, &[0; 20_000]), &["goaway 6"]);
    add("settings-odd", frame(SETTINGS, 0, 0, &[0; 5]), &["goaway 1", "goaway 6"]);
    add("settings-on-stream", frame(SETTINGS, 0, 1, &[]), &["goaway 1"]);
    add("window-of-nothing", frame(8, 0, 0, &[0; 4]), &["goaway 1"]);
    add("ping-short", frame(6, 0, 0, &[0; 4]), &["goaway 1", "goaway 6"]);
    add("push", frame(5, END_HEADERS, 1, &[0, 0, 0, 2]), &["goaway 1"]);
    // Opened and reset at once, again and again (CVE-2023-44487).
    let rapid: Vec<u8> = (0..3000_u32)
        .flat_map(|n| {
            let stream = 3 + 2 * n;
            [request(stream, &usual("/reset"), Some("")), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    add("rapid-reset", rapid, &["goaway 11", "closed"]);
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_in_two_ways_over_http_2() {
    let stand = stand().await;
    let (mut wrong, mut taken, cases) = (Vec::new(), Vec::new(), cases());
    for case in &cases {
        let mut stream = connect(&stand).await;
        // It may be answered and closed before all is sent.
        let _ = stream.write_all(&case.bytes).await;
        let _ = stream.flush().await;
        let came = tokio::time::timeout(DEADLINE, outcome(&mut stream, 1)).await.unwrap_or_else(|_| "nothing".into());
        if !case.expected.contains(&came.as_str()) {
            wrong.push(format!("{}: {came} instead of {:?}", case.name, case.expected));
        }
        if came == "taken" {
            taken.push(case.name);
        }
        if !came.starts_with("goaway") && came != "closed" && came != "nothing" {
            let path = format!("/after/{}", case.name);
            stream.write_all(&request(5, &usual(&path), Some("{}"))).await.unwrap();
            let after = tokio::time::timeout(DEADLINE, outcome(&mut stream, 5)).await.expect("an answer");
            if after != "taken" {
                wrong.push(format!("{}: the request after it: {after}", case.name));
            }
        }
    }
    stand.relay.stop().await;
    let spool = RedbSpool::open(&stand.dir.path().join("data/spool"), tunnel_spool::Limits::default()).unwrap();
    let all =
        Store::new(spool).read(&"team".parse().unwrap(), Seq::ZERO, ReadLimit { count: 1000, bytes: 1 << 20 }).unwrap();
    let stored: Vec<String> =
        all.iter().map(|(_, d)| d.target.to_string()).filter(|t| !t.starts_with("/after/") && t != "/reset").collect();
    let smuggled: Vec<_> = stored.iter().filter(|t| t.contains("smuggled")).collect();
    assert!(smuggled.is_empty(), "{smuggled:?}");
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(stored.len(), taken.len(), "{stored:?} {taken:?}");
    assert!(all.iter().all(|(_, d)| d.headers.get_all("host").count() == 1), "one Host in each record");
}
