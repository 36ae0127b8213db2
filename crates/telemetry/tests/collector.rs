//! Spans at a collector, as it sees them.
#![cfg(feature = "otlp")]

use std::time::Duration;

use tunnel_delivery::{DeliveryId, Timestamp};
use tunnel_telemetry::{Kind, Span, TraceSettings, Traces, Value, new_span};
use tunnel_testkit::{ClosedPort, Collector, Spanned};

fn settings(endpoint: String) -> TraceSettings {
    TraceSettings { endpoint, service: "tester", version: "1", ratio: 1.0, trust_senders: false, tls: None }
}

fn open(settings: &TraceSettings) -> Traces {
    Traces::open(settings, &tokio::runtime::Handle::current()).unwrap()
}

fn id() -> DeliveryId {
    DeliveryId::from_bytes([0x17; 16])
}

/// On one thread, as the programs may be told to run: the library's own must not need another.
#[tokio::test]
async fn a_span_arrives_as_it_was_told_and_closing_sends_what_is_left() {
    let collector = Collector::start();
    let traces = open(&settings(collector.url()));
    let (root, parent) = traces.of_delivery(id(), None).unwrap();
    assert_eq!(parent, None);
    let child = root.at(new_span());
    let span = |context, parent, name| Span {
        context,
        parent,
        name,
        kind: Kind::Internal,
        began: Timestamp::from_micros(1_800_000_000_000_000),
        took: Duration::from_micros(1500),
        attributes: vec![("tunnel", Value::Text("team".into())), ("status", Value::Number(503))],
        failed: Some("spool_full"),
    };
    traces.tell(span(root, None, "delivery"));
    traces.tell(span(child, Some(root.span), "spool"));
    traces.close().await;
    let spans = collector.wait("two spans", |all| (all.len() == 2).then(|| all.to_vec()));
    let Spanned { service, name, trace, parent, took, failed, attributes, .. } = &spans[1];
    assert_eq!((service.as_str(), name.as_str(), *took), ("tester", "spool", 1_500_000));
    assert_eq!((trace.as_str(), parent), ("17".repeat(16).as_str(), &spans[0].id));
    assert_eq!((attributes["tunnel"].as_str(), attributes["status"].as_str()), ("team", "503"));
    assert_eq!(failed.as_deref(), Some("spool_full"));
    assert_eq!(spans[0].parent, "");
}

#[tokio::test]
async fn a_sender_decides_nothing_unless_it_is_trusted() {
    let theirs: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let unsampled: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let collector = Collector::start();
    let strict = open(&settings(collector.url()));
    for line in [theirs, unsampled, b"nonsense"] {
        let (root, parent) = strict.of_delivery(id(), Some(line)).unwrap();
        assert_eq!((root.trace, parent), ([0x17; 16], None));
    }
    let trusting = open(&TraceSettings { trust_senders: true, ..settings(collector.url()) });
    let (root, parent) = trusting.of_delivery(id(), Some(theirs)).unwrap();
    assert_eq!((root.trace[0], root.span, parent.unwrap()[7]), (0x4b, [0x17; 8], 0xb7));
    assert_eq!(trusting.of_delivery(id(), Some(unsampled)), None);
    assert!(trusting.of_delivery(id(), Some(b"nonsense")).is_some());
    // Between relay and agent it is always carried on.
    let carried = root.to_string();
    let (mine, parent) = strict.carried_on(id(), Some(&carried)).unwrap();
    assert_eq!((mine.trace, parent), (root.trace, Some(root.span)));
    assert_ne!(mine.span, root.span);
    let (own, parent) = strict.carried_on(id(), None).unwrap();
    assert_eq!((own.trace, parent), ([0x17; 16], None));
}

#[tokio::test]
async fn a_collector_that_is_not_there_keeps_nobody_waiting() {
    let gone = ClosedPort::new();
    let traces = open(&settings(gone.url()));
    let (root, _) = traces.of_delivery(id(), None).unwrap();
    for _ in 0..20_000 {
        traces.tell(Span {
            context: root,
            parent: None,
            name: "delivery",
            kind: Kind::Server,
            began: Timestamp::default(),
            took: Duration::ZERO,
            attributes: Vec::new(),
            failed: None,
        });
    }
    tokio::time::timeout(tunnel_testkit::DEADLINE, traces.close()).await.expect("closing ends");
}
