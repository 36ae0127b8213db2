//! TLS: Healthie comes by HTTPS, the agent by WSS with an authority of the operator's own; an authority that is not trusted is refused
//! clearly.

use tunnel_stories::{HOST, SECRET, TUNNEL, post};
use tunnel_testkit::{AnswerMode, Authority, Connection, Handler, Process, Relay, Stage};

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
fn a_delivery_by_http_2_reaches_the_handler() {
    let (stage, authority, handler) = (Stage::new(), Authority::new("Story CA"), Handler::start());
    let (relay, token) = relay(&stage, &authority);
    let file = stage.folder().join("ca.pem");
    authority.write(&file);
    let (ca, port) = (file.display().to_string(), relay.https().port());
    let url = format!("https://localhost:{port}");
    let mut agent = stage.agent("agent").relay(&url, &token).target(&handler.url()).secret(SECRET).with(&["--ca", &ca]);
    agent.start();
    let mut curl = stage.command("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--http2",
        "--cacert",
        &ca,
        "--resolve",
        &format!("{HOST}:{port}:127.0.0.1"),
    ]);
    curl.args(["--data", "{\"a\": 1}", "--header", "X-Kept: Yes", "--write-out", " %{http_version} %{http_code}"]);
    let said = Process::run("curl", curl.arg(format!("https://{HOST}:{port}/hook?x=1"))).ok().out();
    assert!(said.ends_with(" 2 200"), "{said}");
    handler.wait_for(1);
    let event = agent.events(&[]).remove(0);
    let shown = agent.show(event["id"].as_str().expect("an id"));
    assert_eq!((&shown["http_version"], &shown["target"]), (&"HTTP/2".into(), &"/hook?x=1".into()), "{shown}");
    assert_eq!(shown["body"]["text"], "{\"a\": 1}");
    let headers = shown["headers"].to_string();
    assert!(headers.contains(r#"["x-kept","Yes"]"#), "{headers}");
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

    // The same for what is sent: somebody is there, and it is said what helps. The running agent sends, so it must be told.
    let mut plain = stage.agent("plain").relay(&relay.url(), &token).secret(SECRET).with(&["--no-forward"]);
    let there = format!("{url}/hook");
    let trigger = ["trigger", "task.created", "--url", &there];
    plain.start();
    let told = plain.run(&trigger).exits(3).err();
    assert!(told.contains("not trusted here") && told.contains("start `listen` with --ca"), "{told}");
    assert!(!told.contains("nobody is there"), "{told}");
    assert!(plain.terminate().success());
    let told = plain.run(&[&trigger[..], &["--secret", SECRET]].concat()).exits(3).err();
    assert!(told.contains("--ca FILE names it"), "{told}");
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
