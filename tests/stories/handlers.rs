//! Handlers in Node and Python that verify as Healthie's own samples do: untouched deliveries pass by host; by path the copy is signed
//! again for the path that the handler sees, unless the developer wants it as sent.

use std::net::SocketAddr;

use serde_json::Value;
use tunnel_stories::{ForeignHandler, SECRET, Sender, TUNNEL, World, signed};
use tunnel_testkit::AnswerMode;

const BODY: &str =
    r#"{"resource_id":"88","resource_id_type":"Task","event_type":"task.updated","changed_fields":["complete"]}"#;

/// A delivery that is addressed to the tunnel by the path of the relay's own host.
fn by_path(to: SocketAddr, profile: &str, target: &str) -> Value {
    let mut job = signed(to, profile, &format!("/t/{TUNNEL}{target}"), BODY);
    job["host"] = to.to_string().into();
    job
}

fn verifies(handler: &str, sender: Sender, profile: &str) {
    let handler = ForeignHandler::start(handler);
    let mut world = World::new(AnswerMode::Ack);
    let agent = |name: &str| {
        world.stage.agent(name).relay(&world.relay.url(), &world.token).target(&handler.url()).secret(SECRET)
    };
    let (default, as_sent) = (agent("default"), agent("as-sent").with(&["--forward-as", "sent"]));
    let to = world.relay.http();
    let mut sender = sender;
    world.agent = default;
    world.agent.start();

    let mut judged = 0;
    let mut told = |agent: &tunnel_testkit::Agent, attempts: usize| -> (Value, Value) {
        let attempt = agent.wait_lines("attempt", attempts).remove(attempts - 1);
        let judgement = handler.judged(judged);
        judged += 1;
        assert_eq!(attempt["status"], judgement["status"], "{attempt} {judgement}");
        (attempt, judgement)
    };

    for (n, target) in ["/hooks/healthie", "/hooks/healthie?tenant=a%20b", "/"].into_iter().enumerate() {
        sender.send(&signed(to, profile, target, BODY));
        let (attempt, judgement) = told(&world.agent, n + 1);
        assert_eq!((&attempt["status"], &attempt["resigned"]), (&200.into(), &false.into()), "{judgement}");
        assert_eq!(judgement["target"], target);
    }
    for (n, target) in ["/hooks/healthie", "/hooks/healthie?tenant=a%20b"].into_iter().enumerate() {
        sender.send(&by_path(to, profile, target));
        let (attempt, judgement) = told(&world.agent, n + 4);
        assert_eq!((&attempt["status"], &attempt["resigned"]), (&200.into(), &true.into()), "{judgement}");
        assert_eq!(judgement["target"], target);
    }
    // What is not valid is never made so.
    let mut tampered = by_path(to, profile, "/hooks");
    tampered["sent_body"] = BODY.replace("88", "89").into();
    sender.send(&tampered);
    let (attempt, _) = told(&world.agent, 6);
    assert_eq!((&attempt["status"], &attempt["resigned"]), (&401.into(), &false.into()));

    world.agent.terminate();
    world.agent = as_sent.with(&["--since", "now"]);
    world.agent.start();
    sender.send(&by_path(to, profile, "/hooks"));
    let (attempt, judgement) = told(&world.agent, 1);
    assert_eq!((&attempt["status"], &attempt["resigned"]), (&401.into(), &false.into()));
    assert_eq!(judgement["why"], "signature mismatch");
    let shown = world.agent.show_attempted("latest", 1);
    assert_eq!(shown["signature"]["status"], "valid");
    assert_eq!((&shown["attempts"][0]["status"], &shown["attempts"][0]["resigned"]), (&401.into(), &false.into()));
}

#[test]
fn the_guide_s_sample_in_node() {
    verifies("guide.mjs", Sender::python(), "guide");
}

#[test]
fn the_guide_s_sample_in_python() {
    verifies("guide.py", Sender::node(), "guide");
}

#[test]
fn the_scribe_s_sample_in_node() {
    verifies("scribe.mjs", Sender::python(), "scribe");
}

#[test]
fn the_scribe_s_sample_in_python() {
    verifies("scribe.py", Sender::node(), "scribe");
}
