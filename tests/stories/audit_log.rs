//! Who did what: a day of an operator and an agent as the audit log tells it, and that it tells no secret.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tunnel_stories::{TUNNEL, World};
use tunnel_testkit::{AnswerMode, eventually};

fn audit(world: &World, arguments: &[&str]) -> Vec<Value> {
    let out = world.relay.run(&[&["audit", "--json"], arguments].concat()).ok().out();
    out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn what(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["what"].as_str().unwrap()).collect()
}

/// Waits until that is the last line: a relay writes its lines aside, and a command that comes next may write its own before.
fn noted(world: &World, last: &str) {
    eventually("the relay's line", || (what(&audit(world, &[])).last() == Some(&last)).then_some(()));
}

#[test]
fn a_day_is_told_and_no_secret_with_it() {
    let mut world = World::new(AnswerMode::Ack);
    world.agent = world.agent.with(&["--device", "desk"]);
    world.agent.start();
    world.agent.run(&["answer", "passthrough"]).ok();
    noted(&world, "answer-changed");
    let id = world.token.split('_').nth(1).unwrap().to_owned();
    world.relay.run(&["tunnel", "add", "second"]).ok();
    world.relay.run(&["token", "grant", &id, "--tunnel", "second"]).ok();
    world.relay.run(&["token", "withdraw", &id, "--tunnel", "second"]).ok();
    let rotated = world.relay.run(&["token", "rotate", &id, "--keep-old", "1h"]).ok().out();
    assert!(world.agent.terminate().success());
    eventually("the agent is gone", || {
        world.relay.run(&["tunnel", "forget", TUNNEL, "desk"]).code.filter(|code| *code == 0)
    });
    noted(&world, "device-forgotten");
    world.relay.run(&["token", "revoke", &id]).ok();
    world.relay.run(&["tunnel", "remove", "second", "--yes"]).ok();
    // A command without a running relay writes it down just so.
    assert!(world.relay.terminate().success());
    world.relay.run(&["tunnel", "remove", TUNNEL, "--yes"]).ok();

    let all = audit(&world, &[]);
    assert_eq!(
        what(&all),
        [
            "tunnel-added",
            "token-created",
            "relay-started",
            "device-keyed",
            "agent-connected",
            "answer-changed",
            "tunnel-added",
            "token-granted",
            "token-withdrawn",
            "token-rotated",
            "agent-disconnected",
            "device-forgotten",
            "token-revoked",
            "tunnel-removed",
            "relay-stopped",
            "tunnel-removed",
        ]
    );
    assert!(all[3]["device"] == "desk" && all[3]["note"].as_str().unwrap().starts_with("full "), "{}", all[3]);
    let connected = &all[4];
    let expected = serde_json::json!(["agent", id, "127.0.0.1", [TUNNEL], "desk", "full"]);
    let names = ["by", "with_token", "from", "tunnels", "device", "note"];
    assert_eq!(Value::from(names.map(|name| connected[name].clone()).to_vec()), expected);
    let operator = owner(&world);
    assert!(all[0]["by"] == "operator" && all[0]["uid"] == operator, "{}", all[0]);
    assert!(all[11]["by"] == "operator" && all[11]["uid"] == operator, "asked of the running relay: {}", all[11]);
    assert_eq!(audit(&world, &["--tunnel", "second"]).len(), 4);
    assert!(audit(&world, &["--since", "2126-01-01T00:00:00Z"]).is_empty());
    assert_eq!(audit(&world, &["--since", "1h"]).len(), all.len());
    let told = world.relay.run(&["audit"]).ok().out();
    assert_eq!(told.lines().count(), all.len());

    let path = world.relay.data().join("audit.jsonl");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    for token in [world.token.as_str(), rotated.trim()] {
        assert!(!text.contains(token.rsplit('_').next().unwrap()), "a secret is in the audit log");
    }
}

/// The user that commands run as: whoever owns what they wrote.
fn owner(world: &World) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(world.relay.data().join("registry.json")).unwrap().uid()
}

#[test]
fn an_audit_log_that_cannot_be_written_is_told_and_stops_nothing() {
    let world = World::new(AnswerMode::Ack);
    let log = world.relay.data().join("audit.jsonl");
    eventually("the relay's first line", || {
        std::fs::read_to_string(&log).ok()?.contains("relay-started").then_some(())
    });
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    let mut world = world;
    world.agent.start();
    world.accepted("/hook", b"all the same");
    world.agent.wait_line("delivery");
    let ran = world.relay.run(&["token", "create", "--tunnel", TUNNEL]);
    assert!(ran.ok().err().contains("AUDIT LOG CANNOT BE WRITTEN"));
    eventually("the relay's word", || {
        String::from_utf8_lossy(&world.relay.server().printed()).contains("AUDIT LOG CANNOT BE WRITTEN").then_some(())
    });
    std::fs::remove_dir(&log).unwrap();
    assert!(world.agent.terminate().success());
    eventually("what was lost is counted", || what(&audit(&world, &[])).contains(&"lines-lost").then_some(()));
}
