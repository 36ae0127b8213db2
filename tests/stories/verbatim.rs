//! Random legal HTTP/1.1 requests, sent through relay and agent: what is stored, and what the handler gets, is what was sent, byte for
//! byte. Hop-by-hop lines and the body's framing are the connection's, not the request's: they are stored, and not passed on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tunnel_stories::{HOST, TUNNEL, World};
use tunnel_testkit::{AnswerMode, Lines, chunked, send};

const CASES: u32 = 100;

/// A request as it goes out.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    headers: Lines,
    body: Vec<u8>,
    framing: Framing,
}

#[derive(Clone, Debug)]
enum Framing {
    /// Content-Length, at that place among the lines.
    Length(usize),
    /// Transfer-Encoding, at that place, with chunks of these lengths.
    Chunks(usize, Vec<usize>),
    /// Neither; the body is empty.
    Nothing,
}

/// Methods that the tunnel's owner added to POST.
const ADDED: [&str; 4] = ["PUT", "PATCH", "DELETE", "OPTIONS"];

fn method() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("POST".to_owned()),
        4 => prop::sample::select(ADDED.to_vec()).prop_map(str::to_owned),
    ]
}

/// An origin-form target of legal characters (RFC 3986), percent-encoded ones among them, dots and empty segments too.
fn target() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => "[A-Za-z0-9._~!$&'()*+,;=:@-]{1,12}",
        2 => "%[0-9A-Fa-f]{2}",
        1 => Just("/".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
    ];
    let path = prop::collection::vec(part.clone(), 0..8).prop_map(|parts| format!("/{}", parts.join("/")));
    let more = prop_oneof![Just("?".to_owned()), Just("/".to_owned()), part];
    let query = prop::option::of(prop::collection::vec(more, 0..8).prop_map(|parts| parts.concat()));
    (path, query).prop_map(|(path, query)| match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

/// Names that say something about the connection or the body, so that a random line would be another request.
const SPECIAL: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authenticate",
];

fn line() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = prop_oneof![
        3 => prop::sample::select(vec!["x-twice", "X-Twice", "X-TWICE", "Content-Encoding", "Content-Type", "cookie", "Accept"])
            .prop_map(str::to_owned),
        3 => "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,24}",
    ]
    .prop_filter("of the connection", |n| !SPECIAL.contains(&n.to_ascii_lowercase().as_str()));
    let visible = prop_oneof![8 => 0x21_u8..=0x7e, 2 => 0x80_u8..=0xff];
    let inner = prop_oneof![8 => visible.clone(), 1 => Just(b' '), 1 => Just(b'\t')];
    // Blanks around a value are not part of it (RFC 9110, section 5.5): a value neither begins nor ends with one.
    let value =
        prop::option::of((visible.clone(), prop::collection::vec(inner, 0..40), visible)).prop_map(
            |parts| match parts {
                Some((first, inner, last)) => [&[first][..], &inner, &[last]].concat(),
                None => Vec::new(),
            },
        );
    (name.prop_map(String::into_bytes), value)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        4 => prop::collection::vec(any::<u8>(), 1..300),
        2 => "\\{\"event_type\":\"[a-z]{1,9}\\.[a-z]{1,9}\",\"resource_id\":[0-9]{1,6}\\}".prop_map(String::into_bytes),
        // The magic of gzip and noise: a content coding is left alone.
        1 => prop::collection::vec(any::<u8>(), 20..2000).prop_map(|noise| [&[0x1f, 0x8b, 8, 0][..], &noise].concat()),
        // Longer than fits one frame.
        1 => (any::<u8>(), 33_000_usize..120_000).prop_map(|(first, length)| {
            (0..length).map(|n| first.wrapping_add((n % 251) as u8)).collect()
        }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let lines = prop::collection::vec(line(), 0..12);
    let lengths = prop::collection::vec(1_usize..20_000, 0..6);
    (method(), target(), lines, body(), any::<prop::sample::Index>(), prop::option::of(lengths), any::<bool>())
        .prop_map(|(method, target, mut headers, body, place, lengths, host_last)| {
            let place = place.index(headers.len() + 1);
            let host = (b"hOsT".to_vec(), HOST.as_bytes().to_vec());
            headers.insert(if host_last { headers.len() } else { 0 }, host);
            let framing = match lengths {
                Some(lengths) => Framing::Chunks(place, lengths),
                None if body.is_empty() && host_last => Framing::Nothing,
                None => Framing::Length(place),
            };
            Request { method, target, headers, body, framing }
        })
}

