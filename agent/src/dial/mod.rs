//! Opening connections: name to addresses, TCP, TLS. The relay's WebSocket and the handlers' HTTP both go through here.
//!
//! Knows nothing of HTTP and WebSocket.

mod network;
mod peer;
mod stream;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use network::{Connecting, Network, Wire};
pub use peer::{Peer, PeerError, is_loopback, split_url, without_user};
pub use stream::Stream;
pub use tls::{Trust, TrustError};

/// How long one address may take while there are others to try.
const ONE_ADDRESS: Duration = Duration::from_secs(2);

/// Why no connection was opened. Each message names the peer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the name {host} could not be resolved: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// None of the addresses accepted.
    #[error("nothing accepts connections at {peer}: {why}")]
    Connect {
        /// Whom it was for.
        peer: Peer,
        /// What the system said for the last address tried.
        why: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS with {peer} failed: {why}")]
    Tls {
        /// Whom it was for.
        peer: Peer,
        /// What is wrong.
        why: String,
    },
    /// The name leads to another machine, and only this one may be connected to.
    #[error("{peer} is not this machine: it leads to {addr}")]
    Elsewhere {
        /// Whom it was for.
        peer: Peer,
        /// Where it leads to.
        addr: IpAddr,
    },
}

/// Opens connections with one set of trusted roots.
#[derive(Clone)]
pub struct Dialer {
    trust: Trust,
    /// `None` for the system's.
    network: Option<Arc<dyn Network>>,
    /// Whether only loopback addresses are connected to.
    at_home: bool,
}

impl Dialer {
    /// A dialer that trusts `trust`; nothing is loaded before the first TLS connection.
    pub fn new(trust: Trust) -> Dialer {
        Dialer { trust, network: None, at_home: false }
    }

    /// A dialer whose connections go over `network`, without TLS.
    pub fn over(network: Arc<dyn Network>) -> Dialer {
        Dialer { trust: Trust::default(), network: Some(network), at_home: false }
    }

    /// The same one, which connects to loopback addresses only, whatever a name resolves to when it is dialled.
    #[must_use]
    pub fn at_home(&self) -> Dialer {
        Dialer { at_home: true, ..self.clone() }
    }

    /// Whether `peer` leads to loopback addresses only, as far as can be said before connecting.
    ///
    /// # Errors
    /// [`DialError::Elsewhere`] where it does not, [`DialError::Resolve`] where that cannot be found out.
    pub async fn leads_home(&self, peer: &Peer) -> Result<(), DialError> {
        match &self.network {
            None => at_home(peer, &addresses(peer).await?),
            Some(_) if peer.is_loopback() => Ok(()),
            Some(_) => {
                let why = "its name is not known to be this machine's".into();
                Err(DialError::Resolve { host: peer.host.clone(), why })
            }
        }
    }

    /// Connects to `peer`. There is no time limit here; the caller has one for the whole of its work.
    ///
    /// # Errors
    /// Any [`DialError`].
    pub async fn dial(&self, peer: &Peer) -> Result<Stream, DialError> {
        if let Some(network) = &self.network {
            if self.at_home {
                self.leads_home(peer).await?;
            }
            let connected = network.connect(peer).await;
            return connected.map(Stream::Other).map_err(|why| DialError::Connect { peer: peer.clone(), why });
        }
        let tcp = connect(peer, self.at_home).await?;
        // Small messages both ways: waiting to fill packets would cost tens of milliseconds each.
        let _ = tcp.set_nodelay(true);
        if !peer.tls {
            return Ok(Stream::Plain(tcp));
        }
        let failed = |why: String| DialError::Tls { peer: peer.clone(), why };
        let config = self.trust.client_config().map_err(|e| failed(e.to_string()))?;
        let name = rustls::pki_types::ServerName::try_from(peer.host.clone()).map_err(|e| failed(e.to_string()))?;
        let tls = TlsConnector::from(Arc::clone(&config))
            .connect(name, tcp)
            .await
            .map_err(|e| failed(handshake(&e, &self.trust)))?;
        Ok(Stream::Tls(Box::new(tls)))
    }
}

