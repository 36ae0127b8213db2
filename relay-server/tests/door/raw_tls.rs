//! TLS by hand: what scanners, broken clients and attackers send to the HTTPS port. Each case has what must come of it, and the relay must serve a real
//! visitor after all of them.

use std::time::Duration;

use healthie_relay::{Config, Https, PairFiles, Relay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tunnel_testkit::{Authority, DEADLINE};

use crate::visitor::{self, DELIVERY, Visitor, ask};

/// How long a handshake may take where it never ends. All others have the relay's usual time, so that a busy machine cuts none of them short.
const TLS_TIME: Duration = Duration::from_millis(500);

fn record(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind], &version.to_be_bytes()[..], &length, payload].concat()
}

/// A length in two bytes and what has it.
fn vector(payload: &[u8]) -> Vec<u8> {
    [&u16::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat()
}

fn extension(kind: u16, payload: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vector(payload)].concat()
}

fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], payload].concat()
}

/// A hello of TLS 1.2 as it should be, to be spoilt.
#[derive(Clone)]
struct Hello {
    version: u16,
    session: Vec<u8>,
    suites: Vec<u16>,
    compression: Vec<u8>,
    extensions: Vec<u8>,
}

impl Hello {
    fn new() -> Hello {
        let groups = extension(10, &vector(&[0, 29, 0, 23]));
        let schemes = extension(13, &vector(&[4, 3, 8, 4, 8, 7]));
        let points = extension(11, &[1, 0]);
        let master = extension(23, &[]);
        Hello {
            version: 0x0303,
            session: vec![],
            suites: vec![0xc02b, 0xc02f, 0xc02c, 0xc030],
            compression: vec![0],
            extensions: [groups, schemes, points, master].concat(),
        }
    }

    fn with(kind: u16, payload: &[u8]) -> Hello {
        let mut hello = Hello::new();
        hello.extensions.extend(extension(kind, payload));
        hello
    }

    fn body(&self) -> Vec<u8> {
        let suites: Vec<u8> = self.suites.iter().flat_map(|s| s.to_be_bytes()).collect();
        let mut out = self.version.to_be_bytes().to_vec();
        out.extend([7; 32]);
        out.push(self.session.len() as u8);
        out.extend(&self.session);
        out.extend(vector(&suites));
        out.push(self.compression.len() as u8);
        out.extend(&self.compression);
        out.extend(vector(&self.extensions));
        message(1, &out)
    }

    fn bytes(&self) -> Vec<u8> {
        record(22, 0x0301, &self.body())
    }
}

/// `hello` if it was answered as a handshake, `alert N`, or `closed`: what is not answered as a handshake must be ended, too.
async fn outcome(relay: &Relay, bytes: &[u8], finish: bool) -> String {
    let mut stream = TcpStream::connect(relay.addresses().https.unwrap()).await.unwrap();
    // It may be closed before all is sent.
    let _ = stream.write_all(bytes).await;
    if finish {
        let _ = stream.shutdown().await;
    }
    let mut all = Vec::new();
    let mut block = [0; 4096];
    loop {
        match tokio::time::timeout(DEADLINE, stream.read(&mut block)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => all.extend_from_slice(&block[..read]),
            Err(_) => return "open for ever".into(),
        }
        // The relay goes on with the handshake, and this visitor does not.
        if all.starts_with(&[22]) {
            break;
        }
    }
    match all.as_slice() {
        [] => "closed".into(),
        [22, ..] => "hello".into(),
        [21, 3, _, 0, 2, _, description, ..] => format!("alert {description}"),
        other => format!("{:02x?}", &other[..other.len().min(40)]),
    }
}

