//! A visitor of the relay's public door: TLS as a sender does it, requests as bytes. It shares no HTTP code with the relay.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use healthie_relay::{AnswerMode, Config, Https, PairFiles, Rate, Relay, TunnelSettings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tunnel_testkit::{Authority, DEADLINE};

/// How a visitor speaks TLS: trusting the authorities of this PEM text only.
#[derive(Clone)]
pub(crate) struct Visitor(pub(crate) Arc<ClientConfig>);

impl Visitor {
    pub(crate) fn trusting(pem: &[u8], alpn: &[&[u8]]) -> Visitor {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        Visitor(Arc::new(config))
    }

    pub(crate) async fn visit(&self, to: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tcp = TcpStream::connect(to).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, tcp).await
    }
}

/// The certificate that was shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Sends a request and reads the answer: its status and its body as JSON, if it is.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    head: &str,
    body: &str,
) -> std::io::Result<(u16, Value)> {
    stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.flush().await?;
    let mut read = Vec::new();
    let whole = async {
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0usize) {
                    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
                    return Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)));
                }
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    tokio::time::timeout(DEADLINE, whole).await.expect("an answer within the deadline")
}

/// What `look` finds once there is something, within the deadline; for what a visitor can only ask for again and again.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A delivery to tunnel `team` of `relay.test`.
pub(crate) const DELIVERY: &str = "POST /hook HTTP/1.1\r\nHost: team.relay.test";

/// A relay of `relay.test` with the tunnel `team`.
pub(crate) async fn relay(data: &Path, change: impl FnOnce(&mut Config)) -> Relay {
    let mut config = Config { domain: Some("relay.test".into()), ..Config::loopback(data.to_owned()) };
    config.spool.min_free_bytes = 0;
    // Here one address sends as much as it can.
    let unbounded = Rate { per_second: 0, burst: 1 };
    (config.limits.address_rate, config.limits.tunnel_rate) = (unbounded, unbounded);
    (config.limits.address_handshakes, config.limits.handshakes) = (unbounded, 0);
    change(&mut config);
    let relay = Relay::start(config).await.expect("a relay");
    let settings = TunnelSettings::new(AnswerMode::Ack, tunnel_delivery::Timestamp::from_micros(1));
    // It may be there from an earlier run.
    let _ = relay.registry().add_tunnel("team".parse().unwrap(), settings);
    relay
}

/// A relay that speaks TLS as `team.relay.test`, and a visitor who trusts it.
pub(crate) struct Secured {
    /// The relay's data folder is `data` in it.
    pub(crate) dir: tempfile::TempDir,
    pub(crate) relay: Relay,
    pub(crate) visitor: Visitor,
}

impl Secured {
    /// The visitor offers these protocols.
    pub(crate) async fn new(alpn: &[&[u8]], change: impl FnOnce(&mut Config)) -> Secured {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("Test CA"));
        authority.write(&dir.path().join("ca.pem"));
        let files = authority.server(dir.path(), &["team.relay.test"]);
        let pair = PairFiles { cert: files.certificate, key: files.key };
        let relay = relay(&dir.path().join("data"), |config| {
            config.https = Some(Https::with_pair("127.0.0.1:0".parse().unwrap(), pair));
            change(config);
        })
        .await;
        let visitor = Visitor::trusting(&std::fs::read(dir.path().join("ca.pem")).unwrap(), alpn);
        Secured { dir, relay, visitor }
    }

    /// A connection by TLS.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.visitor.visit(self.relay.addresses().https.unwrap(), "team.relay.test").await.unwrap()
    }
}

/// What `/readyz` says.
pub(crate) async fn readyz(relay: &Relay) -> (u16, Value) {
    let mut stream = TcpStream::connect(relay.addresses().http[0]).await.unwrap();
    ask(&mut stream, "GET /readyz HTTP/1.1\r\nHost: relay.test", "").await.unwrap()
}
