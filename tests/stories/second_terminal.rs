//! While `listen` runs it owns the store, and every other command works from a second terminal; when it has ended they work on the store
//! itself, with the same words.

use std::process::Stdio;

use serde_json::Value;
use tunnel_stories::{SECRET, Sender, World, signed};
use tunnel_testkit::{AnswerMode, Handler, Process, Signal};

const BODY: &str =
    r#"{"resource_id":7,"resource_id_type":"Task","event_type":"task.updated","changed_fields":["complete"]}"#;

/// Two stored deliveries: a valid one of an event, and an unsigned one that is none. Gives the ids.
fn two_deliveries(world: &World) -> (String, String) {
    Sender::python().send(&signed(world.relay.http(), "guide", "/hook", BODY));
    let first = world.agent.wait_line("delivery")["id"].as_str().unwrap().to_owned();
    let second = world.accepted("/hook", b"no event");
    for id in [&first, &second] {
        world.agent.show_attempted(id, 1);
    }
    (first, second)
}

/// What must be the same with and without a running agent.
fn look_around(world: &World, event: &str, other: &str) {
    let ids = |filters: &[&str]| -> Vec<String> {
        let mut ids: Vec<_> =
            world.agent.events(filters).iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&[]), [event, other]);
    for filter in [
        &["--event", "task.*"][..],
        &["--resource", "Task:7"],
        &["--signature", "valid"],
        &["--text", "changed_fields"],
        &["--event", "task.*", "--status", "2xx", "--since", "1h", "--tunnel", "team"],
    ] {
        assert_eq!(ids(filter), [event], "{filter:?}");
    }
    assert_eq!(ids(&["--signature", "unsigned"]), [other]);
    assert_eq!(ids(&["--until", "1h"]), [""; 0]);

    assert_eq!(world.agent.show(event)["body"]["text"], BODY);
    let human = world.agent.run(&["events", "show", event]).ok().out();
    assert!(human.contains("task.updated") && human.contains("valid"), "{human}");
    let table = world.agent.run(&["events", "list"]).ok().out();
    assert!(table.contains("task.updated"), "{table}");
    assert!(!table.contains('\x1b'), "colour without a terminal: {table:?}");

    let verdict = world.agent.run(&["verify", event, "--json", "--secret", SECRET]).ok().json();
    assert_eq!(verdict["status"], "valid");
    let verdict = world.agent.run(&["verify", other, "--json", "--secret", SECRET]).exits(1).json();
    assert_eq!(verdict["status"], "unsigned");
    let explained = world.agent.run(&["verify", event, "--secret", SECRET]).ok().out();
    assert!(explained.contains("guide"), "{explained}");

    world.agent.run(&["events", "show", "01934b2e-5c1a-7000-8000-0123456789ab"]).exits(1);
    world.agent.run(&["events", "list", "--since", "yesterday-ish"]).exits(2);

    let waited = world.agent.run(&[
        "events",
        "wait",
        "--count",
        "1",
        "--event",
        "task.*",
        "--since",
        "1h",
        "--json",
        "--timeout",
        "20s",
    ]);
    assert!(waited.ok().out().contains(event));
    world
        .agent
        .run(&["events", "wait", "--count", "1", "--event", "goal.*", "--since", "1h", "--timeout", "1s"])
        .exits(1);
}

#[test]
fn the_commands_work_beside_listen_and_without_it() {
    let mut world = World::connected(AnswerMode::Ack);
    let (event, other) = two_deliveries(&world);
    look_around(&world, &event, &other);
    // The running agent knows the secret.
    assert_eq!(world.agent.run(&["verify", &event, "--json"]).ok().json()["status"], "valid");
    assert!(world.agent.terminate().success());
    look_around(&world, &event, &other);
    assert_eq!(world.agent.run(&["verify", &event, "--json"]).exits(1).json()["status"], "no-secret");
    world.agent.run(&["verify", &event, "--secret", "whsec_another"]).exits(1);
}

#[test]
fn replay_sends_again_and_records_it() {
    let mut world = World::connected(AnswerMode::Ack);
    let (event, _) = two_deliveries(&world);
    for round in 1..=2 {
        let elsewhere = Handler::start();
        world.agent.run(&["replay", &event, "--to", &elsewhere.url()]).ok();
        let got = elsewhere.wait_for(1).remove(0).message;
        assert_eq!((got.target(), got.text().as_str()), ("/hook", BODY));
        let attempts = world.agent.show(&event)["attempts"].clone();
        assert_eq!(attempts[round]["cause"], "replay");
        assert_eq!(attempts[round]["status"], 200);
        if round == 1 {
            assert!(world.agent.terminate().success());
        }
    }
    let down = Handler::answering(|_| tunnel_testkit::Reply::status(500, "no"));
    world.agent.run(&["replay", &event, "--to", &down.url()]).exits(1);
    assert_eq!(world.agent.show(&event)["attempts"][3]["status"], 500);
}

#[test]
fn replay_without_a_target_goes_to_listen_s_own() {
    let world = World::connected(AnswerMode::Ack);
    let (event, _) = two_deliveries(&world);
    world.agent.run(&["replay", &event]).ok();
    assert_eq!(world.handler.wait_for(3)[2].message.text(), BODY);
}

