//! Spans on their way to a collector: OTLP, protobuf over HTTP (OpenTelemetry Protocol 1.x). The OpenTelemetry library gathers them on a thread of its
//! own and makes the requests; here is what it sends them with. What a collector does not take is lost, and never keeps a delivery waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use crate::traces::{Kind, Span, TelemetryError, TraceSettings, Value};

/// How long one request may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How long the last ones may take.
const LAST: Duration = Duration::from_secs(5);
/// How long spans wait for company.
const GATHER: Duration = Duration::from_secs(1);
/// The most spans that wait; what comes beyond is lost.
const WAITING: usize = 8192;
/// The longest answer of a collector, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// Sends spans.
#[derive(Debug)]
pub(crate) struct Exporter {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Exporter {
    pub(crate) fn open(settings: &TraceSettings, runtime: &Handle) -> Result<Exporter, TelemetryError> {
        let endpoint = endpoint(&settings.endpoint, settings.tls.is_some())?;
        let client = Client {
            runtime: runtime.clone(),
            tls: settings.tls.clone().map(TlsConnector::from),
            failing: Arc::default(),
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_timeout(WITHIN)
            .build()
            .map_err(|e| TelemetryError::SetUp(e.to_string()))?;
        let batches = BatchConfigBuilder::default().with_max_queue_size(WAITING).with_scheduled_delay(GATHER).build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let version = KeyValue::new("service.version", settings.version);
        processor
            .set_resource(&Resource::builder().with_service_name(settings.service).with_attribute(version).build());
        let scope = InstrumentationScope::builder("healthie-tunnel").with_version(settings.version).build();
        Ok(Exporter { processor, scope })
    }

    /// Takes a span; never waits.
    pub(crate) fn export(&self, span: Span) {
        let flags = TraceFlags::default().with_sampled(span.context.sampled);
        let (trace, id) = (TraceId::from_bytes(span.context.trace), SpanId::from_bytes(span.context.span));
        let began = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(span.began.as_micros()).unwrap_or(0));
        let attributes = span.attributes.into_iter().map(|(name, value)| match value {
            Value::Text(text) => KeyValue::new(name, text),
            Value::Number(number) => KeyValue::new(name, number),
        });
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(trace, id, flags, false, TraceState::NONE),
            parent_span_id: SpanId::from_bytes(span.parent.unwrap_or_default()),
            parent_span_is_remote: false,
            span_kind: match span.kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Producer => SpanKind::Producer,
                Kind::Internal => SpanKind::Internal,
            },
            name: span.name.into(),
            start_time: began,
            end_time: began + span.took,
            attributes: attributes.collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: span.failed.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Sends what is left. Blocks.
    pub(crate) fn close(&self) {
        let _ = self.processor.shutdown_with_timeout(LAST);
    }
}

/// The collector's address for traces.
pub(crate) fn endpoint(address: &str, tls: bool) -> Result<String, TelemetryError> {
    let wrong = |problem| {
        // A password that stands where it does not belong is not to be told in a log.
        let shown = address.rsplit_once('@').map_or_else(|| address.to_owned(), |(_, host)| format!("…@{host}"));
        TelemetryError::Endpoint { address: shown, problem }
    };
    let uri: Uri = address.parse().map_err(|_| wrong("it is not a URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if tls => {}
        Some("https") => return Err(wrong("this program reaches collectors by plain HTTP only")),
        _ => return Err(wrong("it begins neither with http:// nor with https://")),
    }
    if uri.authority().is_none_or(|a| a.as_str().contains('@')) {
        return Err(wrong("it has no host, or a password, which belongs into OTEL_EXPORTER_OTLP_HEADERS"));
    }
    let base = address.trim_end_matches('/');
    Ok(if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") })
}

/// HTTP to the collector: a connection for each batch.
struct Client {
    /// The library calls from a thread without one.
    runtime: Handle,
    tls: Option<TlsConnector>,
    /// The last request failed: told once, and once when it is over.
    failing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let tls = self.tls.clone();
        let exchange = self.runtime.spawn(async move {
            match tokio::time::timeout(WITHIN, exchange(tls, request)).await {
                Ok(answer) => answer,
                Err(_) => Err("there is no answer".into()),
            }
        });
        let answer = exchange.await.unwrap_or_else(|e| Err(e.into()));
        match &answer {
            Ok(answer) if answer.status().is_success() => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Ok(answer) => self.failed(&format!("it answers {}", answer.status().as_u16())),
            Err(e) => self.failed(&e.to_string()),
        }
        answer
    }
}

impl Client {
    fn failed(&self, why: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "the collector does not take traces; they are lost until it does");
        }
    }
}

async fn exchange(tls: Option<TlsConnector>, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or("the collector's address has no host")?.clone();
    let secure = uri.scheme_str() == Some("https");
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    *request.uri_mut() = Uri::builder().path_and_query(uri.path_and_query().map_or("/", |p| p.as_str())).build()?;
    let tcp =
        TcpStream::connect((host.as_str(), port)).await.map_err(|e| format!("{authority} cannot be reached: {e}"))?;
    match tls.filter(|_| secure) {
        Some(tls) => {
            let name = rustls::pki_types::ServerName::try_from(host)?;
            talk(tls.connect(name, tcp).await.map_err(|e| format!("{authority}: {e}"))?, request).await
        }
        None => talk(tcp, request).await,
    }
}

async fn talk<S>(stream: S, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with this, however this ends; how it went is seen in the answer.
    let mut driving = tokio::task::JoinSet::new();
    driving.spawn(connection);
    let (parts, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_collector_s_or_refused_in_words() {
        assert_eq!(endpoint("http://127.0.0.1:4318", false).unwrap(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(endpoint("https://c.test/otlp/", true).unwrap(), "https://c.test/otlp/v1/traces");
        assert_eq!(endpoint("http://c.test/v1/traces", false).unwrap(), "http://c.test/v1/traces");
        for bad in ["", "127.0.0.1:4318", "grpc://c.test", "http://", "https://c.test", "http://u:p@c.test"] {
            assert!(matches!(endpoint(bad, false), Err(TelemetryError::Endpoint { .. })), "{bad}");
            assert!(!endpoint(bad, false).unwrap_err().to_string().contains(":p@"), "{bad}");
        }
    }
}
