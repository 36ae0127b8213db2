//! Passthrough: the sender gets the handler's own answer, or one short JSON answer that says why there is none; each try is recorded.

use serde_json::Value;
use tunnel_stories::{HOST, World, post};
use tunnel_testkit::{AnswerMode, Connection, Handler, HttpMessage, Reply};

/// A handler that does what the path says.
fn moody() -> Handler {
    Handler::answering(|request| match request.target() {
        "/teapot" => Reply::Answer {
            status: 418,
            headers: vec![
                (b"X-Pot".to_vec(), b"short".to_vec()),
                (b"x-pot".to_vec(), b"stout".to_vec()),
                (b"Content-Type".to_vec(), b"text/plain".to_vec()),
            ],
            body: b"tip me \xff over".to_vec(),
        },
        "/redirect" => Reply::Answer {
            status: 302,
            headers: vec![(b"Location".to_vec(), b"http://elsewhere.test/".to_vec())],
            body: Vec::new(),
        },
        "/empty" => Reply::status(204, ""),
        "/garbage" => Reply::Raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n".to_vec()),
        "/close" => Reply::Close,
        "/cut" => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec()),
        "/never" => Reply::Never,
        _ => Reply::ok(),
    })
}

/// Sends a delivery, expects exactly one answer, and gives it with the attempt that was recorded.
#[track_caller]
fn deliver(world: &World, target: &str) -> (HttpMessage, Value) {
    let mut connection = Connection::open(world.relay.http());
    // The relay closes after its answer, so that a second one would be seen.
    let request =
        format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
    connection.send(request.as_bytes());
    let answer = connection.answer();
    assert!(connection.rest().is_empty(), "{target}: something follows the answer");
    let id = answer.header("healthie-tunnel-delivery").expect("the relay names the delivery");
    let attempt = world.agent.lines().wait(&format!("the attempt for {target}"), |lines| {
        lines.iter().find(|l| l["type"] == "attempt" && l["delivery"] == id.as_str()).cloned()
    });
    let recorded = world.agent.show_attempted(&id, 1)["attempts"][0].clone();
    assert_eq!(recorded["status"], attempt["status"], "{recorded}");
    assert_eq!(recorded["error"], attempt["error"], "{recorded}");
    (answer, recorded)
}

#[test]
fn the_handler_s_own_answer_comes_back() {
    let mut world = World::with_handler(AnswerMode::Passthrough, moody());
    world.agent.start();
    let (answer, attempt) = deliver(&world, "/teapot");
    assert_eq!((answer.status(), &answer.body[..]), (Some(418), &b"tip me \xff over"[..]));
    // Lines that no sender of webhooks needs stay behind; the attempt has them.
    assert_eq!(
        (answer.header("x-pot"), answer.header("content-type").as_deref()),
        (None, Some("text/plain; charset=utf-8"))
    );
    assert_eq!(attempt["status"], 418);
    assert_eq!(attempt["response_headers"][1][0], "x-pot");
    let (answer, attempt) = deliver(&world, "/empty");
    assert_eq!((answer.status(), answer.body.len(), &attempt["status"]), (Some(204), 0, &204.into()));
    // The sender is told of a redirect, and not where it leads: nobody is to be sent elsewhere by the relay's name.
    let (answer, attempt) = deliver(&world, "/redirect");
    assert_eq!((answer.status(), &attempt["status"], answer.header("location")), (Some(302), &302.into(), None));
    assert_eq!(world.handler.received().len(), 3);
}

#[test]
fn a_handler_that_fails_costs_one_short_answer_and_nothing_stops() {
    let mut world = World::with_handler(AnswerMode::Passthrough, moody());
    world.agent = world.agent.with(&["--timeout", "6s"]);
    world.agent.start();
    for (target, status, code, kind) in [
        ("/garbage", 502, "handler-broken", "garbage"),
        ("/close", 502, "handler-broken", "closed"),
        ("/cut", 502, "handler-broken", "closed"),
        ("/never", 504, "handler-timeout", "timeout"),
    ] {
        let (answer, attempt) = deliver(&world, target);
        assert_eq!(answer.status(), Some(status), "{target}: {}", answer.text());
        assert_eq!(answer.json()["error"], code, "{target}");
        assert!(answer.json()["message"].is_string(), "{target}");
        assert_eq!(attempt["error"]["kind"], kind, "{target}: {attempt}");
        let (answer, _) = deliver(&world, "/fine");
        assert_eq!(answer.status(), Some(200), "after {target}");
    }
}

#[test]
fn nothing_listens_where_the_agent_forwards_to() {
    let mut world = World::new(AnswerMode::Passthrough);
    // Bound and not listening: nobody can connect, and nobody else gets the port meanwhile.
    let nobody = tunnel_testkit::ClosedPort::new();
    world.agent = world.stage.agent("agent").relay(&world.relay.url(), &world.token).target(&nobody.url());
    world.agent.start();
    let (answer, attempt) = deliver(&world, "/hook");
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(502), &"handler-unreachable".into()));
    assert_eq!(attempt["error"]["kind"], "connect");
}

#[test]
fn a_handler_slower_than_the_tunnel_allows() {
    let mut world = World::with_handler(AnswerMode::Passthrough, moody());
    world.relay.run(&["tunnel", "add", "hasty", "--answer", "passthrough", "--answer-within", "1s"]).ok();
    let token = world.relay.token("hasty");
    world.agent = world.stage.agent("hasty").relay(&world.relay.url(), &token).target(&world.handler.url());
    world.agent.start();
    let answer = tunnel_testkit::send(world.relay.http(), &post("hasty.relay.test", "/never", b"{}"));
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(504), &"handler-timeout".into()));
    // Within a second, which a busy machine may take for itself.
    tunnel_testkit::eventually("an answer in time", || {
        let answer = tunnel_testkit::send(world.relay.http(), &post("hasty.relay.test", "/fine", b"{}"));
        (answer.status() == Some(200)).then_some(())
    });
}

#[test]
fn without_an_agent_healthie_is_told_to_try_again() {
    let world = World::new(AnswerMode::Passthrough);
    let answer = world.deliver("/hook", b"{}");
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(503), &"no-agent".into()));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(world.handler.received().len(), 0);
}

#[test]
fn without_an_agent_a_tunnel_may_spool_instead() {
    let mut world = World::new(AnswerMode::Passthrough);
    world.relay.run(&["tunnel", "add", "patient", "--answer", "passthrough", "--when-away", "spool"]).ok();
    let token = world.relay.token("patient");
    world.agent = world.stage.agent("patient").relay(&world.relay.url(), &token).target(&world.handler.url());
    world.agent.start();
    let hook = |body: &[u8]| tunnel_testkit::send(world.relay.http(), &post("patient.relay.test", "/hook", body));
    assert_eq!((hook(b"1").status(), hook(b"1").text().as_str()), (Some(200), "ok\n"));
    world.agent.terminate();
    let answer = tunnel_testkit::eventually("the relay to see that the agent has gone", || {
        let answer = tunnel_testkit::send(world.relay.http(), &post("patient.relay.test", "/hook", b"2"));
        (answer.status() == Some(200)).then_some(answer)
    });
    assert_eq!(answer.json()["received"], true);
    world.agent.start();
    let got = world.handler.wait_for(3);
    assert_eq!(got[2].message.text(), "2");
}
