//! What a collector is told of a delivery's way through the agent: taken in as a whole, and as its parts verified, stored, handed over. It goes on with the
//! relay's trace where the frame says one. Names and numbers only: nothing that a sender chose.

use std::time::Duration;

use tokio::time::Instant;
use tunnel_delivery::{Attempt, Delivery, Timestamp};
use tunnel_telemetry::{Kind, Span, SpanId, TraceContext, Traces, Value, new_span};

/// One delivery's trace, or none. Cheap to clone where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(Option<Open>);

#[derive(Clone, Debug)]
struct Open {
    traces: Traces,
    context: TraceContext,
    parent: Option<SpanId>,
    attributes: Vec<(&'static str, Value)>,
    began: Timestamp,
    since: Instant,
}

impl Trail {
    /// A delivery came in, with what its frame says about a trace. `now` is asked only where there is one.
    pub(crate) fn begin(
        traces: &Traces,
        delivery: &Delivery,
        traceparent: Option<&str>,
        now: impl FnOnce() -> Timestamp,
    ) -> Trail {
        let Some((context, parent)) = traces.carried_on(delivery.id, traceparent) else { return Trail(None) };
        let attributes = vec![
            ("healthie.tunnel", Value::Text(delivery.tunnel.to_string())),
            ("healthie.delivery", Value::Text(delivery.id.to_string())),
        ];
        let (began, since) = (now(), Instant::now());
        Trail(Some(Open { traces: traces.clone(), context, parent, attributes, began, since }))
    }

    /// A part that began at `from` is done.
    pub(crate) fn part(&self, name: &'static str, from: Instant, failed: Option<&'static str>) {
        let Some(open) = &self.0 else { return };
        let after = from.saturating_duration_since(open.since);
        let began = Timestamp::from_micros(open.began.as_micros().saturating_add(micros(after)));
        open.tell(name, Kind::Internal, began, from.elapsed(), Vec::new(), failed);
    }

    /// It was handed to a handler or a command, or that was tried.
    pub(crate) fn attempt(&self, attempt: &Attempt) {
        let Some(open) = &self.0 else { return };
        let attributes = attempt.status.map(|status| ("http.response.status_code", Value::Number(status.into())));
        let failed = match (&attempt.error, attempt.status) {
            (Some(_), _) => Some("not_handed_over"),
            (None, Some(500..)) => Some("handler"),
            _ => None,
        };
        open.tell("forward", Kind::Client, attempt.at, attempt.duration, attributes.into_iter().collect(), failed);
    }

    /// It is taken in; what else is told is told of parts that go on.
    pub(crate) fn taken(&self, failed: Option<&'static str>) {
        let Some(open) = &self.0 else { return };
        open.traces.tell(Span {
            context: open.context,
            parent: open.parent,
            name: "receive",
            kind: Kind::Consumer,
            began: open.began,
            took: open.since.elapsed(),
            attributes: open.attributes.clone(),
            failed,
        });
    }
}

impl Open {
    fn tell(
        &self,
        name: &'static str,
        kind: Kind,
        began: Timestamp,
        took: Duration,
        attributes: Vec<(&'static str, Value)>,
        failed: Option<&'static str>,
    ) {
        let (context, parent) = (self.context.at(new_span()), Some(self.context.span));
        self.traces.tell(Span { context, parent, name, kind, began, took, attributes, failed });
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
