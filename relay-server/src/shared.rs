//! What all connections of one relay share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::watch;
use tunnel_delivery::{Timestamp, TunnelName};
use tunnel_spool::RedbSpool;

use crate::config::Config;
use crate::hub::Hub;
use crate::ids::Ids;
use crate::registry::{Registry, TunnelSettings};
use crate::route::Domain;
use crate::tokens::TokenId;

/// The one place that says which spool it is; everything else knows only the trait.
pub(crate) type Store = RedbSpool;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) domain: Option<Domain>,
    pub(crate) registry: Registry,
    pub(crate) spool: Store,
    pub(crate) hub: Hub,
    pub(crate) ids: Ids,
    /// Names the stream that the spool's places count in: another spool, another stream.
    pub(crate) stream: Bytes,
    /// Set once no new work is taken.
    pub(crate) stopping: AtomicBool,
    /// Becomes true when sessions are to end.
    pub(crate) end_sessions: watch::Sender<bool>,
    /// Ports that listeners got, for the addresses told to agents.
    pub(crate) ports: Ports,
}

/// The ports under which the relay is reached.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ports {
    pub(crate) http: Option<u16>,
    pub(crate) https: Option<u16>,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        crate::session::wall_clock()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A tunnel's settings. One that is not known may just have been added: the file is looked at before saying no.
    pub(crate) async fn tunnel(self: &Arc<Self>, name: &TunnelName) -> Option<Arc<TunnelSettings>> {
        if let Some(settings) = self.registry.snapshot().tunnels.get(name) {
            return Some(Arc::clone(settings));
        }
        self.reload().await;
        self.registry.snapshot().tunnels.get(name).cloned()
    }

    /// The tunnel that a token opens, likewise.
    pub(crate) async fn tunnel_of(self: &Arc<Self>, token: &str) -> Option<(TokenId, TunnelName)> {
        if let Some(found) = self.registry.snapshot().tunnel_of(token) {
            return Some(found);
        }
        self.reload().await;
        self.registry.snapshot().tunnel_of(token)
    }

    /// Reads the registry again if it changed; ends the sessions that may not go on.
    pub(crate) async fn reload(self: &Arc<Self>) -> bool {
        let shared = Arc::clone(self);
        let changed = tokio::task::spawn_blocking(move || shared.registry.reload()).await;
        match changed {
            Ok(Ok(false)) => false,
            Ok(Ok(true)) => {
                let all = self.registry.snapshot();
                self.hub.dismiss(|tunnel, token| {
                    if !all.tunnels.contains_key(tunnel) {
                        return Some(format!("tunnel {tunnel} was removed"));
                    }
                    (!all.tokens.contains_key(token)).then(|| "the token was revoked".to_owned())
                });
                true
            }
            Ok(Err(e)) => {
                tracing::error!(error = %e, "the registry cannot be read; what was read before stays in force");
                false
            }
            Err(_) => false,
        }
    }

    /// Where senders reach a tunnel, best first: by host where there is a domain, by path in any case.
    pub(crate) fn public_urls(&self, tunnel: &TunnelName, host: Option<&str>) -> Vec<String> {
        let (scheme, port, usual) = match (self.ports.https, self.ports.http) {
            (Some(port), _) => ("https", port, 443),
            (None, port) => ("http", port.unwrap_or(80), 80),
        };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        let mut urls = Vec::new();
        if let Some(domain) = &self.domain {
            urls.push(format!("{scheme}://{tunnel}.{}{port}", domain.as_str()));
        }
        // The name by which the agent itself came in is one that works; its port may be another listener's.
        let host = host.map(|h| match h.rsplit_once(':') {
            Some((name, p)) if p.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => h,
        });
        if let Some(host) = host.or(self.domain.as_ref().map(Domain::as_str)) {
            urls.push(format!("{scheme}://{host}{port}/t/{tunnel}"));
        }
        urls
    }
}

/// Returns once the flag is set, or nobody is left who could set it.
pub(crate) async fn became_true(flag: &mut watch::Receiver<bool>) {
    // The guard that comes with it must not live across another await.
    let _ = flag.wait_for(|set| *set).await;
}