fn cases() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let good = Hello::new();
    let mut cases: Vec<(&'static str, Vec<u8>, &'static [&'static str])> = Vec::new();
    let mut add = |name, bytes: Vec<u8>, expected: &'static [&'static str]| cases.push((name, bytes, expected));
    // Alerts: 10 unexpected message, 22 record overflow, 40 handshake failure, 47 illegal parameter, 49 access denied, 50 decode error, 70 version, 120 no ALPN protocol.
    add("as it should be", good.bytes(), &["hello"]);
    add("plain HTTP", b"GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n".to_vec(), &["alert 50", "alert 10", "closed"]);
    add("plain HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &["alert 50", "alert 10", "closed"]);
    add(
        "a hello of SSL 2",
        [&[0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16][..], &[5; 37]].concat(),
        &["alert 50", "alert 10", "closed"],
    );
    add("SSL 3", record(22, 0x0300, &Hello { version: 0x0300, ..good.clone() }.body()), &["alert 70"]);
    add("TLS 1.0", record(22, 0x0301, &Hello { version: 0x0301, ..good.clone() }.body()), &["alert 70"]);
    add("TLS 1.1", record(22, 0x0301, &Hello { version: 0x0302, ..good.clone() }.body()), &["alert 70"]);
    add("TLS 1.3 without what it needs", Hello::with(43, &[2, 3, 4]).bytes(), &["alert 109", "alert 40", "alert 47"]);
    add("only versions that do not exist", Hello::with(43, &[4, 0x7f, 1, 0x7f, 2]).bytes(), &["alert 70"]);
    add("an empty list of versions", Hello::with(43, &[0]).bytes(), &["alert 70", "alert 50"]);
    for (name, kind) in
        [("change cipher spec first", 20), ("data first", 23), ("heartbeat first", 24), ("an unknown record", 99)]
    {
        add(name, record(kind, 0x0303, &[1]), &["alert 10", "alert 50", "closed"]);
    }
    add("an alert first", record(21, 0x0303, &[2, 40]), &["closed"]);
    add("a farewell first", record(21, 0x0303, &[1, 0]), &["closed"]);
    add("an odd version of records", record(22, 0x1603, &good.body()), &["alert 50", "alert 70", "closed", "alert 10"]);
    add(
        "a record that says 65,535 bytes",
        [&[22, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat(),
        &["alert 22", "alert 50", "closed"],
    );
    add("a record of no bytes", record(22, 0x0301, &[]), &["alert 50", "alert 10", "closed"]);
    add("thousands of records of no bytes", record(22, 0x0301, &[]).repeat(5000), &["alert 50", "alert 10", "closed"]);
    let split: Vec<u8> = good.body().iter().flat_map(|byte| record(22, 0x0301, &[*byte])).collect();
    add("one byte in each record", split, &["hello", "alert 50", "alert 10"]);
    add("a message that says 16 MB", record(22, 0x0301, &[1, 0xff, 0xff, 0xff, 3, 3]), &["alert 50", "closed"]);
    let endless: Vec<u8> =
        [record(22, 0x0301, &[1, 0xff, 0xff, 0xff]), record(22, 0x0301, &[0; 16_000]).repeat(100)].concat();
    add("a message of 16 MB that comes", endless, &["alert 50", "closed"]);
    for (name, kind) in [
        ("a server's hello", 2_u8),
        ("finished first", 20),
        ("a certificate first", 11),
        ("a key update first", 24),
        ("an unknown message", 200),
    ] {
        // What begins with anything but a hello is not told why.
        add(name, record(22, 0x0303, &message(kind, &[0; 40])), &["alert 10", "alert 50", "closed"]);
    }
    add("two hellos", [good.bytes(), good.bytes()].concat(), &["hello", "alert 10"]);
    add(
        "something after the hello in its record",
        record(22, 0x0301, &[good.body(), vec![1, 2, 3]].concat()),
        &["alert 10", "alert 50", "hello"],
    );
    add("no suites", Hello { suites: vec![], ..good.clone() }.bytes(), &["alert 50", "alert 40"]);
    add("old suites only", Hello { suites: vec![0x0005, 0x000a, 0x002f], ..good.clone() }.bytes(), &["alert 40"]);
    add("suites that export", Hello { suites: vec![0x0003, 0x0006, 0x0014], ..good.clone() }.bytes(), &["alert 40"]);
    add("suites without a certificate", Hello { suites: vec![0xc018, 0x0034], ..good.clone() }.bytes(), &["alert 40"]);
    add(
        "no compression that is none",
        Hello { compression: vec![1], ..good.clone() }.bytes(),
        &["alert 47", "alert 50"],
    );
    add("no compression at all", Hello { compression: vec![], ..good.clone() }.bytes(), &["alert 47", "alert 50"]);
    add("a session of 33 bytes", Hello { session: vec![1; 33], ..good.clone() }.bytes(), &["alert 50"]);
    add(
        "extensions that are cut off",
        Hello { extensions: vec![0, 10, 0, 200], ..good.clone() }.bytes(),
        &["alert 50"],
    );
    add("an extension twice", Hello::with(23, &[]).bytes(), &["alert 50", "alert 47"]);
    add(
        "no groups in common",
        Hello {
            extensions: [extension(10, &vector(&[0xff, 1])), extension(13, &vector(&[4, 3]))].concat(),
            ..good.clone()
        }
        .bytes(),
        &["alert 40", "alert 47"],
    );
    add(
        "ten thousand unknown extensions",
        Hello {
            extensions: (0..10_000_u16).flat_map(|n| extension(0x4000 + n, &[])).take(60_000).collect(),
            ..good.clone()
        }
        .body()[..]
            .chunks(16_000)
            .flat_map(|c| record(22, 0x0301, c))
            .collect(),
        &["alert 50", "alert 40", "alert 47", "hello", "alert 110"],
    );
    for (name, list) in [
        ("no protocols", &[][..]),
        ("a protocol without a name", &[0]),
        ("a protocol that is cut off", &[9, b'h', b'2']),
    ] {
        add(name, Hello::with(16, &vector(list)).bytes(), &["alert 50"]);
    }
    add("protocols nobody knows", Hello::with(16, &vector(b"\x06gopher\x03foo")).bytes(), &["alert 120"]);
    add("HTTP/2 without TLS", Hello::with(16, &vector(b"\x03h2c")).bytes(), &["alert 120"]);
    add("a protocol with a NUL", Hello::with(16, &vector(b"\x03h2\0")).bytes(), &["alert 120"]);
    add("a protocol in capitals", Hello::with(16, &vector(b"\x02H2")).bytes(), &["alert 120"]);
    add(
        "a proof for ACME that nobody asked for",
        Hello::with(16, &vector(b"\x0aacme-tls/1")).bytes(),
        &["alert 49", "alert 120"],
    );
    let name = |kind: u8, name: &[u8]| vector(&[vec![kind], vector(name)].concat());
    add("an empty name", Hello::with(0, &name(0, b"")).bytes(), &["alert 50", "alert 47", "hello"]);
    add(
        "a name with a NUL",
        Hello::with(0, &name(0, b"team\0.relay.test")).bytes(),
        &["alert 50", "alert 47", "hello"],
    );
    add("an address as a name", Hello::with(0, &name(0, b"127.0.0.1")).bytes(), &["hello", "alert 47", "alert 50"]);
    add(
        "a name of 10,000 bytes",
        Hello::with(0, &name(0, &[b'a'; 10_000])).bytes(),
        &["alert 50", "alert 47", "hello"],
    );
    add("a name of somebody else", Hello::with(0, &name(0, b"evil.example")).bytes(), &["hello"]);
    add(
        "two names",
        Hello::with(0, &vector(&[&[0][..], &vector(b"a.test"), &[0], &vector(b"b.test")].concat())).bytes(),
        &["alert 50", "alert 47"],
    );
    add(
        "a heartbeat that asks for more than it sends",
        [good.bytes(), record(24, 0x0302, &[1, 0x40, 0])].concat(),
        &["hello", "alert 10", "alert 50"],
    );
    let noise: Vec<u8> = (0..1_000_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    add("a megabyte of noise", noise, &["alert 50", "alert 10", "closed"]);
    cases
}

async fn stand(dir: &tempfile::TempDir, change: impl FnOnce(&mut Config)) -> (Relay, Visitor) {
    let authority = Authority::new("Test CA");
    authority.write(&dir.path().join("ca.pem"));
    let files = authority.server(dir.path(), &["team.relay.test"]);
    let relay = visitor::relay(&dir.path().join("data"), |config| {
        let pair = PairFiles { cert: files.certificate, key: files.key };
        config.https = Some(Https::with_pair("127.0.0.1:0".parse().unwrap(), pair));
        change(config);
    })
    .await;
    (relay, Visitor::trusting(&std::fs::read(dir.path().join("ca.pem")).unwrap(), &[]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_to_the_https_port_is_refused_and_real_visitors_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, visitor) = stand(&dir, |_| {}).await;
    let mut wrong = Vec::new();
    for (name, bytes, expected) in &cases() {
        let came = outcome(&relay, bytes, false).await;
        if !expected.contains(&came.as_str()) {
            wrong.push(format!("{name}: {came} instead of {expected:?}"));
        }
    }
    // Cut off at every place, with and without an end that is said.
    let hello = Hello::new().bytes();
    for at in 0..hello.len() {
        let came = outcome(&relay, &hello[..at], true).await;
        if came != "closed" && came != "alert 50" {
            wrong.push(format!("cut off after {at} bytes: {came}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let to = relay.addresses().https.unwrap();
    let mut stream = visitor.visit(to, "team.relay.test").await.unwrap();
    assert_eq!(ask(&mut stream, DELIVERY, "{}").await.unwrap().0, 200);
    // Records that were not made by who holds the keys end the connection; nothing of them is read.
    let (mut raw, _) = stream.into_inner();
    let forged = record(23, 0x0303, &[0; 200]);
    raw.write_all(&forged).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, raw.read_to_end(&mut rest)).await.expect("it is ended");
    assert!(ended.is_err() || !rest.windows(4).any(|w| w == b"HTTP"), "{rest:?}");
    relay.stop().await;
}

#[tokio::test]
async fn half_a_hello_and_silence_are_ended_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, _) = stand(&dir, |config| config.limits.tls_time = TLS_TIME).await;
    let hello = Hello::new().bytes();
    for said in [&hello[..20], &[]] {
        let begun = std::time::Instant::now();
        let came = outcome(&relay, said, false).await;
        assert!(came == "closed" && begun.elapsed() >= TLS_TIME, "{said:?}: {came} after {:?}", begun.elapsed());
    }
    relay.stop().await;
}
