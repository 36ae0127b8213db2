//! Traces of deliveries, or none: what a program holds, hands on, and tells of what it has done.
//!
//! A span is told once it has ended, with when it began and how long it took; nothing is open in between, and nobody waits for the collector.

use std::sync::Arc;
use std::time::Duration;

use tunnel_delivery::{DeliveryId, Timestamp};

use crate::context::{SpanId, TraceContext};

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address is not one of a collector.
    #[error("{address:?} is no address of an OTLP collector: {problem}; write it like http://127.0.0.1:4318")]
    Endpoint {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The library refuses.
    #[error("traces cannot be set up: {0}")]
    SetUp(String),
    /// The program was built without it.
    #[error(
        "this program was built without traces (feature `otel`); remove the collector's address or use another build"
    )]
    NotBuilt,
}

/// How a program's traces are kept.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// Where the collector takes OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is added.
    pub endpoint: String,
    /// What the program is called in traces.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Which part of the traces that begin here is recorded, 0 to 1.
    pub ratio: f64,
    /// A sender's own trace is carried on. Otherwise nobody outside decides what is recorded, and under which id.
    pub trust_senders: bool,
    /// How a collector is reached by HTTPS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// What a span has to do with other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answers one.
    Server,
    /// It waits for one.
    Client,
    /// It takes what one has sent.
    Consumer,
    /// It sends to one and does not wait.
    Producer,
    /// Nothing.
    Internal,
}

/// An attribute's value. Never anything of a body or of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Something that was done for a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Itself.
    pub context: TraceContext,
    /// What it is a part of.
    pub parent: Option<SpanId>,
    /// What was done, in one of a few words.
    pub name: &'static str,
    /// What it has to do with other programs.
    pub kind: Kind,
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// More about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, in one of a few words.
    pub failed: Option<&'static str>,
}

/// A program's traces, or none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    ratio: f64,
    trust_senders: bool,
    #[cfg(feature = "otlp")]
    exporter: crate::otlp::Exporter,
}

impl Traces {
    /// No traces.
    pub fn none() -> Traces {
        Traces::default()
    }

    /// Traces that go to a collector; what is sent to it runs on `runtime`. The collector need not be there yet.
    ///
    /// # Errors
    /// The settings make no sense, or the program was built without it.
    #[cfg(feature = "otlp")]
    pub fn open(settings: &TraceSettings, runtime: &tokio::runtime::Handle) -> Result<Traces, TelemetryError> {
        Ok(Traces(Some(Arc::new(Inner {
            ratio: settings.ratio,
            trust_senders: settings.trust_senders,
            exporter: crate::otlp::Exporter::open(settings, runtime)?,
        }))))
    }

    /// Refuses: this build has none.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "otlp"))]
    pub fn open(_: &TraceSettings, _: &tokio::runtime::Handle) -> Result<Traces, TelemetryError> {
        Err(TelemetryError::NotBuilt)
    }

    /// What is wrong with a collector's address, for a program that can reach one by HTTPS; nothing is opened.
    #[cfg(feature = "otlp")]
    pub fn problem(address: &str) -> Option<TelemetryError> {
        crate::otlp::endpoint(address, true).err()
    }

    /// That this build has none.
    #[cfg(not(feature = "otlp"))]
    pub fn problem(_: &str) -> Option<TelemetryError> {
        Some(TelemetryError::NotBuilt)
    }

    /// Whether there are any.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Where a delivery's trace begins, and the sender's span that it is a part of, if it is recorded. `senders` is the sender's own `traceparent`, which
    /// counts only where senders are trusted. The same delivery always gets the same answer.
    pub fn of_delivery(&self, id: DeliveryId, senders: Option<&[u8]>) -> Option<(TraceContext, Option<SpanId>)> {
        let inner = self.0.as_ref()?;
        let own = TraceContext::of_delivery(id, true);
        match senders.filter(|_| inner.trust_senders).and_then(TraceContext::parse) {
            Some(theirs) if theirs.sampled => Some((theirs.at(own.span), Some(theirs.span))),
            Some(_) => None,
            None => chosen(own.span, inner.ratio).then_some((own, None)),
        }
    }

    /// Where a delivery's trace is carried on that came with `parent`, if it is recorded. Without one, it begins here.
    pub fn carried_on(&self, id: DeliveryId, parent: Option<&str>) -> Option<(TraceContext, Option<SpanId>)> {
        let inner = self.0.as_ref()?;
        match parent.and_then(|parent| TraceContext::parse(parent.as_bytes())) {
            Some(parent) if parent.sampled => Some((parent.at(new_span()), Some(parent.span))),
            Some(_) => None,
            None => {
                let own = TraceContext::of_delivery(id, true);
                chosen(own.span, inner.ratio).then_some((own, None))
            }
        }
    }

    /// Tells of something that was done.
    pub fn tell(&self, span: Span) {
        #[cfg(feature = "otlp")]
        if let Some(inner) = self.0.as_ref().filter(|_| span.context.sampled) {
            inner.exporter.export(span);
        }
        #[cfg(not(feature = "otlp"))]
        drop(span);
    }

    /// Sends what is left, for some seconds at the most. What is told afterwards is lost.
    pub async fn close(&self) {
        #[cfg(feature = "otlp")]
        if let Some(inner) = self.0.clone() {
            // The library waits on the thread that asks it to.
            drop(tokio::task::spawn_blocking(move || inner.exporter.close()).await);
        }
    }
}

/// A new span's id.
pub fn new_span() -> SpanId {
    let mut id = [0; 8];
    // An id need only be its own within its trace.
    if getrandom::fill(&mut id).is_err() || id == [0; 8] { [1; 8] } else { id }
}

/// Whether a trace is among those that are recorded, told from its random bits, so that everybody who asks is told the same.
fn chosen(random: SpanId, ratio: f64) -> bool {
    // The two upper ones are a UUID's variant.
    const BITS: u64 = (1 << 62) - 1;
    ratio >= 1.0 || ((u64::from_be_bytes(random) & BITS) as f64) < ratio * BITS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_kept_and_the_same_trace_always_told_the_same() {
        let many = |ratio| {
            (0..10_000u64).filter(|n| chosen(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(), ratio)).count()
        };
        assert_eq!((many(0.0), many(1.0)), (0, 10_000));
        assert!((900..1100).contains(&many(0.1)), "{}", many(0.1));
    }

    #[test]
    fn without_a_collector_there_is_no_trace() {
        let id = DeliveryId::from_bytes([7; 16]);
        assert_eq!((Traces::none().of_delivery(id, None), Traces::none().carried_on(id, None)), (None, None));
    }
}