#[test]
fn trigger_goes_through_the_relay_like_a_real_delivery() {
    let world = World::connected(AnswerMode::Ack);
    world
        .agent
        .run(&["trigger", "appointment.updated", "--profile", "scribe", "--set", "resource_id=42", "--secret", SECRET])
        .ok();
    let delivery = world.agent.wait_line("delivery");
    assert_eq!((&delivery["event_type"], &delivery["resource_id"]), (&"appointment.updated".into(), &"42".into()));
    assert_eq!((&delivery["signature"], &delivery["profile"]), (&"valid".into(), &"scribe".into()));
    world.handler.wait_for(1);

    let list = world.agent.run(&["trigger", "--list"]).ok().out();
    assert!(list.contains("goal.deleted") && list.contains("goal.delated"), "{list}");
    let unknown = world.agent.run(&["trigger", "apointment.updated", "--secret", SECRET]).exits(2).err();
    assert!(unknown.contains("appointment.updated"), "{unknown}");
    assert_eq!(world.handler.received().len(), 1);

    // Straight to a handler, without any relay.
    let elsewhere = Handler::start();
    world
        .agent
        .run(&["trigger", "task.created", "--count", "3", "--direct", &elsewhere.url(), "--secret", SECRET])
        .ok();
    assert_eq!(elsewhere.wait_for(3).len(), 3);
}

#[test]
fn tail_and_wait_follow_what_comes() {
    let world = World::connected(AnswerMode::Ack);
    let mut command = world.agent.command(&["events", "tail", "--json"]);
    let mut tail = Process::spawn("tail", command.stdin(Stdio::null()));
    let mut command =
        world.agent.command(&["events", "wait", "--count", "2", "--event", "task.*", "--json", "--timeout", "60s"]);
    let mut wait = Process::spawn("wait", command.stdin(Stdio::null()));
    let mut sender = Sender::python();
    // They may not be there yet: what came before they were does not count for them.
    let seen = tunnel_testkit::eventually("tail and wait to see deliveries", || {
        sender.send(&signed(world.relay.http(), "guide", "/hook", BODY));
        (wait.has_ended() && !tail.lines().is_empty()).then(|| tail.lines().all())
    });
    assert!(wait.wait().success());
    let line: Value = serde_json::from_str(&seen[0]).unwrap();
    assert!(seen[0].contains("task.updated"), "{line}");
    tail.signal(Signal::TERM);
    tail.wait();
}

#[test]
fn a_second_listen_is_told_who_holds_the_store() {
    let mut world = World::connected(AnswerMode::Ack);
    let pid = world.agent.wait_line("ready")["pid"].to_string();
    let second = world.agent.refused().exits(2);
    assert!(second.err().contains(&pid), "{}", second.err());
    // After a crash nobody holds it.
    world.agent.kill();
    world.agent.start();
    world.accepted("/hook", b"{}");
    world.handler.wait_for(1);
}

#[test]
fn config_tells_where_each_value_is_from_and_no_secret() {
    let world = World::connected(AnswerMode::Ack);
    let file = world.stage.work().join("healthie-tunnel.toml");
    std::fs::write(&file, "timeout = \"7s\"\n").unwrap();
    let mut command = world.agent.command(&["config", "--json"]);
    command.env("HEALTHIE_WEBHOOK_SECRET", "whsec_never_shown").env("HEALTHIE_TUNNEL_TOKEN", &world.token);
    let shown = Process::run("config", &mut command).ok();
    let text = shown.json().to_string();
    assert!(text.contains("HEALTHIE_WEBHOOK_SECRET") && text.contains("healthie-tunnel.toml"), "{text}");
    for secret in ["never_shown", &world.token] {
        assert!(!text.contains(secret) && !shown.err().contains(secret), "{secret} is shown: {text}");
    }
    std::fs::write(&file, "timeoout = \"7s\"\n").unwrap();
    let refused = world.agent.run(&["config"]).exits(2).err();
    assert!(refused.contains("timeoout") && refused.contains("healthie-tunnel.toml"), "{refused}");
}

/// A follower with a query is told what fits, also by what an attempt makes of it; figures, files and removals are those of the running agent.
#[test]
fn stored_deliveries_are_counted_compared_and_removed_beside_listen_and_without_it() {
    let mut world = World::connected(AnswerMode::Ack);
    let wait =
        ["events", "wait", "status:2xx type:Task", "-text:nothing", "--since", "1h", "--timeout", "60s", "--json"];
    let wait = world.agent.command(&wait).stdout(Stdio::piped()).spawn().unwrap();
    let (event, other) = two_deliveries(&world);
    let waited = wait.wait_with_output().unwrap();
    assert!(waited.status.success(), "{waited:?}");
    assert_eq!(serde_json::from_slice::<Value>(&waited.stdout).unwrap()["id"], event.as_str());
    for round in 0..2 {
        // First of all: they are recent for a minute.
        let stays = world.agent.run(&["events", "remove", "--yes", "--json", "--all"]).exits(1).json();
        assert_eq!(stays["recent"], 2, "{stays}");
        let stats = world.agent.run(&["events", "stats", "--json", "--by", "signature"]).ok().json();
        assert_eq!(
            (&stats["total"]["deliveries"], stats["groups"].as_array().unwrap().len()),
            (&2.into(), 2),
            "{stats}"
        );
        let exported = world.agent.run(&["events", "export", "type:Task"]).ok().json();
        assert_eq!(exported["id"], event.as_str());
        assert_eq!(world.agent.run(&["diff", &event, &other, "--json"]).exits(1).json()["same"], false);
        world.agent.run(&["events", "note", &event, "round", &round.to_string()]).ok();
        assert_eq!(world.agent.show(&event)["note"], format!("round {round}"));
        if round == 0 {
            assert!(world.agent.terminate().success());
        }
    }
    world.agent.run(&["events", "pin", &event]).ok();
    let done = world.agent.run(&["events", "remove", "--yes", "--json", "--recent", "--all"]).ok().json();
    assert_eq!((&done["removed"], &done["pinned"]), (&1.into(), &1.into()));
    assert_eq!(world.agent.events(&[]).len(), 1);
}
