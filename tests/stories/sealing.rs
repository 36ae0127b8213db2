//! Sealed tunnels: what the relay keeps can only be opened by the agents, who lose nothing by it, and are told what they cannot open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tunnel_stories::{HOST, TUNNEL, World};
use tunnel_testkit::{Agent, AnswerMode, Handler, Relay, Reply, eventually, pass, send};

const BODY_MARK: &str = "body-5f0e93c1";
const HEADER_MARK: &str = "header-1d77a0b4";
const PATH_MARK: &str = "path-c93e20ff";
const MARKS: [&str; 3] = [BODY_MARK, HEADER_MARK, PATH_MARK];

fn seal(relay: &Relay) {
    relay.run(&["tunnel", "set", TUNNEL, "--seal"]).ok();
}

/// A world whose tunnel is sealed.
fn sealed(answer: AnswerMode, handler: Handler) -> World {
    let stage = tunnel_testkit::Stage::new();
    let mut relay = stage.relay();
    let token = relay.add_tunnel(TUNNEL, answer);
    seal(&relay);
    relay.start();
    let agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url());
    World { agent, relay, handler, token, stage }
}

fn named(world: &World, name: &str) -> Agent {
    let agent = world.stage.agent(name).relay(&world.relay.url(), &world.token).with(&["--device", name]);
    agent.target(&world.handler.url())
}

