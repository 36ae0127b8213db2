//! A collector of traces (OTLP, protobuf over HTTP): it keeps the spans it is sent. The protobuf's types are OpenTelemetry's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;

use crate::{Handler, Received, Reply};

/// A span as a collector got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned {
    /// The program's name.
    pub service: String,
    /// What was done.
    pub name: String,
    /// The trace's id, in hexadecimal digits.
    pub trace: String,
    /// Its own id, likewise.
    pub id: String,
    /// Its parent's, or nothing.
    pub parent: String,
    /// Nanoseconds from its beginning to its end.
    pub took: u64,
    /// More about it, as text.
    pub attributes: BTreeMap<String, String>,
    /// Why it failed.
    pub failed: Option<String>,
}

/// A collector on loopback; it ends when dropped.
pub struct Collector(Handler);

impl Collector {
    /// A collector that takes everything.
    pub fn start() -> Collector {
        Collector(Handler::answering(|message| {
            let right = message.target() == "/v1/traces"
                && message.header("content-type").as_deref() == Some("application/x-protobuf");
            if right { Reply::status(200, "") } else { Reply::status(415, "not traces") }
        }))
    }

    /// Its address, as programs are told it.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Waits until `fits` gives something for the spans that came so far.
    ///
    /// # Panics
    /// After [`crate::DEADLINE`].
    pub fn wait<T>(&self, what: &str, mut fits: impl FnMut(&[Spanned]) -> Option<T>) -> T {
        self.0.received().wait(what, |all: &[Received]| {
            let spans: Vec<Spanned> = all.iter().flat_map(|one| spans(&one.message.body)).collect();
            fits(&spans)
        })
    }
}

fn spans(body: &[u8]) -> Vec<Spanned> {
    let request = ExportTraceServiceRequest::decode(body).expect("a program sends OTLP");
    let mut out = Vec::new();
    for resource in request.resource_spans {
        let service = resource.resource.map(|r| attributes(r.attributes)).unwrap_or_default();
        let service = service.get("service.name").cloned().unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            out.push(Spanned {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                took: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
                attributes: attributes(span.attributes),
                // 2 is an error.
                failed: span.status.filter(|status| status.code == 2).map(|status| status.message),
            });
        }
    }
    out
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|v| v.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.into_iter().map(|one| (one.key, text(one.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}
