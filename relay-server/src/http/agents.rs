//! The door for agents: who may open a session, and the upgrade to a WebSocket. What happens in the session is `session`'s.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tunnel_delivery::TunnelName;

use super::connection::Connection;
use super::head::Head;
use super::recorder::Recorder;
use crate::proxy::Origin;
use crate::respond::{Answer, Problem};
use crate::session::{self, Caller};
use crate::stream::Stream;

/// Opens a session, if the token is good for it.
pub(crate) async fn open<S>(
    head: Head,
    request: Request<Incoming>,
    tunnel: Option<TunnelName>,
    origin: Origin,
    connection: &Arc<Connection>,
) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = &connection.shared;
    if shared.is_stopping() {
        return Problem::Stopping.answer(None);
    }
    let token = head
        .headers
        .get(AUTHORIZATION.as_str())
        .and_then(|v| std::str::from_utf8(v).ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    let known = match token {
        Some(token) => shared.tunnel_of(token.trim()).await,
        None => None,
    };
    let Some((token, its_tunnel)) = known.filter(|(_, its)| tunnel.as_ref().is_none_or(|wanted| wanted == its)) else {
        return Problem::Unauthorized.answer(None);
    };
    let key = head.headers.get("sec-websocket-key").filter(|key| key.len() == 24);
    let version = head.headers.get("sec-websocket-version");
    let (Some(key), Some(b"13"), true, "GET") = (key, version, head.upgrade, head.method.as_str()) else {
        return Problem::UpgradeRequired.answer(None);
    };
    let accept = derive_accept_key(key);
    let host = head.headers.get("host").and_then(|h| std::str::from_utf8(h).ok());
    let caller = Caller { public_urls: shared.public_urls(&its_tunnel, host, origin.https), tunnel: its_tunnel, token };
    let (shared, end, place) = (Arc::clone(shared), shared.end_sessions.clone(), Arc::clone(connection));
    let upgrade = hyper::upgrade::on(request);
    connection.sessions.spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((stream, read)) = taken_over::<S>(upgraded) else { return };
        session::serve(stream, read, caller, shared, end).await;
        drop(place);
    });
    let mut answer = Response::new(http_body_util::Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(hyper::header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        answer.headers_mut().insert("sec-websocket-accept", accept);
    }
    answer
}

/// The connection without HTTP around it, and what came after the request. The buffers of library and recorder end here: a session that idles for days is
/// not to keep 12 KiB of them.
fn taken_over<S>(upgraded: Upgraded) -> Option<(Stream<S>, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgraded.downcast::<Recorder<Stream<S>>>().ok()?;
    let (stream, buffered) = parts.io.into_parts();
    Some((stream, [&parts.read_buf[..], &buffered[..]].concat()))
}
