//! One connection of the public: hyper serves it, the recorder tells what was really sent, and each request goes where it belongs.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tunnel_delivery::{HeaderLine, Headers, HttpVersion, Lost};

use super::agents;
use super::carried::{Carried, carry};
use super::head::{self, Framing, Head, HeadLimits, Refusal};
use super::host::Host;
use super::operator;
use super::recorder::{Heads, Recorder};
use super::trail;
use crate::accept::Tasks;
use crate::admission::{Held, InHand, Patience, neighbourhood};
use crate::config::Limits;
use crate::flag::Flag;
use crate::ingest;
use crate::metrics::{Limit, Listener, Open};
use crate::page;
use crate::respond::{self, Answer, DELIVERY_HEADER, Many, Problem};
use crate::route::{Route, route};
use crate::shared::Shared;
use crate::stream::Stream;

/// What the requests of one connection have in common.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// Who is at its other end; through a trusted proxy, each request may be somebody else's.
    pub(crate) source_ip: IpAddr,
    /// The door it came in by.
    pub(crate) listener: Listener,
    /// Counts it as open.
    pub(crate) _open: Open,
    /// Its place among the connections that are allowed; a session keeps it.
    pub(crate) held: Held,
    /// Where sessions are counted, so that a stop can wait for them.
    pub(crate) sessions: Tasks,
}

impl Connection {
    /// What browsers are told that come by HTTPS, if anything. Never of the names below: they may be anybody's. And never over HTTP, where it counts for nothing
    /// (RFC 6797, section 7.2); behind a proxy that does TLS it is the proxy's to say.
    fn hsts(&self) -> Option<HeaderValue> {
        let https = self.shared.config.https.as_ref().filter(|_| self.listener == Listener::Https)?;
        let seconds = https.hsts.as_secs();
        (seconds > 0).then(|| HeaderValue::try_from(format!("max-age={seconds}")).ok()).flatten()
    }
}

/// How long a connection that nobody uses may take to end in order.
const GOODBYE: Duration = Duration::from_secs(1);

/// Of HTTP/2: what one request, and all of a connection, may send before we have read it; and what is kept of an answer that the sender opens no window for.
/// Deliveries are small. A body at the limit of 1 MiB over a line of 100 ms takes some two seconds.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;
const SEND_BUFFER: usize = 64 << 10;

/// Serves until the connection ends, or hits a limit, or until the requests in hand are answered once draining has begun.
macro_rules! serve {
    ($serving:expr, $connection:expr, $patience:expr, $draining:expr) => {{
        let (serving, connection, patience, draining): (_, &Connection, Patience, Flag) =
            ($serving, $connection, $patience, $draining);
        let (place, metrics) = (connection.held.place(), &connection.shared.metrics);
        tokio::pin!(serving);
        let mut last = false;
        loop {
            tokio::select! {
                biased;
                // How a stranger's connection ends is nobody's concern: it was answered, or it went away.
                _ = &mut serving => break,
                limit = place.over(patience) => {
                    // Whose place is needed was counted where it was.
                    if limit != Limit::Connections {
                        metrics.limit_hit(limit);
                    }
                    if matches!(limit, Limit::ConnectionUse | Limit::HeadTime) {
                        serving.as_mut().graceful_shutdown();
                        last = true;
                        // A request that was on its way over HTTP/2 at that moment is answered, however long its handler takes: the sender could not know.
                        if tokio::time::timeout(GOODBYE, &mut serving).await.is_err() && place.is_in_use() {
                            continue;
                        }
                    }
                    break;
                }
                () = draining.raised(), if !last => {
                    serving.as_mut().graceful_shutdown();
                    last = true;
                }
            }
        }
        if place.was_too_slow_a_reader() {
            metrics.limit_hit(Limit::ReadTime);
        }
    }};
}

