//! From a request to a WebSocket: whether it asks for one rightly (RFC 6455, section 4.2), the answer that grants it, and the socket to whoever serves
//! it. Who may have one is not asked here.

use std::future::Future;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::head::Head;
use super::recorder::Recorder;
use crate::accept::Tasks;
use crate::respond::Answer;

/// The key of a request that asks for a WebSocket as it should be asked for.
pub(crate) fn key(head: &Head) -> Option<&[u8]> {
    let key = only(head, "sec-websocket-key").filter(|key| is_key(key))?;
    let asks = head.upgrade && only(head, "sec-websocket-version") == Some(b"13");
    asks.then_some(key)
}

/// The value of a line that is there once.
fn only<'a>(head: &'a Head, name: &'a str) -> Option<&'a [u8]> {
    let mut lines = head.headers.get_all(name);
    let first = lines.next();
    first.filter(|_| lines.next().is_none())
}

/// 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(digit) && key.ends_with(b"==")
}

/// Grants it, where hyper reads from a recorder over an `I`. `then` gets the socket, once the answer is out, and what had been read from it already.
pub(crate) fn grant<I, F, T>(key: &[u8], request: Request<Incoming>, sessions: &Tasks, then: F) -> Answer
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: FnOnce(I, Vec<u8>) -> T + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let accept = derive_accept_key(key);
    let upgrade = hyper::upgrade::on(request);
    sessions.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((stream, read)) = taken_over(upgraded) else { return };
        then(stream, read).await;
    });
    let mut answer = Response::new(http_body_util::Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        answer.headers_mut().insert("sec-websocket-accept", accept);
    }
    answer
}

/// The connection without HTTP around it, and what came after the request. The buffers of library and recorder end here: a session that idles for days is
/// not to keep 12 KiB of them.
fn taken_over<I>(upgraded: Upgraded) -> Option<(I, Vec<u8>)>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgraded.downcast::<Recorder<I>>().ok()?;
    let (stream, buffered) = parts.io.into_parts();
    Some((stream, [&parts.read_buf[..], &buffered[..]].concat()))
}
