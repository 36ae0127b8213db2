//! Passthrough when something dies or goes away between the delivery and its answer: the sender gets exactly one answer within the tunnel's
//! limit, what the handler still says is recorded, and what was answered 2xx reaches every device.

use std::time::Duration;

use serde_json::Value;
use tunnel_stories::{HOST, TUNNEL, World, post};
use tunnel_testkit::{AnswerMode, Connection, Gate, Handler, HttpMessage, Reply, eventually, pass};

/// A handler that answers 200 once the gate is open.
fn gated() -> (Handler, Gate) {
    let gate = Gate::default();
    let shut = gate.clone();
    (Handler::answering(move |_| Reply::After(shut.clone(), Box::new(Reply::ok()))), gate)
}

/// Sends a delivery after whose answer the relay closes, so that a second one would be seen.
fn sent(world: &World, host: &str) -> Connection {
    let mut connection = Connection::open(world.relay.http());
    let request = format!("POST /hook HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
    connection.send(request.as_bytes());
    connection
}

/// The one answer, and the delivery's id.
#[track_caller]
fn only_answer(mut connection: Connection) -> (HttpMessage, String) {
    let answer = connection.answer();
    assert!(connection.rest().is_empty(), "something follows the answer");
    let id = answer.header("healthie-tunnel-delivery").expect("the relay names the delivery");
    (answer, id)
}

fn attempts(world: &World, id: &str) -> Vec<Value> {
    world.agent.show(id)["attempts"].as_array().cloned().unwrap_or_default()
}

#[test]
fn the_agent_dies_between_taking_and_answering() {
    let (handler, gate) = gated();
    let mut world = World::with_handler(AnswerMode::Passthrough, handler);
    world.agent.start();
    let connection = sent(&world, HOST);
    world.handler.wait_for(1);
    world.agent.wait_line("delivery");
    world.agent.kill();
    // At once, not when the tunnel's fifteen seconds are over: then it would be another answer.
    let (answer, id) = only_answer(connection);
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(502), &"agent-gone".into()));

    // It is stored, and not handed over again behind the sender's back: the sender was told, and sends again itself.
    gate.open();
    world.agent.start();
    assert_eq!(attempts(&world, &id), [Value::Null; 0]);
    assert_eq!(world.deliver("/hook", b"{}").status(), Some(200));
    assert_eq!(world.handler.wait_for(2).len(), 2);
    assert_eq!(world.agent.events(&[]).len(), 2);
}

#[test]
fn an_answer_that_comes_too_late_is_recorded() {
    let (handler, gate) = gated();
    let mut world = World::with_handler(AnswerMode::Passthrough, handler);
    world.relay.run(&["tunnel", "add", "hasty", "--answer", "passthrough", "--answer-within", "1s"]).ok();
    let token = world.relay.token("hasty");
    world.agent = world.stage.agent("hasty").relay(&world.relay.url(), &token).target(&world.handler.url());
    world.agent.start();
    let (answer, id) = only_answer(sent(&world, "hasty.relay.test"));
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(504), &"handler-timeout".into()));
    world.handler.wait_for(1);
    world.agent.wait_line("delivery");
    assert_eq!(attempts(&world, &id), [Value::Null; 0]);

    // The agent counts the second from when the delivery came to it, which may be some time after the relay sent it.
    pass(Duration::from_secs(2));
    gate.open();
    let shown = world.agent.show_attempted(&id, 1);
    let late = &shown["attempts"][0];
    assert_eq!((&late["status"], &late["error"]), (&200.into(), &Value::Null), "{late}");
    assert!(late["duration_ms"].as_f64() >= Some(1000.0), "{late}");
    // It is said that the sender had another answer by then.
    let warned = world.agent.wait_line("warning");
    assert!(warned["message"].as_str().is_some_and(|text| text.contains(&id)), "{warned}");
    eventually("an answer within the second", || {
        let answer = tunnel_testkit::send(world.relay.http(), &post("hasty.relay.test", "/hook", b"{}"));
        (answer.status() == Some(200)).then_some(())
    });
}

#[test]
fn the_sender_goes_away_and_nobody_minds() {
    let (handler, gate) = gated();
    let mut world = World::with_handler(AnswerMode::Passthrough, handler);
    world.agent.start();
    let connection = sent(&world, HOST);
    world.handler.wait_for(1);
    drop(connection);
    gate.open();
    let id = world.agent.wait_line("delivery")["id"].as_str().expect("an id").to_owned();
    assert_eq!(world.agent.show_attempted(&id, 1)["attempts"][0]["status"], 200);
    assert_eq!(world.deliver("/hook", b"{}").status(), Some(200));
    assert_eq!(world.agent.events(&[]).len(), 2);
}

#[test]
fn the_agent_that_answered_dies_and_the_other_has_it_too() {
    let mut world = World::new(AnswerMode::Passthrough);
    let member = |name: &str| {
        let agent = world.stage.agent(name).relay(&world.relay.url(), &world.token).target(&world.handler.url());
        agent.with(&["--device", name])
    };
    let (mut first, mut last) = (member("first"), member("last"));
    first.start();
    last.start();
    // The one that connected last answers; the other is asleep, and learns of it when it wakes.
    first.kill();
    let (answer, id) = only_answer(sent(&world, HOST));
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    last.kill();
    world.relay.kill();
    world.relay.start();
    first.change("--relay", &world.relay.url());
    first.start();
    eventually("the delivery at the other device", || {
        first.events(&["--tunnel", TUNNEL]).iter().any(|event| event["id"] == id.as_str()).then_some(())
    });
    // And the one that died keeps what it answered for.
    assert_eq!(last.show(&id)["id"], id.as_str());
}
