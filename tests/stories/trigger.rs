//! `trigger` sends what a developer needs to see without waiting for Healthie: many events, in any order, wrong ones, and scenarios.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;
use tunnel_stories::{ForeignHandler, HOST, SECRET, TUNNEL, World};
use tunnel_testkit::{AnswerMode, Authority, Binary, ClosedPort, Handler, Process, Ran, Reply, Stage};

/// A command that sends straight to a handler.
fn direct(stage: &Stage, target: &str, arguments: &[&str]) -> Command {
    let mut command = stage.program(Binary::Tunnel);
    command.args(["trigger", "--direct", target, "--secret", SECRET, "--data"]).arg(stage.data("trigger"));
    command.args(arguments);
    command
}

fn send(target: &str, arguments: &[&str]) -> Ran {
    Process::run("trigger", &mut direct(&Stage::new(), target, arguments))
}

/// The bodies that a handler got, in order.
fn bodies(handler: &Handler, count: usize) -> Vec<Value> {
    handler.wait_for(count).iter().map(|got| got.message.json()).collect()
}

#[test]
fn names_patterns_and_all() {
    let handler = Handler::start();
    let lines = send(&handler.url(), &["task.created", "care_plan.*", "--json"]).ok().json_lines();
    let names: Vec<_> = bodies(&handler, 6).iter().map(|b| b["event_type"].as_str().unwrap().to_owned()).collect();
    assert_eq!((names[0].as_str(), names.len()), ("task.created", lines.len() - 1));
    assert!(names[1..].iter().all(|n| n.starts_with("care_plan.")));
    let summary = &lines[names.len()]["summary"];
    assert_eq!((&summary["sent"], &summary["2xx"]), (&names.len().into(), &names.len().into()));

    let handler = Handler::start();
    let out = send(&handler.url(), &["all", "--rate", "500/s"]).ok().out();
    assert!(out.contains("182 sent: 182 2xx"), "{out}");
    assert_eq!(handler.received().len(), 182);
    // An unknown one among many: nothing is sent.
    let refused = send(&handler.url(), &["task.created", "tsak.updated"]).exits(2).err();
    assert!(refused.contains("task.updated"), "{refused}");
    send(&handler.url(), &["starship.*", "--force"]).exits(2);
    assert_eq!(handler.received().len(), 182);
    send(&handler.url(), &["tsak.updated", "--force"]).ok();
}

#[test]
fn fields_are_typed_and_nested() {
    let handler = Handler::start();
    let set =
        ["--set", "resource_id=7", "--set", "a.b[0].c=x", "--set", "changed_fields[1]=\"date\"", "--set", "n=null"];
    send(&handler.url(), &[&["appointment.updated"][..], &set].concat()).ok();
    let body = bodies(&handler, 1).remove(0);
    assert_eq!((&body["resource_id"], &body["a"]["b"][0]["c"]), (&7.into(), &"x".into()));
    assert_eq!((&body["changed_fields"][1], &body["n"]), (&"date".into(), &Value::Null));
    send(&handler.url(), &["appointment.updated", "--set", "resource_id.x=1"]).exits(2);
    send(&handler.url(), &["appointment.updated", "--set", "a[=1"]).exits(2);
    assert_eq!(handler.received().len(), 1);
}

#[test]
fn repeats_are_the_same_bytes_and_an_order_can_be_had_again() {
    let orders: Vec<Vec<Vec<u8>>> = (0..2)
        .map(|_| {
            let handler = Handler::start();
            let how = ["--count", "3", "--duplicate", "1", "--shuffle", "--seed", "12"];
            send(&handler.url(), &[&["task.created", "task.updated"][..], &how].concat()).ok();
            handler.wait_for(12).iter().map(|got| got.message.body.clone()).collect()
        })
        .collect();
    assert_eq!(orders[0], orders[1]);
    let mut distinct = orders[0].clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((orders[0].len(), distinct.len()), (12, 6));
    assert!(distinct.iter().all(|d| orders[0].iter().filter(|o| *o == d).count() == 2));

    // The first is overtaken.
    let handler = Handler::start();
    let begin = std::time::Instant::now();
    send(&handler.url(), &["task.created", "task.updated", "--late", "300ms"]).ok();
    let names: Vec<_> = bodies(&handler, 2).iter().map(|b| b["event_type"].clone()).collect();
    assert_eq!(names, ["task.updated", "task.created"]);
    // Not counted from the one that overtakes: on a busy machine that may have been read late.
    assert!(handler.wait_for(2)[1].at - begin >= std::time::Duration::from_millis(300));
}

