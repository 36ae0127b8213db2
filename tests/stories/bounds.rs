//! What the operator bounds, by flags and by `tunnel set`: it holds, and it is in force when the command returns.

use serde_json::Value;
use tunnel_stories::{HOST, TUNNEL, World, post};
use tunnel_testkit::{AnswerMode, HttpMessage, send};

fn deliver(world: &World, method: &str) -> HttpMessage {
    let request = String::from_utf8(post(HOST, "/hook", b"{}")).unwrap().replace("POST", method);
    send(world.relay.http(), request.as_bytes())
}

/// Sends until it is too much: on a slow machine a second may pass between two.
fn until_refused(mut send: impl FnMut() -> HttpMessage) -> HttpMessage {
    tunnel_testkit::eventually("a refusal for the rate", || Some(send()).filter(|answer| answer.status() == Some(429)))
}

#[test]
fn what_tunnel_set_changes_is_in_force_when_it_returns() {
    let world = World::new(AnswerMode::Ack);
    let set = |arguments: &[&str]| world.relay.run(&[&["tunnel", "set", TUNNEL], arguments].concat());
    let refused = |method: &str, status: u16, code: &str| {
        let answer = deliver(&world, method);
        assert_eq!((answer.status(), &answer.json()["error"]), (Some(status), &code.into()), "{}", answer.text());
    };
    assert_eq!(deliver(&world, "POST").status(), Some(200));
    set(&["--from", "healthie-production,10.0.0.0/8"]).ok();
    refused("POST", 403, "source");
    set(&["--from", "127.0.0.0/8"]).ok();
    assert_eq!(deliver(&world, "POST").status(), Some(200));
    refused("PUT", 405, "method");
    set(&["--methods", "POST,PUT", "--max-body", "1KiB"]).ok();
    assert_eq!(deliver(&world, "PUT").status(), Some(200));
    let long = send(world.relay.http(), &post(HOST, "/hook", &[b'x'; 1025]));
    assert!(long.status() == Some(413) && long.text().contains("this tunnel takes"), "{}", long.text());
    for (arguments, told) in
        [(["--max-body", "0"], "1 or more"), (["--rate", "0"], "`any`"), (["--methods", "FOO"], "POST, PUT")]
    {
        assert!(set(&arguments).exits(2).err().contains(told), "{arguments:?}");
    }
    set(&["--rate", "1", "--burst", "1"]).ok();
    assert_eq!(deliver(&world, "POST").status(), Some(200));
    assert_eq!(until_refused(|| deliver(&world, "POST")).json()["error"], "too-many-requests");

    let listed = world.relay.run(&["tunnel", "list", "--json"]).ok().json();
    let team = &listed[0];
    assert_eq!((&team["methods"], &team["from"]), (&["POST", "PUT"].into(), &["127.0.0.0/8"].into()), "{team}");
    assert_eq!((&team["max_body"], &team["rate"], &team["burst"]), (&1024.into(), &1.into(), &1.into()), "{team}");
    assert!(set(&["--from", "nowhere"]).exits(2).err().contains("healthie-staging"));
    set(&[]).exits(2);
    assert!(world.relay.run(&["tunnel", "set", "nobody", "--rate", "1"]).exits(1).err().contains("no tunnel nobody"));
}

/// A tunnel with a share of its own is full by itself, and the log tells it once however often senders try.
#[test]
fn a_full_tunnel_is_its_own_affair() {
    let mut world = World::new(AnswerMode::Ack);
    let set = |world: &World, arguments: &[&str]| world.relay.run(&[&["tunnel", "set", TUNNEL], arguments].concat());
    assert!(set(&world, &["--spool-bytes", "1KiB"]).exits(2).err().contains("64KiB"));
    set(&world, &["--spool-bytes", "64KiB", "--spool-age", "12h"]).ok();
    world.relay.add_tunnel("other", AnswerMode::Ack);
    let listed = world.relay.run(&["tunnel", "list", "--json"]).ok().json();
    let of = |name: &str| listed.as_array().unwrap().iter().find(|t| t["name"] == name).unwrap().clone();
    let share = |tunnel: &Value| (tunnel["spool_bytes"].clone(), tunnel["spool_age_ms"].clone());
    assert_eq!(share(&of(TUNNEL)), (65_536.into(), 43_200_000.into()));
    assert_eq!(share(&of("other")), (Value::Null, Value::Null));
    let to = world.relay.http();
    let body = [b'x'; 20_000];
    let into = |tunnel: &str| send(to, &post("relay.test", &format!("/t/{tunnel}/hook"), &body));
    let answers: Vec<_> = (0..20).map(|_| into(TUNNEL).status().unwrap()).collect();
    assert_eq!(answers, [vec![200; 3], vec![503; 17]].concat());
    assert_eq!((0..20).filter(|_| into("other").status() == Some(200)).count(), 20);
    let log = tunnel_testkit::eventually("a line about it", || {
        let log = String::from_utf8_lossy(&world.relay.server().printed()).into_owned();
        log.contains("could not be spooled").then_some(log)
    });
    assert_eq!(log.lines().filter(|line| line.contains("could not be spooled")).count(), 1, "{log}");
    set(&world, &["--spool-bytes", "default"]).ok();
    assert_eq!(into(TUNNEL).status(), Some(200));
}

#[test]
fn limits_are_flags_and_variables() {
    let mut world = World::new(AnswerMode::Ack);
    assert!(world.relay.terminate().success());
    world.relay = world
        .relay
        .with_arguments(&["--max-body", "2KiB", "--address-rate", "1", "--address-burst", "2"])
        .with_environment("HEALTHIE_RELAY_MAX_HEAD_LINES", "9");
    world.relay.start();
    let to = world.relay.http();
    let many = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "X: y\r\n".repeat(9));
    assert_eq!(send(to, many.as_bytes()).status(), Some(431));
    let long = send(to, &post(HOST, "/hook", &[b'x'; 2049]));
    assert!(long.status() == Some(413) && long.text().contains("this relay takes"), "{}", long.text());
    assert_eq!(send(to, &post(HOST, "/hook", b"{}")).status(), Some(200));
    let refusal = until_refused(|| send(to, &post(HOST, "/hook", b"{}")));
    let wait: u64 = refusal.header("retry-after").expect("when to come again").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
}
