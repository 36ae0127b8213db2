//! What the programs say while they work, at their most talkative: no body, no header's value, no token, no secret.

use tunnel_stories::{HOST, SECRET, Sender, TUNNEL, World, signed};
use tunnel_testkit::{Agent, AnswerMode, Handler, Reply, Stage, send};

const BODY_MARK: &str = "patient-3f9c0d";
const HEADER_MARK: &str = "cookie-77ab1e";
const ANSWER_MARK: &str = "answer-90d2fe";
const ANSWER_HEADER_MARK: &str = "set-51c0aa";

/// Everything that goes through the programs in one working day.
fn a_day(world: &World, agent: &Agent) {
    let body = format!(r#"{{"event_type":"task.created","resource_id":"1","who":"{BODY_MARK}"}}"#);
    let mut sender = Sender::python();
    for profile in ["guide", "scribe", "rfc9421"] {
        sender.send(&signed(world.relay.http(), profile, "/hook", &body));
        let mut by_path = signed(world.relay.http(), profile, &format!("/t/{TUNNEL}/hook"), &body);
        by_path["host"] = "relay.test".into();
        sender.send(&by_path);
    }
    let big = format!("{BODY_MARK} {}", "x".repeat(200_000));
    let head = format!(
        "POST /hook HTTP/1.1\r\nHost: {HOST}\r\nCookie: {HEADER_MARK}\r\nContent-Length: {}\r\n\r\n",
        big.len()
    );
    send(world.relay.http(), [head.as_bytes(), big.as_bytes()].concat().as_slice());
    // Refused ones are no reason to talk either.
    for broken in [
        format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\nHost: x\r\nCookie: {HEADER_MARK}\r\n\r\n{BODY_MARK}"),
        format!(
            "POST /hook HTTP/1.1\r\nHost: {HOST}\r\nCookie: {HEADER_MARK}\r\nContent-Length: 9999999\r\n\r\n{BODY_MARK}"
        ),
        format!("GET /agent/v1/{TUNNEL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {HEADER_MARK}\r\n\r\n"),
    ] {
        send(world.relay.http(), broken.as_bytes());
    }
    agent.wait_lines("attempt", 7);
}

fn nothing_slips_out(answer: AnswerMode) {
    let stage = Stage::new();
    let handler = Handler::answering(|_| Reply::Answer {
        status: 500,
        headers: vec![(b"Set-Cookie".to_vec(), ANSWER_HEADER_MARK.as_bytes().to_vec())],
        body: ANSWER_MARK.as_bytes().to_vec(),
    });
    let mut relay = stage.relay().with_arguments(&["--log-level", "trace"]);
    let token = relay.add_tunnel(TUNNEL, answer);
    relay.start();
    let mut agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).secret(SECRET);
    agent = agent.environment("HEALTHIE_TUNNEL_LOG", "trace");
    agent.start();
    let mut world = World { agent, relay, handler, token, stage };
    a_day(&world, &world.agent);
    assert!(world.agent.terminate().success());
    assert!(world.relay.terminate().success());

    let relay = String::from_utf8_lossy(&world.relay.server().printed()).into_owned();
    let agent = world.agent.process().messages().all().join("\n");
    assert!(relay.lines().count() > 8, "the relay was not talkative, so this shows nothing:\n{relay}");
    // The token's last part is the secret one.
    let token = world.token.rsplit('_').next().expect("a token has parts");
    for mark in [BODY_MARK, HEADER_MARK, ANSWER_MARK, ANSWER_HEADER_MARK, token, SECRET] {
        for (who, said) in [("relay", &relay), ("agent", &agent)] {
            let line = said.lines().find(|line| line.contains(mark));
            assert!(line.is_none(), "the {who} says {mark}: {line:?}");
        }
    }
}

#[test]
fn nothing_of_a_delivery_in_the_logs_in_ack() {
    nothing_slips_out(AnswerMode::Ack);
}

#[test]
fn nothing_of_a_delivery_in_the_logs_in_passthrough() {
    nothing_slips_out(AnswerMode::Passthrough);
}