#[test]
fn what_is_tampered_with_is_refused_by_handlers_in_python_and_node() {
    for (script, profile) in [("guide.py", "guide"), ("scribe.mjs", "scribe")] {
        let handler = ForeignHandler::start(script);
        let trigger = |more: &[&str]| {
            send(&handler.url(), &[&["task.created", "--profile", profile, "--path", "/hook"][..], more].concat())
        };
        trigger(&[]).ok();
        for how in ["body", "digest", "signature", "path", "headers"] {
            trigger(&["--tamper", how]).exits(1);
            trigger(&["--tamper", how, "--expect", "401"]).ok();
        }
        let refused = trigger(&["--unsigned", "--duplicate", "1", "--expect", "4xx"]).ok().out();
        assert!(refused.contains("2 sent: 0 2xx, 2 4xx; 2 as expected"), "{refused}");
        trigger(&["--tamper", "everything"]).exits(2);
    }
}

#[test]
fn what_is_edited_is_what_is_sent() {
    let stage = Stage::new();
    let handler = Handler::start();
    let script = |name: &str, text: &str| {
        let file = stage.work().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
        file
    };
    let edit = |editor: &str, more: &[&str]| {
        let arguments = [&["task.created", "--set", "resource_id=5", "--edit"][..], more].concat();
        Process::run("trigger", direct(&stage, &handler.url(), &arguments).env("EDITOR", editor))
    };
    let change = script("change", "test \"$1\" = --now && sed -i 's/\"resource_id\": 5/\"resource_id\": 66/' \"$2\"");
    // An editor with an argument, as `code --wait` is one.
    edit(&format!("{} --now", change.display()), &[]).ok();
    assert_eq!(bodies(&handler, 1)[0]["resource_id"], 66);
    edit(script("spoil", "echo 'not json' > \"$1\"").to_str().unwrap(), &[]).exits(2);
    edit(script("give-up", "exit 1").to_str().unwrap(), &[]).exits(2);
    edit("/nonexistent/editor", &[]).exits(2);
    edit("true", &["task.updated"]).exits(2);
    assert_eq!(handler.received().len(), 1);
    // Nothing stays behind.
    let left: Vec<_> = std::fs::read_dir(stage.temporary()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_scenario_is_told_in_its_order() {
    let stage = Stage::new();
    let file = stage.work().join("life.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(
        "title = \"An appointment that is moved\"\nresource_id = \"1204\"\n[[step]]\nevent = \"appointment.created\"\n\
         [[step]]\nevent = \"appointment.updated\"\nafter = \"200ms\"\nset = { changed_fields = [\"date\"] }\nexpect = 409\n",
    );
    let handler = Handler::answering(|request| match request.json()["event_type"].as_str() {
        Some("appointment.updated") => Reply::status(409, "moved"),
        _ => Reply::ok(),
    });
    let run = |more: &[&str]| {
        let arguments = [&["--scenario", file.to_str().unwrap()][..], more].concat();
        Process::run("trigger", &mut direct(&stage, &handler.url(), &arguments))
    };
    let out = run(&[]).ok().out();
    assert!(out.contains("2 sent: 1 2xx, 1 4xx; 2 as expected"), "{out}");
    let seen = handler.wait_for(2);
    assert!(seen[1].at - seen[0].at >= std::time::Duration::from_millis(200));
    let told = bodies(&handler, 2);
    assert!(told.iter().all(|b| b["resource_id"] == "1204"));
    assert_eq!(told[1]["changed_fields"], serde_json::json!(["date"]));
    run(&["--expect", "200"]).exits(1);
    run(&["--count", "2"]).exits(2);
    run(&["task.created"]).exits(2);
    write("title = \"x\"\n[[step]]\nevent = \"apointment.created\"\n");
    let refused = run(&[]).exits(2).err();
    assert!(refused.contains("life.toml:2") && refused.contains("appointment.created"), "{refused}");
    write("title = 5");
    run(&[]).exits(2);
    assert_eq!(handler.received().len(), 4);
}

#[test]
fn answers_are_counted_and_nobody_there_is_exit_3() {
    let handler = Handler::answering(|request| match request.json()["event_type"].as_str() {
        Some("task.created") => Reply::status(500, "down"),
        Some("task.updated") => Reply::Close,
        _ => Reply::ok(),
    });
    let ran = send(&handler.url(), &["task.created", "task.updated", "task.deleted", "--json"]).exits(1);
    let summary = ran.json_lines().pop().unwrap()["summary"].clone();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!((count("sent"), count("2xx"), count("5xx"), count("errors")), (3, 1, 1, 1), "{summary}");
    send(&ClosedPort::new().url(), &["task.created"]).exits(3);
}

#[test]
fn everything_works_through_a_running_agent_and_its_relay() {
    let world = World::connected(AnswerMode::Ack);
    let run = |arguments: &[&str]| world.agent.run(&[&["trigger"], arguments].concat());
    let lines = run(&["task.*", "--duplicate", "1", "--path", "/hook", "--rate", "50/s", "--json"]).ok().json_lines();
    let sent = lines.len() - 1;
    let delivered = world.agent.wait_lines("delivery", sent);
    assert!(delivered.iter().all(|d| d["signature"] == "valid"), "{delivered:?}");
    for how in [&["--tamper", "body"][..], &["--tamper", "path"], &["--tamper", "signature"], &["--unsigned"]] {
        // The relay verifies nothing: it takes them all.
        run(&[&["task.created"][..], how].concat()).ok();
    }
    let all = world.agent.wait_lines("delivery", sent + 4);
    let told: Vec<_> = all[sent..].iter().map(|d| d["signature"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["invalid", "invalid", "invalid", "unsigned"]);
}

#[test]
fn a_tunnel_whose_name_does_not_resolve_is_reached_by_the_relay_s_own() {
    let stage = Stage::new();
    let certificate = Authority::new("Story CA").server(stage.folder(), &[HOST]);
    let mut relay = stage.relay().with_tls(&certificate);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.start();
    // The relay tells the agent of https://team.relay.test, which no resolver knows; the agent is connected over plain HTTP.
    let handler = Handler::start();
    let mut agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).secret(SECRET);
    agent.start();
    let ran = agent.run(&["trigger", "task.created", "--path", "/hook"]).ok();
    let path = format!("/t/{TUNNEL}/hook");
    assert!(ran.err().contains(HOST) && ran.err().contains(&path) && ran.out().contains(&path), "{}", ran.err());
    let delivery = agent.wait_line("delivery");
    assert_eq!((&delivery["signature"], &delivery["event_type"]), (&"valid".into(), &"task.created".into()));
    assert_eq!(handler.wait_for(1)[0].message.target(), "/hook");
}

#[test]
fn every_shipped_scenario_is_told_to_a_handler_that_verifies() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenarios");
    let handler = ForeignHandler::start_with("checked.py", &["guide", "right"]);
    let mut told = 0;
    for entry in std::fs::read_dir(&folder).expect("fixtures/scenarios is there").flatten() {
        let file = entry.path();
        if file.extension().is_some_and(|e| e == "toml") {
            send(&handler.url(), &["--scenario", file.to_str().unwrap()]).ok();
            told += 1;
        }
    }
    assert!(told > 0);
}
