//! What is done with stored deliveries is in the agent's audit log, whoever did it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tunnel_stories::World;
use tunnel_testkit::{AnswerMode, eventually};

fn log(world: &World) -> Vec<Value> {
    world.agent.run(&["events", "audit", "--json"]).ok().json_lines()
}

#[test]
fn commands_beside_an_agent_and_without_one_are_noted() {
    let mut world = World::connected(AnswerMode::Ack);
    let id = world.accepted("/hook?token=secret", b"{}");
    eventually("the delivery", || (world.agent.events(&[]).len() == 1).then_some(()));
    assert!(log(&world).is_empty(), "receiving and forwarding are no news");
    let to = format!("{}/else", world.handler.url());
    world.agent.run(&["replay", &id, "--to", &to]).ok();
    world.agent.run(&["events", "export"]).ok();
    assert!(world.agent.terminate().success());
    let out = world.stage.folder().join("fixtures").display().to_string();
    world.agent.run(&["fixtures", "save", &id, &out]).ok();
    world.agent.run(&["events", "remove", &id, "--recent", "--yes"]).ok();
    world.agent.run(&["key", "export", "-"]).ok();
    let lines = log(&world);
    let said: Vec<_> = lines.iter().map(|l| (l["what"].as_str().unwrap(), l["by"].as_str().unwrap())).collect();
    let expected = [
        ("replayed", "api"),
        ("exported", "api"),
        ("saved-unscrubbed", "command"),
        ("removal-began", "command"),
        ("removed", "command"),
        ("keys-exported", "command"),
    ];
    assert_eq!(said, expected);
    assert_eq!(lines[0]["delivery"], id.as_str());
    assert_eq!(lines[0]["production"], false);
    assert!(lines[0]["program"].as_str().unwrap().starts_with("healthie-tunnel/"));
    assert!(lines[0]["target"].as_str().unwrap().ends_with("/else"), "{}", lines[0]);
    let file = world.agent.data().join("audit.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(file).unwrap();
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn what_cannot_be_noted_is_not_sent() {
    let world = World::connected(AnswerMode::Ack);
    let id = world.accepted("/hook", b"{}");
    world.handler.wait_for(1);
    eventually("the attempt", || (world.agent.show(&id)["attempts"].as_array()?.len() == 1).then_some(()));
    fs::create_dir(world.agent.data().join("audit.jsonl")).unwrap();
    let said = world.agent.run(&["replay", &id]).err();
    assert!(said.contains("audit log"), "{said}");
    assert_eq!(world.agent.show(&id)["attempts"].as_array().unwrap().len(), 1);
}
