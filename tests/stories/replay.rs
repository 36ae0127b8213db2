//! Many deliveries are sent again beside a running agent: some fail, and one replay is stopped in the middle and gone on with.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;
use tunnel_stories::World;
use tunnel_testkit::{AnswerMode, Gate, Handler, HttpMessage, Process, Received, Reply, Signal};

const MANY: usize = 200;

fn body(n: usize) -> String {
    format!(r#"{{"event_type":"task.updated","resource_id":"{n}","resource_id_type":"Task"}}"#)
}

fn number(message: &HttpMessage) -> usize {
    let json = message.json();
    json["resource_id"].as_str().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("whose is {json}?"))
}

/// How often each came.
fn came(received: &[Received]) -> BTreeMap<usize, usize> {
    let mut came = BTreeMap::new();
    received.iter().for_each(|r| *came.entry(number(&r.message)).or_default() += 1);
    came
}

fn each_once() -> BTreeMap<usize, usize> {
    (0..MANY).map(|n| (n, 1)).collect()
}

fn stored() -> World {
    let world = World::connected(AnswerMode::Ack);
    (0..MANY).for_each(|n| drop(world.accepted("/hook", body(n).as_bytes())));
    world.handler.wait_for(MANY);
    world
}

#[test]
fn two_hundred_are_sent_again_and_what_fails_is_sent_once_more() {
    let world = stored();
    let picky = Handler::answering(|m| match number(m) % 25 {
        7 => Reply::status(503, "not now"),
        13 => Reply::Close,
        _ => Reply::ok(),
    });
    let url = picky.url();
    let ran = world.agent.run(&["replay", "event:task.*", "--concurrency", "8", "--to", &url, "--json"]).exits(1);
    assert_eq!(came(&picky.received().all()), each_once());
    let lines = ran.json_lines();
    let summary = &lines[MANY]["summary"];
    let counts = ["sent", "2xx", "5xx", "failed"].map(|name| summary[name].as_u64());
    assert_eq!(counts, [200, 184, 8, 16].map(Some), "{summary}");
    assert_eq!(summary["errors"]["closed"], 8);

    let mended = Handler::start();
    let said = world.agent.run(&["replay", "status:failed", "--to", &mended.url()]).ok().out();
    assert!(said.contains("16 sent: 16 2xx"), "{said}");
    assert!(came(&mended.received().all()).keys().all(|n| [7, 13].contains(&(n % 25))));
    assert_eq!(world.handler.received().len(), MANY, "a replay went where nobody pointed it");
}

#[test]
fn one_that_is_stopped_says_how_to_go_on_and_that_sends_exactly_the_rest() {
    let world = stored();
    let gate = Gate::default();
    let (shut, count) = (gate.clone(), std::sync::atomic::AtomicUsize::new(0));
    let handler = Handler::answering(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        n if n < 50 => Reply::ok(),
        _ => Reply::After(shut.clone(), Box::new(Reply::ok())),
    });
    let to = handler.url();
    let arguments = ["replay", "since:beginning", "--concurrency", "4", "--to", &to, "--json"];
    let mut command = world.agent.command(&arguments);
    let mut replay = Process::spawn("replay", command.stdin(Stdio::null()));
    handler.wait_for(54);
    replay.signal(Signal::INT);
    replay.messages().wait("it to say that it waits", |lines| {
        lines.iter().any(|l| l.contains("waiting for 4 under way")).then_some(())
    });
    gate.open();
    assert_eq!(replay.wait().code(), Some(1));
    let last = replay.lines().all().pop().unwrap_or_default();
    let summary: Value =
        serde_json::from_str::<Value>(&last).unwrap_or_else(|e| panic!("{e}: {last}"))["summary"].clone();
    assert_eq!((&summary["sent"], &summary["left"]["requests"]), (&54.into(), &146.into()), "{summary}");
    let after = summary["left"]["after"].as_str().expect("where to go on");
    let told = replay.messages().all().join("\n");
    assert!(told.contains(&format!("--after {after}")), "{told}");

    world.agent.run(&[&arguments[..], &["--after", after]].concat()).ok();
    assert_eq!(came(&handler.received().all()), each_once());
}
