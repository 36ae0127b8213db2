//! From a listener to connections: accept fast, do everything else in the connection's own task and under time limits.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tracing::{debug, warn};

use crate::admission::{Admission, Entry, Held, neighbourhood};
use crate::flag::Flag;
use crate::http::connection::{self, Connection};
use crate::lines::Line;
use crate::metrics::{self, Handshake, Limit};
use crate::proxy::preface;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::tls::ACME_TLS;

/// How long to wait for a place before asking again.
const SOON: Duration = Duration::from_millis(20);

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
    /// Whose door it is, and what its connections are counted as.
    pub(crate) listener: metrics::Listener,
    /// Who may come in by it.
    pub(crate) admission: Arc<Admission>,
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
                let Some(held) = place(&door).await else { continue };
                let door_of_this = door.clone();
                door.connections.spawn(async move {
                    serve(stream, peer, held, door_of_this).await;
                });
            }
            Err(e) => {
                // Out of file descriptors, mostly: one is had back from whoever is worth the least. Trying at once again would only burn the processor.
                let made_room = is_for_want(&e) && door.admission.make_room();
                if shared.tells(Line::NotAccepted, &door.listener.as_str()) {
                    warn!(error = %e, made_room, "a connection could not be accepted");
                }
                shared.metrics.not_accepted();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Whether the system has too little of something, and is not only telling that this one connection is broken already.
fn is_for_want(e: &io::Error) -> bool {
    use rustix::io::Errno;
    let wants = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(e).is_some_and(|errno| wants.contains(&errno))
}

/// A place for one more connection, as soon as there is one; nothing if there is none, or none is to come any more.
async fn place(door: &Door) -> Option<Held> {
    let mut waits = false;
    loop {
        let entry = door.admission.enter();
        if !waits && !matches!(entry, Entry::Free(_)) {
            door.shared.metrics.limit_hit(Limit::Connections);
        }
        match entry {
            Entry::Free(held) | Entry::InsteadOfAnother(held) => return Some(held),
            Entry::Full => return None,
            Entry::Soon => waits = true,
        }
        tokio::select! {
            biased;
            () = door.draining.raised() => return None,
            () = tokio::time::sleep(SOON) => {}
        }
    }
}

async fn serve<S>(mut stream: S, peer: IpAddr, held: Held, door: Door)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (limits, metrics) = (&door.shared.config.limits, &door.shared.metrics);
    let open = metrics.connection(door.listener);
    let place = Arc::clone(held.place());
    let entering = async {
        let source_ip = sender(&mut stream, peer.to_canonical(), &door).await?;
        // The operator's own door is where nobody else gets to.
        if door.listener == metrics::Listener::Admin || door.shared.is_favoured(source_ip) {
            held.is_favoured();
        } else if !held.belongs_to(source_ip) {
            metrics.limit_hit(Limit::ConnectionsPerAddress);
            debug!(%source_ip, "connection closed: its address has as many as it may");
            return None;
        }
        let Some(tls) = &door.tls else { return Some((source_ip, Stream::plain(stream, place, limits.write_time))) };
        let (began, hello) = (Instant::now(), LazyConfigAcceptor::new(Acceptor::default(), stream));
        let done = match tokio::time::timeout(limits.tls_time, hello).await {
            Ok(Ok(hello)) => {
                let left = limits.tls_time.saturating_sub(began.elapsed());
                // What costs something comes now.
                if !door.shared.is_favoured(source_ip)
                    && let Err(limit) = door.shared.handshakes.turn(neighbourhood(source_ip), limits.tls_time).await
                {
                    metrics.limit_hit(limit);
                    debug!(%source_ip, limit = limit.as_str(), "connection closed: there are more handshakes than there may be");
                    return None;
                }
                tokio::time::timeout(left, hello.into_stream(Arc::clone(tls.config()))).await
            }
            Ok(Err(e)) => Ok(Err(e)),
            Err(late) => Err(late),
        };
        match done {
            Ok(Ok(stream)) => {
                let stream = Stream::tls(stream, place, limits.write_time);
                metrics.handshake(if stream.alpn() == Some(ACME_TLS) { Handshake::Acme } else { Handshake::Done });
                Some((source_ip, stream))
            }
            Ok(Err(e)) => {
                metrics.handshake(Handshake::Failed);
                debug!(%source_ip, error = %e, "TLS was not set up");
                None
            }
            Err(_) => {
                metrics.handshake(Handshake::Timeout);
                metrics.limit_hit(Limit::HandshakeTime);
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
    let connection = Arc::new(Connection {
        shared: Arc::clone(&door.shared),
        source_ip,
        listener: door.listener,
        _open: open,
        held,
        sessions: door.sessions.clone(),
    });
    let protocol = stream.alpn();
    match protocol {
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
            if door.shared.tells(Line::Proxy, &peer) {
                warn!(proxy = %peer, error = %e, "a trusted proxy did not say by the PROXY protocol who connects; is it set up for it?");
            }
            None
        }
        Err(_) => {
            door.shared.metrics.limit_hit(Limit::HandshakeTime);
            debug!(proxy = %peer, "a trusted proxy took too long to say who connects");
            None
        }
    }
}