/// Sends a delivery with all three marks, its body as long as that, and gives its id.
#[track_caller]
fn accepted(world: &World, len: usize) -> String {
    let body = format!("{{\"event_type\":\"task.created\",\"who\":\"{BODY_MARK}\",\"x\":\"{}\"}}", "x".repeat(len));
    let head = format!(
        "POST /hook/{PATH_MARK}?who={PATH_MARK} HTTP/1.1\r\nHost: {HOST}\r\nX-Who: {HEADER_MARK}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = send(world.relay.http(), [head.as_bytes(), body.as_bytes()].concat().as_slice());
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    answer.header("healthie-tunnel-delivery").expect("the relay names the delivery")
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Which marks stand in the raw bytes of which files: of the relay's data folder, and of where programs run, have their home and their temporary files, and
/// would leave a core.
fn found(world: &World) -> Vec<(String, &'static str)> {
    let stage = &world.stage;
    let folders = [world.relay.data().to_owned(), stage.work(), stage.temporary(), stage.home()];
    let mut found = Vec::new();
    for file in folders.iter().flat_map(|folder| files(folder)) {
        // A socket's or an agent's lock may go meanwhile.
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for mark in MARKS {
            if bytes.windows(mark.len()).any(|w| w == mark.as_bytes()) {
                found.push((file.file_name().unwrap_or_default().to_string_lossy().into_owned(), mark));
            }
        }
    }
    found
}

/// What is found at the relay while deliveries wait, after it was killed over them, and when all are taken.
fn traces(sealed: bool) -> [Vec<(String, &'static str)>; 3] {
    let stage = tunnel_testkit::Stage::new();
    let handler = Handler::start();
    let mut relay = stage.relay().with_arguments(&["--log-level", "trace"]);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.run(&["tunnel", "set", TUNNEL, if sealed { "--seal" } else { "--seal=no" }]).ok();
    relay.start();
    // A port that stays, whatever the relay's is.
    let door = tunnel_testkit::Proxy::start(relay.http());
    let agent = stage.agent("agent").relay(&door.url(), &token).target(&handler.url());
    let mut world = World { agent, relay, handler, token, stage };
    world.agent.start();
    assert!(world.agent.terminate().success());

    let ids: Vec<String> = [0, 10, 300_000, 10].map(|len| accepted(&world, len)).into();
    let waiting = found(&world);
    world.relay.kill();
    let killed = found(&world);
    let first_words = world.relay.server().printed();
    world.relay.start();
    door.lead_to(world.relay.http());

    world.agent.start();
    world.agent.wait_lines("attempt", ids.len());
    for id in &ids {
        let shown = world.agent.show(id);
        assert_eq!(shown["target"], format!("/hook/{PATH_MARK}?who={PATH_MARK}"));
        assert_eq!(shown["http_version"], "HTTP/1.1");
        let lines = shown["headers"].as_array().unwrap();
        assert!(lines.contains(&serde_json::json!(["X-Who", HEADER_MARK])), "{lines:?}");
        assert!(shown["body"]["text"].as_str().unwrap().contains(BODY_MARK));
    }
    let handed = world.handler.wait_for(ids.len());
    assert!(handed.iter().all(|r| r.message.text().contains(BODY_MARK)), "the handler sees what was sent");
    // And some that the spool never has for longer than a moment.
    (0..20).for_each(|_| drop(accepted(&world, 100)));
    world.agent.wait_lines("attempt", ids.len() + 20);
    assert!(world.agent.terminate().success());
    assert!(world.relay.terminate().success());

    let said = [first_words, world.relay.server().printed()].concat();
    let said = String::from_utf8_lossy(&said);
    for mark in MARKS {
        let line = said.lines().find(|line| line.contains(mark));
        assert!(line.is_none(), "the relay says {mark}: {line:?}");
    }
    [waiting, killed, found(&world)]
}

#[test]
fn nothing_of_a_sealed_delivery_is_left_at_the_relay() {
    for (what, traces) in ["while it waits", "after a kill", "when it was taken"].iter().zip(traces(true)) {
        assert!(traces.is_empty(), "{what}: {traces:?}");
    }
}

/// The same search finds everything where deliveries are not sealed; without this, the story above would show nothing.
#[test]
fn without_sealing_all_of_it_is_there() {
    let [waiting, killed, _] = traces(false);
    for traces in [waiting, killed] {
        for mark in MARKS {
            assert!(traces.contains(&("spool.redb".to_owned(), mark)), "{mark}: {traces:?}");
        }
    }
}

#[test]
fn nothing_is_taken_before_there_is_a_key() {
    let mut world = sealed(AnswerMode::Ack, Handler::start());
    let refused = world.deliver("/hook", BODY_MARK.as_bytes());
    assert_eq!(refused.status(), Some(503));
    assert!(refused.header("retry-after").is_some());
    assert!(refused.text().contains("no-key"), "{}", refused.text());
    assert_eq!(found(&world), []);
    world.agent.start();
    let id = world.accepted("/hook", BODY_MARK.as_bytes());
    assert_eq!(world.agent.wait_line("delivery")["id"], id);
    assert_eq!(world.agent.run(&["status", "--json"]).ok().json()["sealed"], true);
}

#[test]
fn a_handler_s_answer_comes_back_through_a_sealed_tunnel() {
    let handler = Handler::answering(|request| {
        assert_eq!(request.text(), "ask");
        Reply::status(202, "told")
    });
    let mut world = sealed(AnswerMode::Passthrough, handler);
    world.agent.start();
    let mut other = named(&world, "other");
    other.start();
    let answer = world.deliver("/hook", b"ask");
    assert_eq!((answer.status(), answer.text().as_str()), (Some(202), "told"));
    // Each has it, opened.
    for agent in [&world.agent, &other] {
        let id = agent.wait_line("delivery")["id"].as_str().unwrap().to_owned();
        assert_eq!(agent.show(&id)["body"]["text"], "ask");
    }
}

#[test]
fn a_device_that_joins_starts_from_now_and_is_told() {
    let mut world = sealed(AnswerMode::Ack, Handler::start());
    world.agent.start();
    let before = world.accepted("/hook", b"before");
    world.agent.wait_lines("delivery", 1);
    assert!(world.agent.terminate().success());
    let waits = world.accepted("/hook", b"waits for the first device");

    let mut late = named(&world, "late").with(&["--since", "1h"]);
    late.start();
    let warning = late.wait_line("warning")["message"].as_str().unwrap().to_owned();
    assert!(warning.contains("starts from now"), "{warning}");
    let both = world.accepted("/hook", b"for both");
    assert_eq!(late.wait_line("delivery")["id"], both);
    world.agent.start();
    let ids: Vec<Value> = world.agent.wait_lines("delivery", 2).into_iter().map(|d| d["id"].clone()).collect();
    assert_eq!(ids, [waits.as_str(), both.as_str()]);
    let stored = late.events(&[]);
    assert!(stored.iter().all(|e| e["id"] != before.as_str() && e["id"] != waits.as_str()), "{stored:?}");
}

#[test]
fn what_was_sealed_to_a_lost_key_is_kept_shut_and_opens_when_it_is_found() {
    let mut world = sealed(AnswerMode::Ack, Handler::start());
    world.agent.start();
    let copy = world.stage.folder().join("copy.keys");
    let copy = copy.to_str().unwrap();
    world.agent.run(&["key", "export", copy]).ok();
    assert!(world.agent.terminate().success());
    let shut = world.accepted("/hook", b"to the old key");

    std::fs::remove_file(world.agent.data().join("device.keys")).unwrap();
    world.agent.start();
    let told = world.agent.wait_line("unopened");
    assert_eq!((&told["id"], &told["kept"]), (&Value::from(shut.as_str()), &Value::from(true)));
    let warning = world.agent.wait_line("warning")["message"].as_str().unwrap().to_owned();
    assert!(warning.contains("another key"), "{warning}");
    // The stream goes on, and what stays shut is handed to nobody.
    let open = world.accepted("/hook", b"to the new key");
    let handed = world.handler.wait_for(1);
    assert_eq!(handed[0].message.text(), "to the new key");
    assert_eq!(world.agent.show(&shut)["http_version"], "sealed");
    let replayed = world.agent.run(&["replay", &shut, "--to", &world.handler.url()]);
    assert!(replayed.exits(1).err().contains("sealed"));
    assert_eq!(world.handler.received().len(), 1);

    // Not beside a running agent; with the key in a copy, and again, it is opened once.
    assert!(world.agent.run(&["key", "open"]).exits(2).err().contains("stop"));
    assert!(world.agent.terminate().success());
    let none = world.agent.run(&["key", "open", "--json"]).exits(1).json();
    assert_eq!((none["opened"].as_array().unwrap().len(), none["shut"][0]["id"].as_str()), (0, Some(shut.as_str())));
    world.agent.run(&["key", "import", copy]).ok();
    world.agent.run(&["events", "pin", &shut]).ok();
    world.agent.run(&["events", "note", &shut, "whose key is lost"]).ok();
    let opened = world.agent.run(&["key", "open", "--json"]).ok().json();
    let id = opened["opened"][0].as_str().unwrap().to_owned();
    let shown = world.agent.show(&id);
    assert_eq!(shown["body"]["text"], "to the old key");
    assert_eq!((&shown["pinned"], &shown["note"]), (&true.into(), &"whose key is lost".into()), "{shown}");
    assert_eq!(world.agent.run(&["key", "open", "--json"]).ok().json()["opened"], Value::Array(vec![]));
    let ids: Vec<Value> = world.agent.events(&[]).into_iter().map(|e| e["id"].clone()).collect();
    assert_eq!(ids, [open.as_str(), id.as_str()]);
    // Both keys open from now on.
    world.agent.start();
    world.accepted("/hook", b"to the old key again");
    world.handler.wait_for(2);
}

#[test]
fn turning_it_on_and_off_takes_effect_on_those_who_are_connected() {
    let mut world = World::connected(AnswerMode::Ack);
    // While it comes again it has no connection for a moment, which the exit code says.
    let is_sealed = |world: &World| world.agent.run(&["status", "--json"]).json()["sealed"].clone();
    assert_eq!(is_sealed(&world), false);
    for (on, argument) in [(true, "--seal"), (false, "--seal=no")] {
        world.relay.run(&["tunnel", "set", TUNNEL, argument]).ok();
        eventually("the agent to be told", || (is_sealed(&world) == on).then_some(()));
        world.accepted("/hook", argument.as_bytes());
    }
    world.handler.wait_for(2);
    assert!(world.agent.terminate().success());
    // What was sealed when it was on is so when it is off.
    seal(&world.relay);
    pass(Duration::from_secs(1));
    world.accepted("/hook", BODY_MARK.as_bytes());
    world.relay.run(&["tunnel", "set", TUNNEL, "--seal=no"]).ok();
    assert_eq!(found(&world), []);
    world.agent.start();
    world.handler.wait_for(3);
}

/// A token that ends takes its devices with it: nothing is kept for them any more, while the relay runs and when it comes back.
#[test]
fn a_device_goes_with_its_token() {
    let mut world = sealed(AnswerMode::Ack, Handler::start());
    world.agent.start();
    let token = |name: &str| world.relay.run(&["token", "create", "--tunnel", TUNNEL, "--name", name]).ok().out();
    let id = |token: &str| token.split('_').nth(1).unwrap().to_owned();
    let (first, second) = (token("first"), token("second"));
    for (name, token) in [("first", &first), ("second", &second)] {
        let away = world.stage.agent(name).relay(&world.relay.url(), token.trim()).with(&["--device", name]);
        let mut away = away.target(&world.handler.url());
        away.start();
        assert!(away.terminate().success());
    }
    let accepted = world.accepted("/hook", b"for three");
    assert_eq!(world.agent.wait_line("delivery")["id"], accepted);
    let waiting = |world: &World| -> Vec<(String, u64)> {
        let devices = world.relay.run(&["tunnel", "devices", TUNNEL, "--json"]).ok().json();
        // Not the world's own agent.
        let away = devices.as_array().unwrap().iter().filter(|d| d["device"] == "first" || d["device"] == "second");
        away.map(|d| (d["device"].as_str().unwrap().to_owned(), d["waiting"].as_u64().unwrap())).collect()
    };
    assert_eq!(waiting(&world), [("first".to_owned(), 1), ("second".to_owned(), 1)]);
    world.relay.run(&["token", "revoke", &id(&first)]).ok();
    eventually("the first device to be let go", || (waiting(&world) == [("second".to_owned(), 1)]).then_some(()));

    // Without a relay that could see it. An agent that went on asking for it at the old port might meet another story's.
    assert!(world.agent.terminate().success());
    assert!(world.relay.terminate().success());
    world.relay.run(&["token", "withdraw", &id(&second), "--tunnel", TUNNEL]).ok();
    world.relay.start();
    eventually("the second device to be let go", || waiting(&world).is_empty().then_some(()));
    let audit = world.relay.run(&["audit", "--json"]).ok().out();
    assert!(audit.contains("its token was revoked; 1 waited for it"), "{audit}");
    assert!(audit.contains("withdrawn from its token; 1 waited for it"), "{audit}");
}
