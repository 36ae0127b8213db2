//! One connection of the public: hyper serves it, the recorder tells what was really sent, and each request goes where it belongs.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tunnel_delivery::{HeaderLine, Headers, HttpVersion, Lost};
use tunnel_spool::Spool as _;

use super::agents;
use super::head::{Framing, Head, HeadLimits, Refusal};
use super::recorder::{Heads, Recorder};
use crate::accept::Tasks;
use crate::flag::Flag;
use crate::ingest;
use crate::respond::{self, Answer, Problem};
use crate::route::{Route, route};
use crate::shared::Shared;
use crate::stream::Stream;
use crate::tls::certificates::State;

/// What the requests of one connection have in common.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// Who is at its other end; through a trusted proxy, each request may be somebody else's.
    pub(crate) source_ip: IpAddr,
    /// Its place among the connections that are allowed; a session keeps it.
    pub(crate) _permit: OwnedSemaphorePermit,
    /// Where sessions are counted, so that a stop can wait for them.
    pub(crate) sessions: Tasks,
}

/// Serves HTTP/1 until the connection ends, or until the request in hand is answered once `draining` is set.
pub(crate) async fn serve_http1<S>(stream: Stream<S>, connection: Arc<Connection>, draining: Flag)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &connection.shared.config.limits;
    let heads = Heads::default();
    let recorder =
        Recorder::new(stream, HeadLimits { bytes: limits.head_bytes, lines: limits.head_lines }, heads.clone());
    let mut http = hyper::server::conn::http1::Builder::new();
    // A sender that closes its writing side once the request is out still waits for the answer.
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(16 << 10).half_close(true);
    let service = service_fn(|request: Request<Incoming>| {
        let (head, connection) = (heads.next(), Arc::clone(&connection));
        async move { Ok::<_, Infallible>(answer::<S>(head, request, &connection).await) }
    });
    let serving = http.serve_connection(recorder, service).with_upgrades();
    tokio::pin!(serving);
    tokio::select! {
        biased;
        // How a stranger's connection ends is nobody's concern: it was answered, or it went away.
        _ = &mut serving => {}
        () = draining.raised() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// Serves HTTP/2 likewise. It has no lines to record: names come in lower case, and the library groups those of one name; both is said in the record.
pub(crate) async fn serve_http2<S>(stream: Stream<S>, connection: Arc<Connection>, draining: Flag)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &connection.shared.config.limits;
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(100)
        .keep_alive_interval(limits.head_time)
        .keep_alive_timeout(limits.head_time);
    let (busy, head_time) = (Busy::default(), limits.head_time);
    let limits = HeadLimits { bytes: limits.head_bytes, lines: limits.head_lines };
    let service = service_fn(|request: Request<Incoming>| {
        let (connection, under_way) = (Arc::clone(&connection), busy.begin());
        async move {
            let answer = answer::<S>(Some(head_of_http2(&request, limits)), request, &connection).await;
            drop(under_way);
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        biased;
        _ = &mut serving => {}
        // Pings keep a connection open that nobody sends a request on; here it may not stay.
        () = busy.idle_for(head_time) => {}
        () = draining.raised() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// Whether requests are under way on a connection, and since when not.
#[derive(Clone)]
struct Busy(Arc<watch::Sender<usize>>);

/// One request under way.
struct UnderWay(Busy);

impl Default for Busy {
    fn default() -> Self {
        Busy(Arc::new(watch::Sender::new(0)))
    }
}

impl Busy {
    fn begin(&self) -> UnderWay {
        self.0.send_modify(|n| *n += 1);
        UnderWay(self.clone())
    }

    /// Returns once no request has been under way for so long.
    async fn idle_for(&self, time: Duration) {
        let mut seen = self.0.subscribe();
        loop {
            let idle = *seen.borrow_and_update() == 0;
            let changed = tokio::time::timeout(time, seen.changed()).await;
            if idle && changed.is_err() {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|n| *n -= 1);
    }
}

fn head_of_http2(request: &Request<Incoming>, limits: HeadLimits) -> Result<Head, Refusal> {
    let malformed = |why| move |_| Refusal::Malformed(why);
    let target = request.uri().path_and_query().map_or("/", |t| t.as_str());
    let mut headers = Headers::default();
    if let Some(authority) = request.uri().authority() {
        headers.push("host", authority.as_str().to_owned());
    }
    headers.0.extend(
        request
            .headers()
            .iter()
            .map(|(name, value)| HeaderLine::new(name.as_str().to_owned(), value.as_bytes().to_vec())),
    );
    let bytes: usize = headers.iter().map(|l| l.name.len() + l.value.len() + 4).sum();
    if headers.0.len() > limits.lines || bytes + target.len() > limits.bytes {
        return Err(Refusal::TooLarge);
    }
    if request.method() == hyper::Method::CONNECT {
        return Err(Refusal::Malformed("CONNECT is for proxies; this is not one."));
    }
    Ok(Head {
        method: request
            .method()
            .as_str()
            .parse()
            .map_err(|_| Refusal::Malformed("The method is not an HTTP method."))?,
        target: target.parse().map_err(malformed("The path is not visible ASCII that begins with '/'."))?,
        version: HttpVersion::Http2,
        headers,
        body: Framing::Length(0),
        upgrade: false,
    })
}

/// Answers one request of a connection that came over an `S`.
async fn answer<S>(
    head: Option<Result<Head, Refusal>>,
    request: Request<Incoming>,
    connection: &Arc<Connection>,
) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head = match head {
        Some(Ok(head)) => head,
        Some(Err(refusal)) => return Problem::Head(refusal).answer(None),
        // hyper answers only what the recorder made; without a record there is no request.
        None => return Problem::Head(Refusal::Malformed("The request could not be read.")).answer(None),
    };
    let shared = &connection.shared;
    let origin = shared.config.proxies.origin(connection.source_ip, &head.headers);
    if let Some(tls) = &shared.tls
        && let Some(text) = tls.certificates.challenges.text(head.headers.get("host"), head.target.as_str())
    {
        return respond::acme(text);
    }
    match route(head.headers.get("host"), &head.target, shared.domain.as_ref()) {
        Route::Tunnel { name, prefix_len } => {
            let mut lost = Vec::new();
            if head.version == HttpVersion::Http2 {
                lost.push(Lost::HeaderOrder);
            }
            if head.body == Framing::Chunked {
                lost.push(Lost::ChunkBoundaries);
            }
            let delivery = ingest::Request {
                tunnel: name,
                prefix_len,
                source_ip: origin.source,
                method: head.method,
                target: head.target,
                http_version: head.version,
                headers: head.headers,
                lost,
            };
            ingest::take(delivery, request.into_body(), shared).await
        }
        Route::Agent(tunnel) => agents::open::<S>(head, request, tunnel, origin, connection).await,
        Route::Nothing => Problem::NotFound.answer(None),
        Route::Health | Route::Ready | Route::Root if !matches!(head.method.as_str(), "GET" | "HEAD") => {
            Problem::Method("GET").answer(None)
        }
        Route::Health => respond::json(StatusCode::OK, &serde_json::json!({ "status": "alive" }), None),
        Route::Ready => ready(shared),
        Route::Root => respond::json(
            StatusCode::OK,
            &serde_json::json!({ "message": "This is a healthie-relay: it takes webhooks for developers' machines. There is nothing to see here." }),
            None,
        ),
    }
}

fn ready(shared: &Shared) -> Answer {
    let certificates = shared.tls.as_ref().map(|tls| tls.standing(&shared.clock)).unwrap_or_default();
    let usable = certificates.is_empty() || certificates.iter().any(|c| matches!(c.state, State::Ok | State::Expiring));
    let problem = match shared.spool.usable() {
        _ if shared.is_stopping() => Some("stopping".to_owned()),
        Err(e) => Some(e.to_string()),
        Ok(()) if !usable => Some("there is no certificate for HTTPS that is valid now".to_owned()),
        Ok(()) => None,
    };
    let (status, mut said) = match problem {
        None => (StatusCode::OK, serde_json::json!({ "status": "ready" })),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "status": "not ready", "message": why })),
    };
    if !certificates.is_empty() {
        said["certificates"] = serde_json::json!(certificates);
    }
    respond::json(status, &said, None)
}
