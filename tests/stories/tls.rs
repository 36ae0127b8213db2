//! TLS: Healthie comes by HTTPS, the agent by WSS with an authority of the operator's own; an authority that is not trusted is refused
//! clearly.

use tunnel_stories::{HOST, SECRET, TUNNEL, post};
use tunnel_testkit::{AnswerMode, Authority, Connection, Handler, Relay, Stage};

fn relay(stage: &Stage, authority: &Authority) -> (Relay, String) {
    let files = authority.server(stage.folder(), &["relay.test", "*.relay.test", "localhost", "127.0.0.1"]);
    let mut relay = stage.relay().with_tls(&files);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.start();
    (relay, token)
}

#[test]
fn https_outside_and_wss_inside() {
    let (stage, authority, handler) = (Stage::new(), Authority::new("Story CA"), Handler::start());
    let (relay, token) = relay(&stage, &authority);
    let file = stage.folder().join("ca.pem");
    authority.write(&file);
    let ca = file.display().to_string();
    let url = format!("https://localhost:{}", relay.https().port());
    let mut agent = stage.agent("agent").relay(&url, &token).target(&handler.url()).secret(SECRET).with(&["--ca", &ca]);
    agent.start();
    let urls = agent.wait_line("ready")["public_urls"].clone();
    assert_eq!(urls[0], format!("https://{HOST}:{}", relay.https().port()));

    let mut healthie = Connection::open_tls(relay.https(), HOST, &authority);
    for n in 1..=2 {
        healthie.send(&post(HOST, "/hook", b"{}"));
        assert_eq!(healthie.answer().status(), Some(200));
        handler.wait_for(n);
    }
    // The host may be given by number too.
    let mut agent = stage.agent("by-number").relay(&format!("https://{}", relay.https()), &token).with(&[
        "--no-forward",
        "--ca",
        &ca,
    ]);
    agent.start();
}

#[test]
fn an_authority_that_is_not_trusted_is_refused_and_named() {
    let (stage, authority) = (Stage::new(), Authority::new("Story CA"));
    let (relay, token) = relay(&stage, &authority);
    let file = stage.folder().join("other.pem");
    Authority::new("Another CA").write(&file);
    let url = format!("https://localhost:{}", relay.https().port());
    let mut agent =
        stage.agent("agent").relay(&url, &token).with(&["--no-forward", "--ca", &file.display().to_string()]);
    agent.start_only();
    let seen = agent.lines().wait("a refusal of the certificate", |lines| {
        lines.iter().find(|l| l["reason"].as_str().is_some_and(|r| r.contains("certificate"))).cloned()
    });
    assert!(seen["state"] == "waiting" || seen["state"] == "refused", "{seen}");
    assert!(agent.lines().all().iter().all(|l| l["type"] != "ready"));
}

#[test]
fn a_relay_that_cannot_use_its_certificate_says_which() {
    let (stage, authority) = (Stage::new(), Authority::new("Story CA"));
    let files = authority.server(stage.folder(), &["relay.test"]);
    std::fs::write(&files.key, "not a key").unwrap();
    let mut relay = stage.relay().with_tls(&files);
    let ended = relay.start_only();
    assert!(!ended.wait().success());
    let said = String::from_utf8_lossy(&ended.printed()).into_owned();
    assert!(said.contains("server.key"), "{said}");
}
