//! One request to one target and all that can come of it. The only HTTP client that handlers meet.
//!
//! Never follows a redirect, never decodes a body, never retries except where a kept connection turned out to be closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::Instant;
use tunnel_delivery::{AttemptError, ErrorKind, Headers};

use super::head::{HostHeader, Outgoing};
use super::head_swap::{HeadSwap, Swap};
use super::pool::{Conn, Pool};
use super::target::TargetUrl;
use crate::dial::{DialError, Dialer, Peer};

/// The most bytes of an answer's body that are read at all; then the connection is dropped.
pub const MAX_ANSWER: usize = tunnel_protocol::MAX_ANSWER as usize;

/// What one request came to.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The status, as soon as there was one.
    pub status: Option<u16>,
    /// The answer's lines as sent.
    pub headers: Headers,
    /// The beginning of the answer's body, at most as much as was asked for.
    pub body: Bytes,
    /// Whether `body` is all of it.
    pub complete: bool,
    /// What kept the target from answering, or from finishing its answer.
    pub error: Option<AttemptError>,
    /// From the first byte sent, connecting included, to the last byte of the answer.
    pub duration: Duration,
    /// The body where it comes in more than one piece. Here rather than in the future that reads it, because that is dropped at a timeout.
    pieces: BytesMut,
}

impl Exchange {
    /// Keeps what there is room for of a piece of the body; `keep` is for all pieces together.
    fn keep(&mut self, piece: &Bytes, keep: usize) {
        let kept = self.body.len().max(self.pieces.len());
        let piece = piece.slice(..piece.len().min(keep.saturating_sub(kept)));
        if kept == 0 {
            // The usual answer comes in one piece and is not copied.
            self.body = piece;
        } else if !piece.is_empty() {
            if self.pieces.is_empty() {
                self.pieces.extend_from_slice(&self.body);
            }
            self.pieces.extend_from_slice(&piece);
        }
    }

    /// Puts the pieces together; gives the length of what was kept.
    fn join(&mut self) -> usize {
        if !self.pieces.is_empty() {
            self.body = std::mem::take(&mut self.pieces).freeze();
        }
        self.body.len()
    }
}

/// Ends all exchanges that are under way.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<(AtomicBool, Notify)>);

impl Interrupt {
    /// Every exchange under way, and every later one, ends now as interrupted.
    pub fn pull(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify_waiters();
    }

