//! From a listener to connections: accept fast, do everything else in the connection's own task and under time limits.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::admission::{Entry, Held};
use crate::flag::Flag;
use crate::http::connection::{self, Connection};
use crate::metrics::Limit;
use crate::proxy::preface;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::tls::ACME_TLS;

/// Where connections come from.
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and who is at its other end. Dropping the future must lose no connection.
    ///
    /// # Errors
    /// What the system says; the next call may succeed.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, IpAddr)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        let _ = stream.set_nodelay(true);
        Ok((stream, peer.ip()))
    }
}

/// Tasks that a stop waits for.
#[derive(Clone)]
pub(crate) struct Tasks {
    alive: watch::Sender<()>,
}

impl Tasks {
    pub(crate) fn new() -> Tasks {
        Tasks { alive: watch::Sender::new(()) }
    }

    /// Runs a task that is waited for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alive = self.alive.subscribe();
        tokio::spawn(async move {
            task.await;
            drop(alive);
        });
    }

    /// Returns when all are done.
    pub(crate) async fn wait(&self) {
        self.alive.closed().await;
    }
}

/// What a listener needs to serve its connections.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Trusted proxies say first who is at their other end.
    pub(crate) preface: bool,
    /// Raised when connections are to end after the request in hand.
    pub(crate) draining: Flag,
    pub(crate) connections: Tasks,
    pub(crate) sessions: Tasks,
}

/// Accepts until draining begins.
pub(crate) async fn listen<L: Listener>(mut listener: L, door: Door) {
    let shared = &door.shared;
    loop {
        // Always: what waited in the kernel would wait behind whoever came first, and `admission` knows better who has to go.
        let accepted = tokio::select! {
            biased;
            () = door.draining.raised() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let held = match shared.admission.enter() {
                    Entry::Free(held) => held,
                    Entry::InsteadOfAnother(held) => {
                        shared.metrics.limit_hit(Limit::Connections);
                        held
                    }
                    Entry::Full => {
                        shared.metrics.limit_hit(Limit::Connections);
                        continue;
                    }
                };
                let door_of_this = door.clone();
                door.connections.spawn(async move {
                    serve(stream, peer, held, door_of_this).await;
                });
            }
            Err(e) => {
                // Out of file descriptors, mostly: one is had back from whoever is worth the least. Trying at once again would only burn the processor.
                let made_room = shared.admission.make_room();
                warn!(error = %e, made_room, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve<S>(mut stream: S, peer: IpAddr, held: Held, door: Door)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &door.shared.config.limits;
    let place = Arc::clone(held.place());
    let entering = async {
        let source_ip = sender(&mut stream, peer.to_canonical(), &door).await?;
        if door.shared.is_favoured(source_ip) {
            held.is_favoured();
        } else if !held.belongs_to(source_ip) {
            door.shared.metrics.limit_hit(Limit::ConnectionsPerAddress);
            debug!(%source_ip, "connection closed: its address has as many as it may");
            return None;
        }
        let Some(tls) = &door.tls else { return Some((source_ip, Stream::plain(stream, place, limits.write_time))) };
        match tokio::time::timeout(limits.tls_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => Some((source_ip, Stream::tls(stream, place, limits.write_time))),
            Ok(Err(e)) => {
                debug!(%source_ip, error = %e, "TLS was not set up");
                None
            }
            Err(_) => {
                door.shared.metrics.limit_hit(Limit::HandshakeTime);
                debug!(%source_ip, "TLS took too long to set up");
                None
            }
        }
    };
    let (source_ip, mut stream) = tokio::select! {
        biased;
        () = held.place().must_give_way() => return,
        entered = entering => match entered {
            Some(entered) => entered,
            None => return,
        },
    };
    let connection =
        Arc::new(Connection { shared: Arc::clone(&door.shared), source_ip, held, sessions: door.sessions.clone() });
    match stream.alpn() {
        // The handshake was all that the ACME server wanted to see (RFC 8737, section 3).
        Some(ACME_TLS) => drop(tokio::time::timeout(limits.tls_time, stream.shutdown()).await),
        Some(b"h2") => connection::serve_http2(stream, connection, door.draining).await,
        _ => connection::serve_http1(stream, connection, door.draining).await,
    }
}

/// Who is at the other end: whoever connected, unless that is a trusted proxy that says first for whom it speaks. None if it does not.
async fn sender(stream: &mut (impl AsyncRead + Unpin), peer: IpAddr, door: &Door) -> Option<IpAddr> {
    // Anybody else is not listened to: a preface from there is a bad request, as it would be on any other listener.
    if !door.preface || !door.shared.config.proxies.trusts(peer) {
        return Some(peer);
    }
    match tokio::time::timeout(door.shared.config.limits.tls_time, preface::read(stream)).await {
        Ok(Ok(preface::Client::At(client))) => Some(client),
        Ok(Ok(preface::Client::Peer)) => Some(peer),
        // It looks whether somebody listens, as balancers do.
        Ok(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => None,
        Ok(Err(e)) => {
            warn!(proxy = %peer, error = %e, "a trusted proxy did not say by the PROXY protocol who connects; is it set up for it?");
            None
        }
        Err(_) => {
            door.shared.metrics.limit_hit(Limit::HandshakeTime);
            debug!(proxy = %peer, "a trusted proxy took too long to say who connects");
            None
        }
    }
}
