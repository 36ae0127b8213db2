//! A relay in memory whose connections are pipes that come from whatever address a test says.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use healthie_relay::{
    AnswerMode, Bound, Clock, Config, Ground, Listener, Offload, Registry, Relay, Store, TunnelSettings,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tunnel_delivery::Timestamp;
use tunnel_spool::RedbSpool;

/// A second.
pub(crate) const S: Duration = Duration::from_secs(1);

/// Somebody.
pub(crate) const STRANGER: &str = "203.0.113.7";
/// One of Healthie's addresses.
pub(crate) const HEALTHIE: &str = "52.4.158.130";
/// Where the figures are told to.
const OPERATOR: &str = "192.0.2.1";

type Come = (DuplexStream, IpAddr);

struct Hall(mpsc::UnboundedReceiver<Come>);

impl Listener for Hall {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Come> {
        match self.0.recv().await {
            Some(come) => Ok(come),
            None => std::future::pending().await,
        }
    }
}

/// A relay of `relay.test` with the tunnel `team`.
pub(crate) struct House {
    pub(crate) relay: Relay,
    entrance: mpsc::UnboundedSender<Come>,
    _data: tempfile::TempDir,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (its, value) = line.split_once(": ")?;
            its.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl House {
    pub(crate) async fn new(change: impl FnOnce(&mut Config)) -> House {
        House::with_tls(None, change).await
    }

    pub(crate) async fn with_tls(tls: Option<TlsAcceptor>, change: impl FnOnce(&mut Config)) -> House {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { domain: Some("relay.test".into()), ..Config::loopback(data.path().to_owned()) };
        config.metrics_from = vec![format!("{OPERATOR}/32").parse().unwrap()];
        change(&mut config);
        let registry = Registry::open(data.path()).unwrap();
        let settings = TunnelSettings::new(AnswerMode::Ack, Timestamp::from_micros(1));
        registry.add_tunnel("team".parse().unwrap(), settings).unwrap();
        registry.reload().unwrap();
        let limits = tunnel_spool::Limits { min_free_bytes: 0, ..tunnel_spool::Limits::default() };
        let spool = RedbSpool::open(&data.path().join("spool"), limits).unwrap();
        let (entrance, hall) = mpsc::unbounded_channel();
        let ground = Ground {
            registry,
            spool: Store::new(spool),
            stream: Bytes::from_static(b"stream"),
            doors: vec![Bound { listener: Hall(hall), addr: SocketAddr::from(([127, 0, 0, 1], 80)), tls }],
            clock: Clock::new(|| Timestamp::from_micros(1_800_000_000_000_000)),
            offload: Offload::InPlace,
        };
        let relay = Relay::on(config, ground).await.unwrap();
        House { relay, entrance, _data: data }
    }

    /// A connection that comes from there.
    pub(crate) fn connect(&self, from: &str) -> DuplexStream {
        self.connect_by(from, 64 << 10)
    }

    /// One that takes so many bytes before the relay has to wait.
    pub(crate) fn connect_by(&self, from: &str, takes: usize) -> DuplexStream {
        let (near, far) = tokio::io::duplex(takes);
        self.entrance.send((far, from.parse().unwrap())).unwrap();
        near
    }

    /// Changes the tunnel, as `tunnel set` does, and looks at it.
    pub(crate) async fn set(&self, edit: impl FnOnce(&mut TunnelSettings)) {
        self.relay.registry().change_tunnel(&"team".parse().unwrap(), edit).unwrap();
        // A running relay looks at the file every half second, where nobody tells it, and whatever it waits for from its spool.
        tokio::time::sleep(S).await;
    }

    /// Sends a request on a connection of its own, and gives the answer.
    pub(crate) async fn ask(&self, from: &str, request: &str) -> Answer {
        let mut connection = self.connect(from);
        connection.write_all(request.as_bytes()).await.unwrap();
        answer(&mut connection).await.expect("an answer")
    }

    /// How often a limit was hit.
    pub(crate) async fn hits(&self, limit: &str) -> u64 {
        let answer = self.ask(OPERATOR, "GET /metrics HTTP/1.1\r\nHost: relay.test\r\n\r\n").await;
        let line = format!("limit_hits_total{{limit=\"{limit}\"}} ");
        let found = answer.body.split_once(&line).and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        found.unwrap_or_else(|| panic!("no {line} in {answer:?}"))
    }
}

/// The next answer on a connection; nothing if it ends before.
pub(crate) async fn answer(connection: &mut (impl AsyncRead + Unpin)) -> Option<Answer> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                return Some(Answer { head: head.to_owned(), body: body.to_owned() });
            }
        }
        if connection.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// Waits until the relay ends the connection, reading what it still says, and gives how long that took.
pub(crate) async fn ends(connection: &mut (impl AsyncRead + Unpin)) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = connection.read_to_end(&mut rest).await;
    began.elapsed()
}

/// A POST to a path of a host with this much body announced, of which this is sent.
pub(crate) fn post(host: &str, announced: usize, body: &str) -> String {
    format!("POST /hook HTTP/1.1\r\nHost: {host}\r\nContent-Length: {announced}\r\n\r\n{body}")
}

/// A request that a tunnel with no more than 9 bytes of body refuses after its sender and rate were looked at.
pub(crate) fn too_long() -> String {
    post("team.relay.test", 10_000_000, "")
}

/// How long something may take more than its limit: an answer that is still being read away.
#[track_caller]
pub(crate) fn took(elapsed: Duration, limit: Duration) {
    assert!(elapsed >= limit && elapsed <= limit + 3 * S, "{elapsed:?} instead of {limit:?}");
}
