//! What an operator is told of a delivery: its trace at a collector, from the sender's request to the handler's answer, and its id in the log.

use std::collections::BTreeMap;

use tunnel_stories::{HOST, SECRET, TUNNEL, World};
use tunnel_testkit::{AnswerMode, Collector, Handler, Spanned, Stage, send};

/// A sender's own trace.
const THEIRS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn world(answer: AnswerMode, arguments: &[&str], collector: &Collector) -> World {
    let (stage, handler) = (Stage::new(), Handler::start());
    let mut relay = stage.relay().with_arguments(arguments);
    relay = relay.with_environment("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
    let token = relay.add_tunnel(TUNNEL, answer);
    relay.start();
    let mut agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).secret(SECRET);
    agent = agent.with(&["--otlp-endpoint", &collector.url()]);
    agent.start();
    World { agent, relay, handler, token, stage }
}

/// Sends a delivery with a trace of the sender's own; gives its id.
fn deliver(world: &World) -> String {
    let head = format!("POST /hook HTTP/1.1\r\nHost: {HOST}\r\ntraceparent: {THEIRS}\r\nContent-Length: 2\r\n\r\n{{}}");
    let answer = send(world.relay.http(), head.as_bytes());
    assert_eq!(answer.status(), Some(200), "{}", answer.text());
    answer.header("x-request-id").expect("every answer has an id")
}

/// The spans of a trace by name, once those are there.
fn spans(collector: &Collector, trace: &str, names: &[&str]) -> BTreeMap<String, Spanned> {
    collector.wait(&format!("the spans {names:?} of {trace}"), |all| {
        let found: BTreeMap<_, _> =
            all.iter().filter(|span| span.trace == trace).map(|span| (span.name.clone(), span.clone())).collect();
        names.iter().all(|name| found.contains_key(*name)).then_some(found)
    })
}

/// Each span's parent, by name.
fn tree(spans: &BTreeMap<String, Spanned>) -> Vec<String> {
    let name = |id: &str| spans.values().find(|span| span.id == id).map_or("nobody", |span| &span.name);
    spans.values().map(|span| format!("{} {} of {}", span.service, span.name, name(&span.parent))).collect()
}

#[test]
fn a_delivery_is_one_trace_through_both_programs() {
    let collector = Collector::start();
    let world = world(AnswerMode::Ack, &[], &collector);
    let id = deliver(&world);
    let names = ["delivery", "spool", "send", "receive", "verify", "store", "forward"];
    let spans = spans(&collector, &id.replace('-', ""), &names);
    assert_eq!(
        tree(&spans),
        [
            "healthie-relay delivery of nobody",
            "healthie-tunnel forward of receive",
            "healthie-tunnel receive of send",
            "healthie-relay send of delivery",
            "healthie-relay spool of delivery",
            "healthie-tunnel store of receive",
            "healthie-tunnel verify of receive",
        ]
    );
    assert_eq!(spans["delivery"].attributes["healthie.outcome"], "accepted");
    assert_eq!(spans["forward"].attributes["http.response.status_code"], "200");
    assert_eq!(spans["receive"].attributes["healthie.delivery"], id);
    // What the sender said of a trace is stored and decides nothing.
    let stored = world.agent.show(&id);
    assert!(stored["headers"].to_string().contains(THEIRS), "{}", stored["headers"]);
}

#[test]
fn a_trusted_sender_s_trace_goes_on_and_passthrough_shows_the_handler() {
    let collector = Collector::start();
    let world = world(AnswerMode::Passthrough, &["--trust-traceparent"], &collector);
    let id = deliver(&world);
    let names = ["delivery", "handler", "send", "receive", "verify", "store", "forward"];
    let spans = spans(&collector, "4bf92f3577b34da6a3ce929d0e0e4736", &names);
    assert_eq!(spans["delivery"].parent, "00f067aa0ba902b7");
    assert_eq!(spans["delivery"].attributes["healthie.delivery"], id);
    assert_eq!(spans["receive"].parent, spans["send"].id);
    assert!(spans["delivery"].took >= spans["handler"].took && spans["handler"].took >= spans["forward"].took);
}

#[test]
fn a_request_s_id_stands_in_its_line_of_the_log_and_nothing_of_the_request_does() {
    let stage = Stage::new();
    let mut relay = stage.relay().with_arguments(&["--log", "json", "--log-requests"]);
    relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.start();
    let request =
        format!("POST /hook-7c1d?q=7c1d HTTP/1.1\r\nHost: {HOST}\r\nX-Mark: 7c1d\r\nContent-Length: 4\r\n\r\n7c1d");
    let accepted = send(relay.http(), request.as_bytes()).header("x-request-id").unwrap();
    let refused = request.replace("POST ", "BAD\u{1b}[31m ");
    let refused = send(relay.http(), refused.as_bytes()).header("x-request-id").unwrap();
    assert!(relay.terminate().success());
    let log = String::from_utf8(relay.server().printed()).unwrap();
    let line = |id: &str| {
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines
            .find(|line| line["message"] == "request" && line["id"] == id)
            .unwrap_or_else(|| panic!("no {id} in {log}"))
    };
    let line_of_accepted = line(&accepted);
    assert_eq!((&line_of_accepted["status"], &line_of_accepted["route"]), (&200.into(), &"delivery".into()));
    assert_eq!(line(&refused)["status"], 400);
    assert!(!log.contains("7c1d") && !log.contains('\u{1b}'), "{log}");
}
