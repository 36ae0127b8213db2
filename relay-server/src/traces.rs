//! What a collector is told of a delivery's way through the relay: the request as a whole, and as its parts the spool, the handler's answer, and the way to
//! each agent, which goes on there. Names and numbers only: nothing that a sender chose.

use std::time::Duration;

use tunnel_delivery::{Delivery, Timestamp, TunnelName};
use tunnel_telemetry::{Kind, Span, SpanId, TraceContext, Traces, Value, new_span};

use crate::metrics::Outcome;

/// Where in which trace a delivery is, for the agent that gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The way to this agent.
    pub(crate) context: TraceContext,
    parent: SpanId,
}

/// The trace of a delivery, if it is recorded: its own, or its sender's where senders are trusted.
fn trace_of(traces: &Traces, delivery: &Delivery) -> Option<(TraceContext, Option<SpanId>)> {
    if traces.are_on() { traces.of_delivery(delivery.id, delivery.headers.get("traceparent")) } else { None }
}

/// A delivery sets out for an agent.
pub(crate) fn carry(traces: &Traces, delivery: &Delivery) -> Option<Carried> {
    let (root, _) = trace_of(traces, delivery)?;
    Some(Carried { context: root.at(new_span()), parent: root.span })
}

/// An agent durably has a delivery, so long after it set out.
pub(crate) fn taken(
    traces: &Traces,
    carried: Carried,
    (tunnel, device): (&TunnelName, &str),
    now: Timestamp,
    took: Duration,
) {
    traces.tell(Span {
        context: carried.context,
        parent: Some(carried.parent),
        name: "send",
        kind: Kind::Producer,
        began: now.earlier(took),
        took,
        attributes: vec![("healthie.tunnel", text(tunnel)), ("healthie.device", text(device))],
        failed: None,
    });
}

/// A part of taking a delivery is done.
pub(crate) fn part(
    traces: &Traces,
    delivery: &Delivery,
    name: &'static str,
    now: Timestamp,
    took: Duration,
    failed: Option<Outcome>,
) {
    let Some((root, _)) = trace_of(traces, delivery) else { return };
    traces.tell(Span {
        context: root.at(new_span()),
        parent: Some(root.span),
        name,
        kind: Kind::Internal,
        began: now.earlier(took),
        took,
        attributes: Vec::new(),
        failed: failed.map(Outcome::as_str),
    });
}

/// A delivery was answered.
pub(crate) fn answered(traces: &Traces, delivery: &Delivery, outcome: Outcome, now: Timestamp, took: Duration) {
    let Some((root, parent)) = trace_of(traces, delivery) else { return };
    let bytes = i64::try_from(delivery.body.len()).unwrap_or(i64::MAX);
    traces.tell(Span {
        context: root,
        parent,
        name: "delivery",
        kind: Kind::Server,
        began: now.earlier(took),
        took,
        attributes: vec![
            ("healthie.tunnel", text(&delivery.tunnel)),
            ("healthie.delivery", text(delivery.id)),
            ("healthie.outcome", text(outcome.as_str())),
            ("healthie.body_bytes", Value::Number(bytes)),
        ],
        failed: (!matches!(outcome, Outcome::Accepted | Outcome::Answered)).then(|| outcome.as_str()),
    });
}

fn text(what: impl ToString) -> Value {
    Value::Text(what.to_string())
}