fn patience(limits: &Limits, head: Option<Duration>) -> Patience {
    Patience { idle: limits.idle_time, head, answer: limits.write_time, given_up: limits.resets }
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
    // hyper knows one time for waiting and for a head; ours are shorter, and this one holds where they should not.
    let at_last = limits.idle_time.saturating_add(limits.head_time).saturating_add(GOODBYE);
    // A sender that closes its writing side once the request is out still waits for the answer.
    http.timer(TokioTimer::new()).header_read_timeout(at_last).max_buf_size(16 << 10).half_close(true);
    let service = service_fn(|request: Request<Incoming>| {
        let (head, connection) = (heads.next(), Arc::clone(&connection));
        async move {
            let asks_upgrade = matches!(&head, Some(Ok(head)) if head.upgrade);
            let has_body = !request.body().is_end_stream();
            let mut answer = serve_request::<S>(head, request, &connection).await;
            // The recorder reads no head after a request for an upgrade, so none may follow. And a body that was not read (only deliveries are) may still be
            // under way: hyper closes then, and a proxy that is not told so loses the next sender's request on this connection.
            let refused_upgrade = asks_upgrade && answer.status() != StatusCode::SWITCHING_PROTOCOLS;
            if refused_upgrade || has_body && !answer.headers().contains_key(DELIVERY_HEADER) {
                answer.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let patience = patience(limits, Some(limits.head_time));
    serve!(http.serve_connection(recorder, service).with_upgrades(), &connection, patience, draining);
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
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // Streams that are reset before we have looked at them (CVE-2023-44487), and those that we have to reset (CVE-2025-8671).
        .max_pending_accept_reset_streams(usize::try_from(limits.resets).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(usize::try_from(limits.resets).ok())
        .keep_alive_interval(limits.idle_time)
        .keep_alive_timeout(limits.write_time);
    let head_limits = HeadLimits { bytes: limits.head_bytes, lines: limits.head_lines };
    let service = service_fn(|request: Request<Incoming>| {
        let connection = Arc::clone(&connection);
        async move {
            let head = head_of_http2(&request, head_limits);
            Ok::<_, Infallible>(serve_request::<S>(Some(head), request, &connection).await)
        }
    });
    // Pings keep a connection open that nobody sends a request on; the time for waiting ends it all the same.
    let patience = patience(limits, None);
    serve!(http.serve_connection(TokioIo::new(stream), service), &connection, patience, draining);
}

fn head_of_http2(request: &Request<Incoming>, limits: HeadLimits) -> Result<Head, Refusal> {
    let malformed = |why| move |_| Refusal::Malformed(why);
    let target = request.uri().path_and_query().map_or("/", |t| t.as_str());
    let mut headers = Headers::default();
    let authority = request.uri().authority().map(|a| a.as_str());
    if let Some(authority) = authority {
        headers.push("host", authority.to_owned());
    }
    for (name, value) in request.headers() {
        // Who says it twice must say the same (RFC 9113, section 8.3.1); it is recorded once.
        let again = name == hyper::header::HOST
            && authority.is_some_and(|a| value.as_bytes().eq_ignore_ascii_case(a.as_bytes()));
        if !again {
            headers.0.push(HeaderLine::new(name.as_str().to_owned(), value.as_bytes().to_vec()));
        }
    }
    head::check_host(&headers)?;
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

/// Answers one request of a connection that came over an `S`, and has it under way until the answer has gone out.
async fn serve_request<S>(
    head: Option<Result<Head, Refusal>>,
    request: Request<Incoming>,
    connection: &Arc<Connection>,
) -> Response<Carried>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut in_hand = connection.held.place().request();
    let answer = trail::follow(answer::<S>(head, request, &mut in_hand, connection), connection).await;
    let mut answer = respond::sealed(answer);
    if let Some(hsts) = connection.hsts() {
        answer.headers_mut().insert(hyper::header::STRICT_TRANSPORT_SECURITY, hsts);
    }
    carry(answer, in_hand)
}

async fn answer<S>(
    head: Option<Result<Head, Refusal>>,
    request: Request<Incoming>,
    in_hand: &mut InHand,
    connection: &Arc<Connection>,
) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = &connection.shared;
    let head = match head {
        Some(Ok(head)) => head,
        Some(Err(refusal)) => {
            if refusal == Refusal::TooLarge {
                shared.metrics.limit_hit(Limit::HeadBytes);
            }
            return Problem::Head(refusal).answer(None);
        }
        // hyper answers only what the recorder made; without a record there is no request.
        None => return Problem::Head(Refusal::Malformed("The request could not be read.")).answer(None),
    };
    if connection.listener == Listener::Admin {
        return trail::was_for(operator::answer(&head, shared, connection.listener).await, "operator");
    }
    let origin = shared.config.proxies.origin(connection.source_ip, &head.headers);
    if let Some(tls) = &shared.tls
        && let Some(text) = tls.certificates.challenges.text(head.headers.get("host"), head.target.as_str())
    {
        return respond::acme(text);
    }
    if !head.headers.get("host").and_then(Host::parse).is_some_and(|host| shared.names.admit(&host)) {
        shared.metrics.limit_hit(Limit::Host);
        return Problem::Head(Refusal::Misdirected).answer(None);
    }
    let route = route(head.headers.get("host"), &head.target, shared.domain.as_ref());
    // Agents are few, and how often they may try is counted elsewhere; whether the relay is alive must be known under any load.
    if matches!(route, Route::Tunnel { .. } | Route::Metrics | Route::Nothing | Route::Root)
        && !shared.is_favoured(origin.source)
        && let Err(wait) = shared.rates.address(neighbourhood(origin.source))
    {
        shared.metrics.limit_hit(Limit::AddressRate);
        return Problem::TooMany { of: Many::Address, retry_after: ingest::whole_seconds(wait) }.answer(None);
    }
    let page = page::is_wanted(head.method.as_str(), &head.headers);
    let what_for = route.as_str();
    let answer = match route {
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
            let answer = ingest::take(delivery, request.into_body(), in_hand, shared).await;
            if page && answer.status() == StatusCode::METHOD_NOT_ALLOWED { respond::as_page(answer) } else { answer }
        }
        Route::Metrics if !shared.config.tells_figures(origin.source) => nothing(page),
        Route::Nothing => nothing(page),
        Route::Agent(tunnel) => agents::open::<S>(head, request, tunnel, origin, connection).await,
        Route::Health | Route::Ready | Route::Metrics => operator::answer(&head, shared, connection.listener).await,
        Route::Root if !matches!(head.method.as_str(), "GET" | "HEAD") => {
            Problem::Method("GET, HEAD".into()).answer(None)
        }
        Route::Root if page => respond::as_page(Answer::default()),
        Route::Root => {
            let what =
                "This is a healthie-relay: it takes webhooks for developers' machines. There is nothing to see here.";
            respond::json(StatusCode::OK, &serde_json::json!({ "message": what }), None)
        }
    };
    trail::was_for(answer, what_for)
}

/// What is not there: as a page for a visitor by a browser.
fn nothing(page: bool) -> Answer {
    let answer = Problem::NotFound.answer(None);
    if page { respond::as_page(answer) } else { answer }
}