async fn connect(peer: &Peer, only_home: bool) -> Result<TcpStream, DialError> {
    let mut last = None;
    let found = addresses(peer).await?;
    if only_home {
        at_home(peer, &found)?;
    }
    let mut left = found.into_iter();
    while let Some(addr) = left.next() {
        let connecting = TcpStream::connect(addr);
        // One that does not answer at all must not take the time that the next one needs; the last may have what is left.
        let connected = if left.len() == 0 { Ok(connecting.await) } else { timeout(ONE_ADDRESS, connecting).await };
        match connected {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(e)) => last = Some(e),
            Err(_) => {
                let why = format!("{addr} did not answer within {} s", ONE_ADDRESS.as_secs());
                last = Some(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
    }
    Err(match last {
        Some(why) => DialError::Connect { peer: peer.clone(), why },
        None => DialError::Resolve { host: peer.host.clone(), why: "it has no address".into() },
    })
}

/// What went wrong with a connection that was open, in words of our own where the library's point to its documentation.
pub(crate) fn broken(e: &io::Error) -> String {
    match e.kind() {
        // rustls says so where the other end is gone without its goodbye (close_notify), as when it is killed or a proxy gives up.
        io::ErrorKind::UnexpectedEof => "it was closed in the middle".to_owned(),
        _ => e.to_string(),
    }
}

/// Why no TLS came about. What the user can do something about is in words of our own.
fn handshake(e: &io::Error, trust: &Trust) -> String {
    let library = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match library.and_then(|e| trust.explain(e)) {
        Some(explained) => explained,
        None if e.kind() == io::ErrorKind::UnexpectedEof => "it was closed during the handshake".to_owned(),
        None => e.to_string(),
    }
}

/// Every address must be loopback: which of them would be connected to is chance.
fn at_home(peer: &Peer, found: &[SocketAddr]) -> Result<(), DialError> {
    match found.iter().map(|a| a.ip().to_canonical()).find(|ip| !ip.is_loopback()) {
        Some(addr) => Err(DialError::Elsewhere { peer: peer.clone(), addr }),
        None => Ok(()),
    }
}

/// Where `peer` leads to, as it would be connected to.
///
/// # Errors
/// [`DialError::Resolve`].
pub(crate) async fn addresses(peer: &Peer) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(ip) = peer.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, peer.port)]);
    }
    // Not asking the resolver saves a thread per connection too, and both families are tried because Node listens on ::1 where Python listens on 127.0.0.1.
    if peer::is_localhost(&peer.host) {
        return Ok([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            .map(|ip| SocketAddr::new(ip, peer.port))
            .to_vec());
    }
    match tokio::net::lookup_host((peer.host.as_str(), peer.port)).await {
        Ok(found) => Ok(found.take(16).collect()),
        Err(e) => Err(DialError::Resolve { host: peer.host.clone(), why: e.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_stays_at_home_connects_to_this_machine_only() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let home = Dialer::new(Trust::default()).at_home();
        for (host, goes) in [
            ("localhost", true),
            // A resolver would have to be asked for what is not there.
            ("a.b.localhost", true),
            ("shop.LOCALHOST.", true),
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("192.0.2.1", false),
        ] {
            let peer = Peer { tls: false, host: host.into(), port };
            assert_eq!(home.leads_home(&peer).await.is_ok(), goes, "{host}");
            match home.dial(&peer).await {
                Ok(_) => assert!(goes, "{host}"),
                Err(e) => assert!(!goes && matches!(e, DialError::Elsewhere { .. }), "{host}: {e}"),
            }
        }
        let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), "192.0.2.1".parse().unwrap()].map(|ip| SocketAddr::new(ip, 1));
        let peer = Peer { tls: false, host: "both.test".into(), port };
        assert!(at_home(&peer, &both[..1]).is_ok());
        assert_eq!(
            at_home(&peer, &both).unwrap_err().to_string(),
            format!("both.test:{port} is not this machine: it leads to 192.0.2.1")
        );
    }

    #[test]
    fn no_reason_sends_anybody_to_a_library_s_documentation() {
        let text = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest";
        let gone = io::Error::new(io::ErrorKind::UnexpectedEof, text);
        assert!(!broken(&gone).contains("docs.rs") && !handshake(&gone, &Trust::default()).contains("docs.rs"));
        assert!(broken(&io::Error::other("reset")).contains("reset"));
    }

    #[tokio::test]
    async fn a_closed_port_is_said_with_its_name() {
        // Bound and not listened on, so that nobody else gets it meanwhile.
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let free = held.local_addr().unwrap().port();
        let peer = Peer { tls: false, host: "localhost".into(), port: free };
        let error = Dialer::new(Trust::default()).dial(&peer).await.err().unwrap();
        assert!(matches!(error, DialError::Connect { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("localhost:{free}")), "{error}");
    }
}
