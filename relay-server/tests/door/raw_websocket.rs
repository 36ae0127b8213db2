//! The agents' endpoint under abuse: frames by hand from somebody who has a token, before the hello and after it. Each case has the close code that must
//! come; deliveries go on for the agents that behave.

use std::time::Duration;

use healthie_relay::Relay;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tunnel_protocol::{Hello, Start, ToRelay};
use tunnel_testkit::DEADLINE;

use crate::visitor::{self, DELIVERY, ask};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const END: u8 = 0x80;

/// A frame of a client, masked by zeros: as good a mask as any.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(first, 0x80, payload.len() as u64, &[0; 4], payload)
}

fn raw_frame(first: u8, masked: u8, length: u64, mask: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..=125 => out.push(masked | length as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload);
    out
}

fn hello() -> Vec<u8> {
    let hello = Hello {
        versions: (1, 1),
        device: "hostile".parse().unwrap(),
        software: String::new(),
        start: Start::Now,
        resume: None,
        window_deliveries: 10,
        window_bytes: 1 << 20,
        device_key: None,
    };
    frame(BINARY | END, &ToRelay::Hello(hello).encode())
}

async fn upgraded(relay: &Relay, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(relay.addresses().http[0]).await.unwrap();
    let request = format!(
        "GET /agent/v1 HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// How the relay ends it: the close code, `no code`, or `cut` for an end without a closing frame.
async fn end(stream: &mut TcpStream) -> String {
    let read = async {
        loop {
            let mut head = [0; 2];
            if stream.read_exact(&mut head).await.is_err() {
                return "cut".to_owned();
            }
            let length = match head[1] {
                126 => u64::from(stream.read_u16().await.unwrap_or(0)),
                127 => stream.read_u64().await.unwrap_or(0),
                length => u64::from(length),
            };
            assert!(length <= 1 << 20, "the relay sends a frame of {length} bytes");
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            if stream.read_exact(&mut payload).await.is_err() {
                return "cut".to_owned();
            }
            if head[0] == CLOSE | END {
                return match payload.as_slice() {
                    [a, b, ..] => u16::from_be_bytes([*a, *b]).to_string(),
                    _ => "no code".to_owned(),
                };
            }
        }
    };
    tokio::time::timeout(DEADLINE, read).await.unwrap_or_else(|_| "open".to_owned())
}

/// What ends a session before its hello as after it.
fn always() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let fragments = |first: u8, length: usize| -> Vec<u8> {
        let mut out = frame(first, &vec![0; length]);
        (0..40).for_each(|_| out.extend(frame(0, &vec![0; length])));
        out
    };
    vec![
        ("a text message", frame(TEXT | END, b"{}"), "1003"),
        ("an empty text message", frame(TEXT | END, b""), "1003"),
        ("text that is no UTF-8", frame(TEXT | END, b"\xff\xfe"), "1007"),
        ("an unmasked frame", raw_frame(BINARY | END, 0, 2, &[], b"hi"), "1002"),
        ("an unmasked ping", raw_frame(PING | END, 0, 0, &[], b""), "1002"),
        ("a reserved bit", frame(BINARY | END | 0x40, b"hi"), "1002"),
        ("all reserved bits", frame(BINARY | END | 0x70, b"hi"), "1002"),
        ("a reserved kind of data", frame(3 | END, b"hi"), "1002"),
        ("a reserved kind of control", frame(11 | END, b"hi"), "1002"),
        ("a continuation of nothing", frame(END, b"hi"), "1002"),
        ("a ping in pieces", frame(PING, b"hi"), "1002"),
        ("a ping of 126 bytes", frame(PING | END, &[0; 126]), "1002"),
        ("a frame that says 2^63 bytes", raw_frame(BINARY | END, 0x80, 1 << 63, &[0; 4], b"hi"), "1009"),
        ("a frame that says 2^64 - 1 bytes", raw_frame(BINARY | END, 0x80, u64::MAX, &[0; 4], b"hi"), "1009"),
        ("a frame that says 1 GiB", raw_frame(BINARY | END, 0x80, 1 << 30, &[0; 4], b"hi"), "1009"),
        (
            "a frame of a byte more than is allowed",
            frame(BINARY | END, &vec![0; tunnel_protocol::MAX_FRAME + 1]),
            "1009",
        ),
        ("pieces that are too long together", fragments(BINARY, 10_000), "1009"),
        ("a message within a message", [frame(BINARY, b"a"), frame(BINARY | END, b"b")].concat(), "1002"),
        ("a close without a code", frame(CLOSE | END, b""), "no code"),
        ("a close with a code", frame(CLOSE | END, &1000_u16.to_be_bytes()), "1000"),
        ("a close with a reason", frame(CLOSE | END, b"\x03\xe9bye"), "1001"),
        ("a close of one byte", frame(CLOSE | END, b"\x03"), "1002"),
        ("a close with a code that is not sent", frame(CLOSE | END, &1005_u16.to_be_bytes()), "1002"),
        ("a close with a code that is none", frame(CLOSE | END, &42_u16.to_be_bytes()), "1002"),
        ("a close with a reason that is no UTF-8", frame(CLOSE | END, b"\x03\xe8\xff"), "1007"),
        ("a close in pieces", frame(CLOSE, b""), "1002"),
        ("two closes", frame(CLOSE | END, &1000_u16.to_be_bytes()).repeat(2), "1000"),
        (
            "frames after a close",
            [frame(CLOSE | END, &1000_u16.to_be_bytes()), frame(BINARY | END, b"x")].concat(),
            "1000",
        ),
    ]
}

struct Stand {
    _dir: tempfile::TempDir,
    relay: Relay,
    token: String,
}

async fn stand(change: impl FnOnce(&mut healthie_relay::Config)) -> Stand {
    let dir = tempfile::tempdir().unwrap();
    let relay = visitor::relay(dir.path(), change).await;
    let token = relay.registry().create_token(&"team".parse().unwrap(), tunnel_delivery::Timestamp::from_micros(1));
    Stand { token: token.unwrap().expose().to_owned(), _dir: dir, relay }
}

async fn deliveries_go_on(relay: &Relay) {
    let mut stream = TcpStream::connect(relay.addresses().http[0]).await.unwrap();
    assert_eq!(ask(&mut stream, DELIVERY, "{}").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_the_rules_is_told_which_and_closed() {
    let stand = stand(|_| {}).await;
    let mut wrong = Vec::new();
    let mut cases: Vec<(String, Vec<u8>, &str)> = Vec::new();
    for (name, bytes, expected) in always() {
        cases.push((format!("{name}, before the hello"), bytes.clone(), expected));
        cases.push((format!("{name}, after the hello"), [hello(), bytes].concat(), expected));
    }
    // What is wrong by our own protocol is told by a frame of it; then WebSocket closes without a complaint.
    cases.push(("nonsense for a hello".into(), frame(BINARY | END, b"\xff\xff\xff\xff"), "no code"));
    cases.push(("an empty frame for a hello".into(), frame(BINARY | END, b""), "no code"));
    cases.push((
        "a ping of the protocol for a hello".into(),
        frame(BINARY | END, &ToRelay::Ping(1).encode()),
        "no code",
    ));
    cases.push(("two hellos".into(), [hello(), hello()].concat(), "no code"));
    cases.push((
        "nonsense after the hello".into(),
        [hello(), frame(BINARY | END, b"\xff\xff\xff\xff")].concat(),
        "no code",
    ));
    cases.push((
        "taken what was never sent".into(),
        [hello(), frame(BINARY | END, &ToRelay::Taken(vec![7]).encode())].concat(),
        "no code",
    ));
    for (name, bytes, expected) in &cases {
        let mut stream = upgraded(&stand.relay, &stand.token).await;
        // It may be closed before all is sent.
        let _ = stream.write_all(bytes).await;
        let came = end(&mut stream).await;
        if came != *expected {
            wrong.push(format!("{name}: {came} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    deliveries_go_on(&stand.relay).await;
    stand.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_by_the_thousand_cost_nothing_but_their_answers() {
    let stand = stand(|_| {}).await;
    let mut stream = upgraded(&stand.relay, &stand.token).await;
    stream.write_all(&hello()).await.unwrap();
    // Nobody reads the pongs: those that nobody reads are not kept, and the relay neither stops nor swells.
    let flood = frame(PING | END, &[7; 125]).repeat(100);
    for _ in 0..500 {
        if tokio::time::timeout(Duration::from_millis(200), stream.write_all(&flood)).await.is_err() {
            break;
        }
    }
    deliveries_go_on(&stand.relay).await;
    drop(stream);
    // Pongs that nobody asked for are nothing.
    let mut stream = upgraded(&stand.relay, &stand.token).await;
    stream.write_all(&frame(PONG | END, b"x").repeat(1000)).await.unwrap();
    stream.write_all(&hello()).await.unwrap();
    stream.write_all(&frame(CLOSE | END, &1000_u16.to_be_bytes())).await.unwrap();
    assert_eq!(end(&mut stream).await, "1000");
    stand.relay.stop().await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_asked_for_rightly_is_refused() {
    let stand = stand(|_| {}).await;
    let good = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let token = format!("Authorization: Bearer {}", stand.token);
    let instead = |at: usize, line: &'static str| {
        let mut lines = good.to_vec();
        lines[at] = line;
        lines.join("\r\n")
    };
    for (name, lines, expected) in [
        ("no key", instead(3, "X: y"), 426),
        ("a short key", instead(3, "Sec-WebSocket-Key: dGhl"), 426),
        ("a key that is no base64", instead(3, "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), 426),
        (
            "two keys",
            instead(3, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
            426,
        ),
        ("another version", instead(2, "Sec-WebSocket-Version: 8"), 426),
        ("two versions", instead(2, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"), 426),
        ("no version", instead(2, "X: y"), 426),
        ("no upgrade", instead(1, "X: y"), 426),
        ("another upgrade", instead(1, "Upgrade: h2c"), 426),
        ("no connection", instead(0, "Connection: keep-alive"), 426),
    ] {
        let mut stream = TcpStream::connect(stand.relay.addresses().http[0]).await.unwrap();
        let head = format!("GET /agent/v1 HTTP/1.1\r\nHost: relay.test\r\n{token}\r\n{lines}");
        assert_eq!(ask(&mut stream, &head, "").await.unwrap().0, expected, "{name}");
    }
    stand.relay.stop().await;
}
