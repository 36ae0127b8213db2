//! What the relay must refuse, it refuses clearly: a status, a short JSON body, never a redirect, and nobody learns what exists.

use std::net::SocketAddr;

use tunnel_stories::{HOST, TUNNEL, World, post};
use tunnel_testkit::{AnswerMode, Connection, HttpMessage, chunked, send};

/// Expects a refusal with that status and a JSON body with a code and a sentence.
#[track_caller]
fn refused(answer: &HttpMessage, status: u16, code: &str) {
    assert_eq!(answer.status(), Some(status), "{}", String::from_utf8_lossy(&answer.raw));
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(answer.header("location"), None);
    assert_eq!(answer.json()["error"], code);
    assert!(answer.json()["message"].as_str().is_some_and(|m| m.ends_with('.')), "{}", answer.text());
}

#[test]
fn an_unknown_tunnel_is_404() {
    let world = World::new(AnswerMode::Ack);
    let to = world.relay.http();
    for (host, target) in [
        ("nobody.relay.test", "/hook"),
        ("relay.test", "/t/nobody/hook"),
        ("relay.test", "/hook"),
        ("relay.test", "/t/"),
        ("a.team.relay.test", "/hook"),
    ] {
        refused(&send(to, &post(host, target, b"{}")), 404, "not-found");
    }
    assert_eq!(send(to, &post("relay.test", &format!("/t/{TUNNEL}/x"), b"{}")).status(), Some(200));
}

#[test]
fn a_body_over_the_limit_is_413_however_it_is_sent() {
    let world = World::new(AnswerMode::Ack);
    let to = world.relay.http();
    let limit = 1 << 20;
    let body = vec![b'x'; limit + 1];
    assert_eq!(send(to, &post(HOST, "/hook", &body[1..])).status(), Some(200), "exactly the limit is taken");

    // Said in advance: refused before the body has come.
    let mut connection = Connection::open(to);
    connection.send(format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", limit + 1).as_bytes());
    refused(&connection.answer(), 413, "body-too-large");

    // In chunks: refused when it is too much.
    let mut connection = Connection::open(to);
    let head = format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send(head.as_bytes());
    // The relay may answer and close before all is sent.
    let _ = connection.try_send(&chunked(&body, &[60_000; 17]));
    refused(&connection.answer(), 413, "body-too-large");
    assert_eq!(world.deliver("/hook", b"{}").status(), Some(200));
}

fn upgrade(to: SocketAddr, path: &str, token: Option<&str>) -> HttpMessage {
    let authorization = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{authorization}\r\n"
    );
    send(to, request.as_bytes())
}

#[test]
fn a_bad_token_is_401_before_the_upgrade_and_tells_nothing() {
    let world = World::new(AnswerMode::Ack);
    let other = world.relay.add_tunnel("other", AnswerMode::Ack);
    let to = world.relay.http();
    let mine = format!("/agent/v1/{TUNNEL}");
    let mut changed = world.token.clone().into_bytes();
    let last = changed.last_mut().unwrap();
    *last = if *last == b'a' { b'b' } else { b'a' };
    let changed = String::from_utf8(changed).unwrap();
    let mut answers = Vec::new();
    for (path, token) in [
        (mine.as_str(), None),
        (mine.as_str(), Some("")),
        (mine.as_str(), Some("ht_000000000000_nonsense")),
        (mine.as_str(), Some(changed.as_str())),
        (mine.as_str(), Some(other.as_str())),
        ("/agent/v1/nobody", Some(world.token.as_str())),
        ("/agent/v1", Some("nonsense")),
    ] {
        let answer = upgrade(to, path, token);
        refused(&answer, 401, "bad-token");
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answers differ");
    assert_eq!(upgrade(to, &mine, Some(&world.token)).status(), Some(101));
    assert_eq!(upgrade(to, "/agent/v1", Some(&world.token)).status(), Some(101));
}

#[test]
fn an_agent_with_a_bad_token_ends_and_says_so() {
    let world = World::new(AnswerMode::Ack);
    let agent =
        world.stage.agent("agent").relay(&world.relay.url(), "ht_000000000000_nonsense").with(&["--no-forward"]);
    let ran = agent.refused();
    assert!(matches!(ran.code, Some(1..=3)), "exit {:?}: {}", ran.code, ran.err());
    assert!(ran.err().contains("token"), "{}", ran.err());
    assert!(!ran.err().contains("nonsense"), "{}", ran.err());
}

#[test]
fn a_revoked_token_ends_the_session() {
    let mut world = World::connected(AnswerMode::Ack);
    let tokens = world.relay.run(&["token", "list", "--json"]).ok().json();
    world.relay.run(&["token", "revoke", tokens[0]["id"].as_str().unwrap()]).ok();
    assert!(!world.agent.process().wait().success());
    world.relay.run(&["token", "revoke", "000000000000"]).exits(1);
}

#[test]
fn malformed_requests_are_400_and_close_the_connection() {
    let world = World::connected(AnswerMode::Ack);
    for (case, request) in [
        ("no host", "POST /hook HTTP/1.1\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("two hosts", format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n")),
        ("absolute form", format!("POST http://{HOST}/hook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n")),
        ("connect", format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("bare LF", format!("POST /hook HTTP/1.1\nHost: {HOST}\nContent-Length: 0\n\n")),
        (
            "two lengths",
            format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ),
        ("a signed length", format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: +2\r\n\r\nab")),
        (
            "length and chunks",
            format!(
                "POST /hook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        ("a folded line", format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n")),
        ("a blank in a name", format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nX A: 1\r\nContent-Length: 0\r\n\r\n")),
        ("not HTTP", "\x16\x03\x01\x02 hello\r\n\r\n".to_owned()),
    ] {
        let mut connection = Connection::open(world.relay.http());
        connection.send(request.as_bytes());
        let answer = connection.answer();
        assert_eq!(answer.status(), Some(400), "{case}: {}", String::from_utf8_lossy(&answer.raw));
        refused(&answer, 400, "malformed-request");
        assert!(connection.rest().is_empty(), "{case}");
    }
    // A body that breaks its own framing is no delivery either.
    let mut connection = Connection::open(world.relay.http());
    connection
        .send(format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").as_bytes());
    refused(&connection.answer(), 400, "bad-body");
    let mut connection = Connection::open(world.relay.http());
    connection.send(format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nabc").as_bytes());
    connection.finish();
    // Whether a sender that has hung up is answered does not matter; that nothing is stored does.
    let _ = connection.rest();
    world.accepted("/hook", b"the only one");
    world.agent.wait_line("delivery");
    assert_eq!(world.agent.events(&[]).len(), 1);
}

#[test]
fn too_long_a_head_is_431() {
    let world = World::new(AnswerMode::Ack);
    let long = format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nX-Long: {}\r\n\r\n", "y".repeat(40_000));
    refused(&send(world.relay.http(), long.as_bytes()), 431, "head-too-large");
    let many = format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "X: y\r\n".repeat(200));
    refused(&send(world.relay.http(), many.as_bytes()), 431, "head-too-large");
}

#[test]
fn health_is_told_without_a_tunnel() {
    let world = World::new(AnswerMode::Ack);
    for path in ["/healthz", "/readyz"] {
        let answer = send(world.relay.http(), format!("GET {path} HTTP/1.1\r\nHost: relay.test\r\n\r\n").as_bytes());
        assert_eq!(answer.status(), Some(200), "{path}: {}", answer.text());
    }
}
