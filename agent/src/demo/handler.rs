//! The sample handler of the demo: what a developer would write. It verifies each delivery for the path that it sees, answers 401 to what is
//! not valid, and fails once where it is asked to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tunnel_signature::{Message, Secret, Verifier};

use super::SECRET;
use super::deliveries::FAILS_ONCE;
use crate::dial::Peer;

struct Shared {
    verifier: Verifier,
    failed: AtomicBool,
}

/// A running handler; it ends when this is dropped.
pub(super) struct Handler {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Handler {
    pub(super) fn peer(&self) -> Peer {
        Peer { tls: false, host: self.addr.ip().to_string(), port: self.addr.port() }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn start() -> io::Result<Handler> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    let secret = Secret::new(SECRET).map_err(io::Error::other)?;
    let shared = Arc::new(Shared { verifier: Verifier::new(&[secret]), failed: AtomicBool::new(false) });
    let router = Router::new().fallback(handle).with_state(shared);
    let task = tokio::spawn(async move {
        // It serves as long as the demo runs.
        let _ = axum::serve(listener, router).await;
    });
    Ok(Handler { addr, task })
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let target = uri.path_and_query().map_or("/", |t| t.as_str());
    let lines: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_str().as_bytes(), v.as_bytes())).collect();
    let message = Message { method: method.as_str(), target, headers: &lines, body: &body };
    if !shared.verifier.verify(&message).is_valid() {
        return (StatusCode::UNAUTHORIZED, "the signature is not valid");
    }
    if uri.path() == FAILS_ONCE && !shared.failed.swap(true, Ordering::Relaxed) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "failed, as it was asked to");
    }
    (StatusCode::OK, "thank you")
}