    /// Returns once it was pulled.
    pub(crate) async fn pulled(&self) {
        loop {
            // Registered before the flag is read, so that a pull between the two is not missed.
            let mut notified = std::pin::pin!(self.0.1.notified());
            notified.as_mut().enable();
            if self.0.0.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}

/// The client: connections that are kept, and how to open more.
#[derive(Clone)]
pub struct Client {
    dialer: Dialer,
    pool: Pool,
    /// Connections of [`Client::at_home`]: those of `pool` may lead anywhere.
    home: Pool,
    host: HostHeader,
    interrupt: Interrupt,
}

/// Why an exchange ended, and whether that was before the target can have seen all of the request.
struct Failed {
    error: AttemptError,
    stale: bool,
}

fn failed(kind: ErrorKind, message: String) -> Failed {
    Failed { error: AttemptError { kind, message }, stale: false }
}

impl Client {
    /// A client without connections.
    pub fn new(dialer: Dialer, host: HostHeader, interrupt: Interrupt) -> Client {
        Client { dialer, pool: Pool::default(), home: Pool::default(), host, interrupt }
    }

    /// The same client, which connects to this machine only, whatever a name leads to.
    #[must_use]
    pub fn at_home(&self) -> Client {
        Client { dialer: self.dialer.at_home(), pool: self.home.clone(), ..self.clone() }
    }

    /// As [`Dialer::leads_home`].
    ///
    /// # Errors
    /// Likewise.
    pub async fn leads_home(&self, to: &TargetUrl) -> Result<(), DialError> {
        self.dialer.leads_home(&to.peer).await
    }

    /// Sends `out` to `to` and waits at most `limit` for all of the answer, of which at most `keep` bytes of body are kept.
    pub async fn exchange(&self, to: &TargetUrl, out: &Outgoing, limit: Duration, keep: usize) -> Exchange {
        let began = Instant::now();
        let mut exchange = Exchange::default();
        let ended = tokio::select! {
            biased;
            ended = tokio::time::timeout(limit, self.run(to, out, keep, &mut exchange)) => ended,
            () = self.interrupt.pulled() => Ok(Err(failed(ErrorKind::Interrupted, format!("the agent stopped before {to} had answered")))),
        };
        exchange.duration = began.elapsed();
        exchange.join();
        exchange.error = match ended {
            Ok(Ok(())) => None,
            Ok(Err(failed)) => Some(failed.error),
            Err(_) => Some(AttemptError {
                kind: ErrorKind::Timeout,
                message: match exchange.status {
                    None => format!("{to} did not answer within {}", seconds(limit)),
                    Some(_) => format!("{to} began to answer and did not finish within {}", seconds(limit)),
                },
            }),
        };
        exchange
    }

    async fn run(&self, to: &TargetUrl, out: &Outgoing, keep: usize, exchange: &mut Exchange) -> Result<(), Failed> {
        if let Some(conn) = self.pool.take(&to.peer) {
            match self.on(conn, to, out, keep, exchange).await {
                // The target had closed the kept connection before the whole request was written: it cannot have acted on it, so this is
                // not its failure. Once all is written it may have, and a POST must not silently be sent again (RFC 9110, section 9.2.2).
                Err(failed) if failed.stale => {}
                ended => return ended,
            }
        }
        let conn = self.open(&to.peer).await?;
        self.on(conn, to, out, keep, exchange).await
    }

    async fn open(&self, peer: &Peer) -> Result<Conn, Failed> {
        let stream = self.dialer.dial(peer).await.map_err(|e| {
            let kind = match &e {
                DialError::Resolve { .. } => ErrorKind::Resolve,
                DialError::Connect { .. } | DialError::Elsewhere { .. } => ErrorKind::Connect,
                DialError::Tls { .. } => ErrorKind::Tls,
            };
            failed(kind, e.to_string())
        })?;
        let swap = Swap::default();
        let io = TokioIo::new(HeadSwap::new(stream, swap.clone()));
        // Separate writes of head and body, so that a big body is not copied behind the stand-in head; HeadSwap joins them again.
        let (sender, connection) = http1::Builder::new()
            .writev(true)
            .max_buf_size(256 * 1024)
            .max_headers(256)
            .handshake::<_, Full<Bytes>>(io)
            .await
            .map_err(|e| failed(ErrorKind::Closed, format!("the connection to {peer} could not be used: {e}")))?;
        tokio::spawn(async move {
            // What goes wrong here is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Conn { sender, swap })
    }

    async fn on(
        &self,
        mut conn: Conn,
        to: &TargetUrl,
        out: &Outgoing,
        keep: usize,
        exchange: &mut Exchange,
    ) -> Result<(), Failed> {
        conn.swap.arm(out.head(&to.peer.authority(), self.host), out.body.len());
        let mut stand_in = hyper::Request::new(Full::new(out.body.clone()));
        // The stand-in tells hyper what it needs for framing: that a body follows, and that the answer to HEAD has none.
        *stand_in.method_mut() = if out.method == "HEAD" { hyper::Method::HEAD } else { hyper::Method::POST };
        let response = match conn.sender.send_request(stand_in).await {
            Ok(response) => response,
            Err(e) => {
                let stale = !conn.swap.written() && !conn.swap.answered();
                return Err(Failed { stale, ..self.explain(to, &e, exchange) });
            }
        };
        exchange.status = Some(response.status().as_u16());
        exchange.headers = super::answer_head::last(&conn.swap.take_copy())
            .unwrap_or_else(|| super::answer_head::from_map(response.headers()));
        let upgraded = response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS;
        let whole = self.body(response.into_body(), to, keep, exchange).await?;
        if whole && !upgraded && !conn.sender.is_closed() {
            self.pool.put(to.peer.clone(), conn);
        }
        Ok(())
    }

    /// Reads the body; gives whether it was read to its end.
    async fn body(
        &self,
        mut body: Incoming,
        to: &TargetUrl,
        keep: usize,
        exchange: &mut Exchange,
    ) -> Result<bool, Failed> {
        let mut len = 0_usize;
        let ended = loop {
            match body.frame().await {
                None => break Ok(true),
                Some(Err(e)) => break Err(e),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    len += data.len();
                    exchange.keep(&data, keep);
                    if len > MAX_ANSWER {
                        break Ok(false);
                    }
                }
            }
        };
        exchange.complete = len == exchange.join() && matches!(ended, Ok(true));
        ended.map_err(|e| self.explain(to, &e, exchange))
    }

    fn explain(&self, to: &TargetUrl, e: &hyper::Error, exchange: &Exchange) -> Failed {
        if e.is_parse() {
            let what = if exchange.status.is_some() { "went on with" } else { "answered with" };
            return failed(ErrorKind::Garbage, format!("{to} {what} something that is not HTTP ({e})"));
        }
        let when = if exchange.status.is_some() { "before its answer was complete" } else { "without an answer" };
        let mut cause = std::error::Error::source(e);
        while let Some(inner) = cause {
            let io = inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            // hyper's words for chunks that are none.
            if matches!(io, Some(std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData)) {
                return failed(ErrorKind::Garbage, format!("{to} went on with something that is not HTTP ({inner})"));
            }
            cause = inner.source();
        }
        failed(ErrorKind::Closed, format!("{to} closed the connection {when}"))
    }
}

fn seconds(d: Duration) -> String {
    format!("{} s", d.as_secs_f64())
}
