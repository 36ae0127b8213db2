//! The door for agents: who may open a session. The upgrade is `upgrade`'s, and what happens in the session `session`'s.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use tokio::io::{AsyncRead, AsyncWrite};
use tunnel_delivery::TunnelName;

use super::connection::Connection;
use super::head::Head;
use super::upgrade;
use crate::metrics::Limit;
use crate::proxy::Origin;
use crate::registry::Admission;
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
    let (pass, its_tunnel) = match shared.admit(token.map(str::trim), tunnel.as_ref(), origin.source).await {
        Ok(Admission::Open(pass, its_tunnel)) => (pass, its_tunnel),
        Ok(Admission::Which(names)) => return Problem::WhichTunnel(names).answer(None),
        // For whatever is wrong with it: nobody learns which tunnels and tokens there are.
        Ok(Admission::No) => return Problem::Unauthorized.answer(None),
        Err(wait) => {
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            return Problem::TooManyAttempts { seconds }.answer(None);
        }
    };
    let Some(key) = upgrade::key(&head) else { return Problem::UpgradeRequired.answer(None) };
    if !connection.held.become_agent(&its_tunnel, pass.access) {
        shared.metrics.limit_hit(Limit::Agents);
        return Problem::TooManyAgents.answer(None);
    }
    let host = head.headers.get("host").and_then(|h| std::str::from_utf8(h).ok());
    let public_urls = shared.public_urls(&its_tunnel, host, origin.https);
    let caller = Caller { tunnel: its_tunnel, pass, from: origin.source, public_urls };
    let (shared, end, place) = (Arc::clone(shared), shared.end_sessions.clone(), Arc::clone(connection));
    upgrade::grant::<Stream<S>, _, _>(key, request, &connection.sessions, |stream, read| async move {
        session::serve(stream, read, caller, shared, end).await;
        drop(place);
    })
}
