//! Which delivery goes to which handler: patterns of events, a target of one's own path, and what is only kept.

use serde_json::Value;
use tunnel_stories::{HOST, Sender, World, post, signed};
use tunnel_testkit::{Agent, AnswerMode, Handler, send};

fn body(event: &str) -> String {
    format!(r#"{{"event_type":"{event}","resource_id":1}}"#)
}

/// The stored delivery of an event, once there is one.
fn stored(agent: &Agent, event: &str) -> Value {
    let what = format!("a delivery of {event}");
    let line =
        agent.lines().wait(&what, |l| l.iter().find(|l| l["type"] == "delivery" && l["event_type"] == event).cloned());
    agent.show(line["id"].as_str().expect("an id"))
}

#[test]
fn the_first_pattern_that_matches_decides() {
    let mut world = World::new(AnswerMode::Ack);
    let (appointments, deleted) = (Handler::start(), Handler::start());
    let to_appointments = format!("appointment.*={}/hooks/healthie", appointments.url());
    let to_deleted = format!("*.deleted={}", deleted.url());
    world.agent = world.agent.with(&["--forward", &to_appointments, "--forward", &to_deleted]);
    world.agent.start();
    for event in ["appointment.deleted", "task.deleted", "task.created", "something.nobody.documented"] {
        world.accepted("/in?x=1", body(event).as_bytes());
    }
    world.accepted("/in?x=1", b"not an event");
    let seen = |handler: &Handler, count: usize| -> Vec<String> {
        let mut seen: Vec<_> =
            handler.wait_for(count).iter().map(|r| format!("{} {}", r.message.target(), r.message.text())).collect();
        seen.sort();
        seen
    };
    // A target with a path of its own keeps it, and the delivery's query.
    assert_eq!(seen(&appointments, 1), [format!("/hooks/healthie?x=1 {}", body("appointment.deleted"))]);
    assert_eq!(seen(&deleted, 1), [format!("/in?x=1 {}", body("task.deleted"))]);
    assert_eq!(
        seen(&world.handler, 3),
        [
            "/in?x=1 not an event".to_owned(),
            format!("/in?x=1 {}", body("something.nobody.documented")),
            format!("/in?x=1 {}", body("task.created")),
        ]
    );
    world.agent.wait_lines("attempt", 5);
    assert_eq!((appointments.received().len(), deleted.received().len()), (1, 1));
}

#[test]
fn what_is_not_wanted_is_kept_and_not_forwarded() {
    let mut world = World::new(AnswerMode::Ack);
    world.agent = world.agent.with(&["--events", "task.*", "--skip-invalid"]);
    world.agent.start();
    let mut sender = Sender::python();
    let mut give = |event: &str, tampered: bool| {
        let mut job = signed(world.relay.http(), "guide", "/hook", &body(event));
        if tampered {
            job["sent_body"] = body(event).replace('1', "2").into();
        }
        assert_eq!(sender.send(&job)["status"], 200);
    };
    give("appointment.created", false);
    give("task.updated", true);
    give("task.created", false);
    assert_eq!(world.handler.wait_for(1)[0].message.text(), body("task.created"));
    for (event, signature) in [("appointment.created", "valid"), ("task.updated", "invalid")] {
        let stored = stored(&world.agent, event);
        assert_eq!((&stored["signature"]["status"], &stored["attempts"]), (&signature.into(), &Value::Array(vec![])));
    }
    assert_eq!(stored(&world.agent, "task.created")["signature"]["status"], "valid");
    assert_eq!(world.handler.received().len(), 1);
}

#[test]
fn in_passthrough_the_sender_is_told_that_nothing_was_forwarded() {
    let mut world = World::new(AnswerMode::Passthrough);
    world.agent = world.agent.with(&["--no-forward"]);
    world.agent.start();
    let answer = send(world.relay.http(), &post(HOST, "/hook", b"{}"));
    assert_eq!((answer.status(), &answer.json()["error"]), (Some(502), &"not-forwarded".into()));
    assert_eq!(world.agent.events(&[]).len(), 1);
    assert_eq!(world.handler.received().len(), 0);
}

#[test]
fn each_agent_of_a_tunnel_gets_every_delivery() {
    let mut world = World::connected(AnswerMode::Ack);
    let handler = Handler::start();
    let mut colleague =
        world.stage.agent("colleague").relay(&world.relay.url(), &world.relay.token("team")).target(&handler.url());
    colleague.start();
    for n in 0..5 {
        world.accepted("/hook", n.to_string().as_bytes());
    }
    world.handler.wait_for(5);
    handler.wait_for(5);
    // One who is away gets them later, and the other not again.
    assert!(colleague.terminate().success());
    world.accepted("/hook", b"5");
    world.handler.wait_for(6);
    colleague.start();
    assert_eq!(handler.wait_for(6)[5].message.text(), "5");
    assert!(world.agent.terminate().success());
    assert_eq!(world.handler.received().len(), 6);
}
