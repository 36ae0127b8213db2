//! From nothing to the first delivery: a tunnel, a token, a relay, an agent, a handler; by host name and by path.

use tunnel_stories::{HOST, SECRET, Sender, TUNNEL, signed};
use tunnel_testkit::{AnswerMode, Connection, Handler, Stage};

const BODY: &str = r#"{"resource_id":"1204","resource_id_type":"Appointment","event_type":"appointment.created"}"#;

#[test]
fn a_signed_delivery_reaches_localhost_and_can_be_looked_at() {
    let stage = Stage::new();
    let mut relay = stage.relay();
    relay.start();
    // Beside the running relay, as an operator would.
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    let handler = Handler::start();
    let mut agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).secret(SECRET);
    agent.start();

    let ready = agent.wait_line("ready");
    assert_eq!((&ready["tunnel"], &ready["answer"]), (&TUNNEL.into(), &"ack".into()));
    let urls = ready["public_urls"].as_array().unwrap();
    assert_eq!(urls[0], format!("http://{HOST}:{}", relay.http().port()));
    assert_eq!(urls[1], format!("{}/t/{TUNNEL}", relay.url()));

    let mut sender = Sender::python();
    let answer = sender.send(&signed(relay.http(), "guide", "/hooks/healthie?a=%20b", BODY));
    assert_eq!((&answer["status"], &answer["body"]), (&200.into(), &r#"{"received":true}"#.into()));

    let got = handler.wait_for(1).remove(0).message;
    assert_eq!(got.first, "POST /hooks/healthie?a=%20b HTTP/1.1");
    assert_eq!(got.text(), BODY);

    let delivery = agent.wait_line("delivery");
    assert_eq!((&delivery["event_type"], &delivery["signature"]), (&"appointment.created".into(), &"valid".into()));
    let attempt = agent.wait_line("attempt");
    assert_eq!((&attempt["delivery"], &attempt["status"]), (&delivery["id"], &200.into()));

    let listed = agent.events(&[]);
    assert_eq!(listed.len(), 1);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = agent.show_attempted(id, 1);
    assert_eq!(shown["body"]["text"], BODY);
    assert_eq!(shown["target"], "/hooks/healthie?a=%20b");
    assert_eq!(shown["http_version"], "HTTP/1.1");
    assert_eq!((&shown["signature"]["status"], &shown["signature"]["profile"]), (&"valid".into(), &"guide".into()));
    assert_eq!(shown["event"]["resource_id"], "1204");
    assert_eq!(shown["attempts"][0]["response_body"]["text"], "ok\n");
    assert_eq!(agent.show("latest")["id"], id);

    let verdict = agent.run(&["verify", id, "--json", "--secret", SECRET]).ok().json();
    assert_eq!((&verdict["status"], &verdict["profile"]), (&"valid".into(), &"guide".into()));
    agent.lines().all().iter().for_each(|line| assert_ne!(line["type"], "not-json", "{line}"));
}

#[test]
fn what_the_handler_gets_by_host_is_what_was_sent_byte_for_byte() {
    let mut world = tunnel_stories::World::new(AnswerMode::Ack);
    world.agent = world.agent.with(&["--no-tunnel-headers"]);
    world.agent.start();
    let sent = format!(
        "POST /hooks/healthie?x=1?y&z=%2f HTTP/1.1\r\nhOSt: {HOST}\r\nX-Twice: a\r\nContent-Type:  application/json \r\n\
         x-twice: b\r\nContent-Length: {}\r\nX-Last:\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut connection = Connection::open(world.relay.http());
    connection.send(sent.as_bytes());
    assert_eq!(connection.answer().status(), Some(200));
    let got = world.handler.wait_for(1).remove(0).message;
    // Blanks around a value are not part of it; everything else is as it was.
    let expected = sent.replace(":  application/json ", ": application/json").replace("X-Last:", "X-Last: ");
    assert_eq!(String::from_utf8_lossy(&got.raw), expected);
}

#[test]
fn a_delivery_by_path_reaches_the_handler_without_the_relay_s_prefix() {
    let world = tunnel_stories::World::connected(AnswerMode::Ack);
    let mut job = signed(world.relay.http(), "scribe", &format!("/t/{TUNNEL}/hooks?tenant=7"), BODY);
    job["host"] = world.relay.http().to_string().into();
    assert_eq!(Sender::python().send(&job)["status"], 200);
    let got = world.handler.wait_for(1).remove(0).message;
    assert_eq!((got.target(), got.text().as_str()), ("/hooks?tenant=7", BODY));
    let shown = world.agent.show("latest");
    assert_eq!(shown["target"], format!("/t/{TUNNEL}/hooks?tenant=7"));
    assert_eq!(shown["signature"]["status"], "valid");
}
