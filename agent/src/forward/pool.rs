//! Connections kept for the next request to the same peer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::head_swap::Swap;
use crate::dial::Peer;

/// Node closes a kept connection after 5 s; going first avoids requests on connections that are just being closed.
const IDLE: Duration = Duration::from_secs(4);
/// As many as a busy passthrough uses at once; each costs some 20 KiB.
const MOST_IDLE: usize = 64;

/// An open connection to a peer.
pub(super) struct Conn {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) swap: Swap,
}

#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    idle: HashMap<Peer, Vec<(Conn, Instant)>>,
    sweeping: bool,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if one can be used now.
    pub(super) fn take(&self, peer: &Peer) -> Option<Conn> {
        let mut inner = self.lock();
        let idle = inner.idle.get_mut(peer)?;
        idle.retain(|(conn, since)| !conn.sender.is_closed() && since.elapsed() < IDLE);
        // One that is not ready still writes what its last answer did not wait for.
        let last = idle.iter().rposition(|(conn, _)| conn.sender.is_ready())?;
        Some(idle.swap_remove(last).0)
    }

    pub(super) fn put(&self, peer: Peer, conn: Conn) {
        let mut inner = self.lock();
        let idle = inner.idle.entry(peer).or_default();
        if idle.len() < MOST_IDLE {
            idle.push((conn, Instant::now()));
        }
        if !std::mem::replace(&mut inner.sweeping, true) {
            let pool = Arc::downgrade(&self.0);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(IDLE).await;
                    let Some(pool) = pool.upgrade().map(Pool) else { return };
                    if pool.sweep() {
                        return;
                    }
                }
            });
        }
    }

    /// Drops what has been idle for too long; gives whether nothing is left.
    fn sweep(&self) -> bool {
        let mut inner = self.lock();
        inner.idle.retain(|_, idle| {
            idle.retain(|(conn, since)| !conn.sender.is_closed() && since.elapsed() < IDLE);
            !idle.is_empty()
        });
        inner.sweeping = !inner.idle.is_empty();
        !inner.sweeping
    }
}
