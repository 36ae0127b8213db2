//! What a token opens, and that every change of it is felt at once by whoever is connected with it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tunnel_stories::{TUNNEL, World};
use tunnel_testkit::{Agent, AnswerMode, HttpMessage, Relay, eventually, send};

/// The public part of a token.
fn id(token: &str) -> &str {
    token.split('_').nth(1).expect("a token has parts")
}

fn agent(world: &World, name: &str, token: &str) -> Agent {
    let agent = world.stage.agent(name).relay(&world.relay.url(), token).with(&["--device", name]);
    agent.target(&world.handler.url())
}

/// What a command prints that makes a token.
#[track_caller]
fn made(relay: &Relay, arguments: &[&str]) -> String {
    relay.run(arguments).ok().out().trim().to_owned()
}

fn listed(relay: &Relay, token: &str) -> Value {
    let list = relay.run(&["token", "list", "--json"]).ok().json();
    list.as_array().unwrap().iter().find(|t| t["id"] == id(token)).cloned().expect("it is listed")
}

/// The upgrade, as an agent asks for it.
fn knock(to: SocketAddr, path: &str, token: &str) -> HttpMessage {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    send(to, request.as_bytes())
}

/// Runs a command that must end the agent's session, and gives what the agent was told and how long after the command.
#[track_caller]
fn ends(world: &World, agent: &Agent, arguments: &[&str]) -> (String, Duration) {
    let already = agent.lines().all().len();
    world.relay.run(arguments).ok();
    let done = Instant::now();
    let told = agent.wait_state("waiting", already);
    (told["reason"].as_str().unwrap().to_owned(), done.elapsed())
}

#[test]
fn revoking_withdrawing_and_rotating_end_sessions_at_once_and_say_why() {
    let world = World::new(AnswerMode::Ack);
    world.relay.run(&["tunnel", "add", "second"]).ok();
    let mut took = Vec::new();
    for (command, said) in [("revoke", "revoked"), ("withdraw", "withdrawn"), ("rotate", "replaced by a new one")] {
        let token = made(&world.relay, &["token", "create", "--tunnel", TUNNEL, "--tunnel", "second"]);
        let mut at_team = agent(&world, &format!("{command}-1"), &token).with(&["--tunnel", TUNNEL]);
        let mut at_second = agent(&world, &format!("{command}-2"), &token).with(&["--tunnel", "second"]);
        at_team.start();
        at_second.start();
        let mut arguments = vec!["token", command, id(&token)];
        if command == "withdraw" {
            arguments.extend(["--tunnel", TUNNEL]);
        }
        let (reason, after) = ends(&world, &at_team, &arguments);
        assert!(reason.contains(said), "{command}: {reason}");
        took.push(after);
        // It tries again, is refused, and ends.
        assert!(!at_team.process().wait().success());
        if command == "withdraw" {
            let devices = world.relay.run(&["tunnel", "devices", "second", "--json"]).ok().json();
            let still =
                devices.as_array().unwrap().iter().any(|d| d["device"] == "withdraw-2" && d["connected"] == true);
            assert!(still, "the other tunnel is none of it: {devices}");
        } else {
            assert!(!at_second.process().wait().success());
        }
    }
    // Mostly before the command has ended: it asks the relay to look. Left to its own look at the file it would take half a second at most. The rest is
    // the machine's.
    assert!(took.iter().all(|after| *after < Duration::from_secs(15)), "{took:?}");
}

#[test]
fn a_rotated_secret_works_for_as_long_as_was_said() {
    let world = World::new(AnswerMode::Ack);
    let mut old = agent(&world, "old", &world.token);
    old.start();
    let token = made(&world.relay, &["token", "rotate", id(&world.token), "--keep-old", "20s"]);
    assert!(token != world.token && id(&token) == id(&world.token));
    let mut new = agent(&world, "new", &token);
    new.start();
    assert_eq!(knock(world.relay.http(), "/agent/v1", &world.token).status(), Some(101), "the old one works still");
    assert!(listed(&world.relay, &token)["old_works_until"].is_string());
    world.accepted("/hook", b"to both");
    old.wait_line("delivery");
    new.wait_line("delivery");
    let told = old.lines().wait("the end of the old one's time", |lines| {
        lines.iter().find(|l| l["type"] == "connection" && l["state"] == "waiting").cloned()
    });
    assert!(told["reason"].as_str().unwrap().contains("replaced"), "{told}");
    assert!(!old.process().wait().success());
    assert_eq!(knock(world.relay.http(), "/agent/v1", &world.token).status(), Some(401));
    world.accepted("/hook", b"to the new one");
    new.wait_lines("delivery", 2);
    assert!(listed(&world.relay, &token)["last_used"].is_string());
}

#[test]
fn a_token_that_ends_takes_its_sessions_along() {
    let world = World::new(AnswerMode::Ack);
    let token = made(&world.relay, &["token", "create", "--tunnel", TUNNEL, "--expires", "20s", "--name", "a visitor"]);
    let mut visitor = agent(&world, "visitor", &token);
    visitor.start();
    let told = visitor.wait_state("waiting", 0);
    assert!(told["reason"].as_str().unwrap().contains("expired"), "{told}");
    assert!(!visitor.process().wait().success());
    let shown = listed(&world.relay, &token);
    assert!(shown["expired"] == true && shown["name"] == "a visitor", "{shown}");
    let over = world.relay.run(&["token", "create", "--tunnel", TUNNEL, "--expires", "2020-01-01T00:00:00Z"]);
    assert!(over.exits(2).err().contains("over already"));
}