impl Request {
    /// The header lines as they go out.
    fn lines(&self) -> Lines {
        let mut lines = self.headers.clone();
        let length = || (b"content-LENGTH".to_vec(), self.body.len().to_string().into_bytes());
        match &self.framing {
            Framing::Length(at) => lines.insert(*at, length()),
            Framing::Chunks(at, _) => lines.insert(*at, (b"Transfer-encoding".to_vec(), b"chunked".to_vec())),
            Framing::Nothing => {}
        }
        lines
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in self.lines() {
            out.extend_from_slice(&[&name, &b": "[..], &value, b"\r\n"].concat());
        }
        out.extend_from_slice(b"\r\n");
        match &self.framing {
            Framing::Chunks(_, lengths) => out.extend_from_slice(&chunked(&self.body, lengths)),
            _ => out.extend_from_slice(&self.body),
        }
        out
    }
}

/// Bytes as the programs print them.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => match (other["text"].as_str(), other["base64"].as_str()) {
            (Some(text), _) => text.to_owned().into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).unwrap_or_else(|e| panic!("{e}: {other}")),
            (None, None) => panic!("not bytes: {other}"),
        },
    }
}

fn check(world: &World, request: &Request) -> Result<(), TestCaseError> {
    let already = world.handler.received().len();
    let answer = send(world.relay.http(), &request.bytes());
    prop_assert_eq!(answer.status(), Some(200), "{}", answer.text());
    let id = answer.header("healthie-tunnel-delivery").expect("the relay names the delivery");

    let mut got = world.handler.wait_for(already + 1).remove(already).message;
    // What is told about the attempt comes after everything that was sent.
    let marks = got.headers.split_off(got.headers.len().saturating_sub(2));
    let marks: Vec<_> =
        marks.iter().map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value))).collect();
    let expected = [("Healthie-Tunnel-Delivery", &*id), ("Healthie-Tunnel-Attempt", "1")];
    prop_assert_eq!(marks, expected.map(|(name, value)| (name.into(), value.into())));
    prop_assert_eq!(got.first, format!("{} {} HTTP/1.1", request.method, request.target));
    prop_assert_eq!(&got.body, &request.body);
    match request.framing {
        Framing::Length(_) => prop_assert_eq!(&got.headers, &request.lines()),
        _ => {
            let is_length = |(name, _): &&(Vec<u8>, Vec<u8>)| name.eq_ignore_ascii_case(b"content-length");
            let (lengths, others): (Vec<_>, Vec<_>) = got.headers.iter().partition(is_length);
            prop_assert_eq!(others, request.headers.iter().collect::<Vec<_>>());
            prop_assert!(lengths.len() <= 1, "{:?}", lengths);
        }
    }

    let stored = world.agent.show(&id);
    prop_assert_eq!(&stored["method"], &request.method);
    prop_assert_eq!(&stored["target"], &request.target);
    prop_assert_eq!(&stored["http_version"], "HTTP/1.1");
    prop_assert_eq!(bytes(&stored["body"]), request.body.clone());
    let lines = stored["headers"].as_array().expect("a list of lines").iter();
    let lines: Lines = lines.map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect();
    prop_assert_eq!(lines, request.lines());
    let lost = matches!(request.framing, Framing::Chunks(..));
    prop_assert_eq!(stored["lost"].to_string(), if lost { r#"["chunk-boundaries"]"# } else { "[]" });
    Ok(())
}

fn all_are_found_again(answer: AnswerMode) {
    let world = World::connected(answer);
    world.relay.run(&["tunnel", "set", TUNNEL, "--methods", &format!("POST,{}", ADDED.join(","))]).ok();
    let config = Config { cases: CASES, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&request(), |request| check(&world, &request));
    outcome.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn random_requests_are_found_again_byte_for_byte_in_ack() {
    all_are_found_again(AnswerMode::Ack);
}

#[test]
fn random_requests_are_found_again_byte_for_byte_in_passthrough() {
    all_are_found_again(AnswerMode::Passthrough);
}

#[test]
fn lines_of_the_connection_are_stored_and_not_passed_on() {
    let world = World::connected(AnswerMode::Ack);
    let sent = format!(
        "POST /hook HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
         X-Other: 2\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let id = send(world.relay.http(), sent.as_bytes()).header("healthie-tunnel-delivery").unwrap();
    let got = world.handler.wait_for(1).remove(0).message;
    let names: Vec<_> = got.headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["Host", "X-Other", "Content-Length", "Healthie-Tunnel-Delivery", "Healthie-Tunnel-Attempt"]);
    assert_eq!(world.agent.show(&id)["headers"].as_array().unwrap().len(), 7);
}

#[test]
fn http_1_0_is_stored_as_such() {
    let world = World::connected(AnswerMode::Ack);
    let sent = format!("POST /hook HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\n{{}}");
    let id = send(world.relay.http(), sent.as_bytes()).header("healthie-tunnel-delivery").unwrap();
    assert_eq!(world.handler.wait_for(1)[0].message.text(), "{}");
    assert_eq!(world.agent.show(&id)["http_version"], "HTTP/1.0");
}
