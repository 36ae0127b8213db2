//! What the programs tell of themselves, as far as both do it alike: lines of a log that nothing from outside can break ([`SafeLines`]), and traces
//! ([`Traces`]): which delivery went through which hands, and how long each had it.
//!
//! A delivery's trace has the delivery's own id, which is as long as a trace's. So whoever has a delivery, also after a restart, knows its trace
//! without anything being stored, and the id in an answer or a log finds the trace. Between relay and agent a trace is carried on by a
//! [`TraceContext`], in the form of W3C Trace Context.
//!
//! Nothing is global: each program makes its own and hands it on. This room reads no environment of its own accord but through the OpenTelemetry
//! library, which knows the variables that are common to all programs (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`).

mod context;
mod lines;
#[cfg(feature = "otlp")]
mod otlp;
mod traces;

pub use context::{SpanId, TraceContext};
pub use lines::SafeLines;
pub use traces::{Kind, Span, TelemetryError, TraceSettings, Traces, Value, new_span};