#[test]
fn who_has_several_tunnels_must_say_which_and_learns_of_no_others() {
    let world = World::new(AnswerMode::Ack);
    world.relay.add_tunnel("strangers", AnswerMode::Ack);
    world.relay.run(&["tunnel", "add", "second"]).ok();
    world.relay.run(&["token", "grant", id(&world.token), "--tunnel", "second"]).ok();
    let ran = agent(&world, "which", &world.token).refused();
    assert!(matches!(ran.code, Some(1..=3)), "{:?}", ran.code);
    let said = ran.err();
    assert!(said.contains("second, team") && said.contains("--tunnel") && !said.contains("strangers"), "{said}");
    let mut second = agent(&world, "second", &world.token).with(&["--tunnel", "second"]);
    assert_eq!(second.start().wait_line("ready")["tunnel"], "second");
    // A stranger's, and one that never was.
    let answers =
        ["strangers", "nobodys"].map(|name| knock(world.relay.http(), &format!("/agent/v1/{name}"), &world.token));
    let [strangers, nobodys] = &answers;
    let plain = |answer: &HttpMessage| {
        let lines = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(b"date"));
        let lines: Vec<_> =
            lines.map(|(n, v)| (n.clone(), if n == b"x-request-id" { vec![] } else { v.clone() })).collect();
        (answer.first.clone(), lines, answer.body.clone())
    };
    assert_eq!(plain(strangers), plain(nobodys));
    assert_eq!(strangers.status(), Some(401));
}

/// The quick ones of many rounds over real connections, held to what no machine's moods explain. That each refusal does the same work is counted beside
/// the registry's code.
#[test]
fn a_refusal_s_time_does_not_tell_what_there_is() {
    let mut world = World::new(AnswerMode::Ack);
    assert!(world.relay.terminate().success());
    world.relay = world.relay.with_arguments(&["--failed-attempts", "100000"]);
    world.relay.start();
    world.relay.add_tunnel("other", AnswerMode::Ack);
    let wrong = format!("{}{}", &world.token[..16], "0".repeat(64));
    let unknown = format!("ht_{}_{}", "a".repeat(12), "0".repeat(64));
    let cases = [
        ("wrong secret", "/agent/v1/team", wrong.as_str()),
        ("unknown token", "/agent/v1/team", unknown.as_str()),
        ("no token", "/agent/v1/team", ""),
        ("another's tunnel", "/agent/v1/other", world.token.as_str()),
        ("no such tunnel", "/agent/v1/none", world.token.as_str()),
    ];
    let mut took = [const { Vec::new() }; 5];
    for _ in 0..100 {
        for ((_, path, token), took) in cases.iter().zip(&mut took) {
            let began = Instant::now();
            assert_eq!(knock(world.relay.http(), path, token).status(), Some(401));
            took.push(began.elapsed());
        }
    }
    // On a busy machine about half of them may have been kept waiting, and the middle be of either kind.
    let quick = took.map(|mut all| {
        all.sort();
        all[all.len() / 10].as_secs_f64() * 1e6
    });
    let shown: Vec<String> = cases.iter().zip(quick).map(|(case, us)| format!("{}: {us:.0} µs", case.0)).collect();
    let (least, most) = quick.iter().fold((f64::MAX, 0_f64), |(a, b), us| (a.min(*us), b.max(*us)));
    assert!(most < least * 4.0, "{shown:?}");
}

#[test]
fn many_wrong_tokens_are_told_to_wait_and_good_ones_still_get_in() {
    let world = World::new(AnswerMode::Ack);
    let to = world.relay.http();
    let statuses: Vec<u16> =
        (0..25).map(|n| knock(to, "/agent/v1", &format!("ht_{n:012x}_{}", "0".repeat(64))).status().unwrap()).collect();
    assert_eq!(statuses[..20], [401; 20], "the first of a minute");
    let refused =
        eventually("a 429", || Some(knock(to, "/agent/v1", "nonsense")).filter(|answer| answer.status() == Some(429)));
    assert_eq!(refused.json()["error"], "too-many-attempts");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
    assert_eq!(knock(to, "/agent/v1", &world.token).status(), Some(101));
    // One that was made a moment ago, too.
    assert_eq!(knock(to, "/agent/v1", &world.relay.token(TUNNEL)).status(), Some(101));
}

#[test]
fn a_removed_tunnel_s_name_is_kept_for_its_owner() {
    let world = World::new(AnswerMode::Ack);
    let stranger = world.relay.add_tunnel("strangers", AnswerMode::Ack);
    let mut owner = agent(&world, "owner", &world.token);
    owner.start();
    world.accepted("/hook", b"before");
    owner.wait_line("delivery");
    let (reason, _) = ends(&world, &owner, &["tunnel", "remove", TUNNEL, "--yes"]);
    assert!(reason.contains("removed"), "{reason}");
    assert!(!owner.process().wait().success());
    for arguments in [&["tunnel", "add", TUNNEL][..], &["tunnel", "add", TUNNEL, "--for", id(&stranger)]] {
        let refused = world.relay.run(arguments);
        assert!(refused.exits(1).err().contains(id(&world.token)), "{arguments:?}");
    }
    world.relay.run(&["tunnel", "add", TUNNEL, "--for", id(&world.token)]).ok();
    owner.start();
    world.accepted("/hook", b"after");
    owner.wait_line("delivery");
    // One that is not kept at all.
    world.relay.run(&["tunnel", "remove", "strangers", "--reserve-name", "0", "--yes"]).ok();
    world.relay.run(&["tunnel", "add", "strangers"]).ok();
}
