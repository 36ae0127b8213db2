//! The signed requests under fixtures/signatures, sent as they are: what is stored says of each what its index says. One agent for each
//! list of secrets, all on one tunnel: each gets every delivery.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tunnel_testkit::{Agent, AnswerMode, Connection, HttpMessage, Stage};

#[test]
fn every_fixture_is_judged_as_its_index_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/signatures");
    let index = std::fs::read(folder.join("index.json")).expect("fixtures/signatures has an index");
    let mut index: BTreeMap<String, Value> = serde_json::from_slice(&index).expect("the index is a JSON object");
    let read = |name: &String| std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let before = index.len();
    index.retain(|name, _| is_one_request(&read(name)));
    assert!(before - index.len() <= 3 && index.len() > 50, "{} of {before} can be sent", index.len());

    let stage = Stage::new();
    // Their Host line is `Relay.Example.com`, and some signatures cover it.
    let mut relay = stage.relay().with_domain("example.com");
    let token = relay.add_tunnel("relay", AnswerMode::Ack);
    relay.start();
    let mut agents: BTreeMap<String, Agent> = BTreeMap::new();
    for case in index.values() {
        let name = format!("agent-{}", agents.len());
        agents.entry(case["secrets"].to_string()).or_insert_with(|| {
            let secrets = case["secrets"].as_array().expect("a list of secrets");
            let agent = stage.agent(&name).relay(&relay.url(), &token).with(&["--no-forward"]);
            let mut agent = secrets.iter().fold(agent, |a, s| a.secret(s.as_str().expect("a secret is text")));
            agent.start();
            agent
        });
    }

    let mut connection = Connection::open(relay.http());
    let mut sent = BTreeMap::new();
    for name in index.keys() {
        connection.send(&read(name));
        let answer = connection.answer();
        assert_eq!(answer.status(), Some(200), "{name}: {}", answer.text());
        sent.insert(name.clone(), answer.header("healthie-tunnel-delivery").expect("the relay names the delivery"));
    }
    for agent in agents.values() {
        agent.wait_lines("delivery", sent.len());
    }
    for (name, case) in &index {
        let seen = agents[&case["secrets"].to_string()].show(&sent[name]);
        assert_eq!(seen["signature"]["status"], case["status"], "{name}: {}", seen["signature"]);
        if case["status"] == "valid" {
            assert_eq!(seen["signature"]["profile"], case["profile"], "{name}: {}", seen["signature"]);
            assert_eq!(seen["signature"]["variant"], case["variant"], "{name}: {}", seen["signature"]);
        }
    }
}

/// Whether the request is as long as it says. One with another Content-Length than its body's is something to verify, and cannot arrive:
/// on the wire it is a shorter request and the beginning of the next.
fn is_one_request(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    matches!(HttpMessage::read(&mut rest), Ok(Some(_))) && rest.is_empty()
}
