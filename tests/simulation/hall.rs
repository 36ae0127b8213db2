//! Relay and agent in one process over pipes in memory, for tests of time: nothing but tokio's clock moves, and it moves when everybody waits.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use healthie_relay::{
    AnswerMode, Bound, Clock, Config, Ground, Listener, Offload, Registry, Relay, Store, TunnelSettings,
};
use healthie_tunnel::dial::{Connecting as Opening, Network, Peer, Wire};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tunnel_delivery::TunnelName;
use tunnel_protocol::{Hello, Start, ToAgent, ToRelay, VERSION_MAX, VERSION_MIN};

use crate::chance::Chance;
use crate::log::Log;
use crate::spool::{MemorySpool, SpoolDisk};

/// Pipes that somebody brings.
pub(crate) struct Hall(mpsc::UnboundedReceiver<DuplexStream>);

/// Brings pipes to a hall.
#[derive(Clone)]
pub(crate) struct Entrance(mpsc::UnboundedSender<DuplexStream>);

/// A hall and its entrance.
pub(crate) fn hall() -> (Hall, Entrance) {
    let (to, from) = mpsc::unbounded_channel();
    (Hall(from), Entrance(to))
}

impl Entrance {
    /// A connection to whoever has the hall.
    pub(crate) fn connect(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let _ = self.0.send(far);
        near
    }
}

impl Hall {
    /// The next pipe; none ever, once nobody can bring one.
    pub(crate) async fn next(&mut self) -> DuplexStream {
        match self.0.recv().await {
            Some(pipe) => pipe,
            None => std::future::pending().await,
        }
    }
}

impl Listener for Hall {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, IpAddr)> {
        Ok((self.next().await, Ipv4Addr::LOCALHOST.into()))
    }
}

/// Notes the time of every connection that an agent opens.
pub(crate) struct Wires {
    pub(crate) entrance: Option<Entrance>,
    /// Whether connections are refused, or never opened, where there is no entrance.
    pub(crate) refuses: bool,
    pub(crate) times: Arc<Mutex<Vec<Instant>>>,
    /// The other ends of connections to a handler: it accepts, and says nothing.
    pub(crate) handler: Mutex<Vec<DuplexStream>>,
}

impl Network for Wires {
    fn connect<'a>(&'a self, peer: &'a Peer) -> Opening<'a> {
        if peer.host == "handler" {
            let (near, far) = tokio::io::duplex(64 * 1024);
            self.handler.lock().unwrap_or_else(PoisonError::into_inner).push(far);
            let wire: Box<dyn Wire> = Box::new(near);
            return Box::pin(std::future::ready(Ok(wire)));
        }
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        match &self.entrance {
            Some(entrance) => {
                let wire: Box<dyn Wire> = Box::new(entrance.connect());
                Box::pin(std::future::ready(Ok(wire)))
            }
            None if self.refuses => Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into()))),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// A relay with one tunnel, `team`, and the token for it.
pub(crate) struct House {
    pub(crate) relay: Relay,
    pub(crate) entrance: Entrance,
    pub(crate) token: String,
    pub(crate) disk: SpoolDisk,
}

/// The one tunnel.
pub(crate) fn team() -> TunnelName {
    "team".parse().expect("a name")
}

/// Starts a relay in memory. Its wall clock goes with tokio's.
pub(crate) async fn house(data: &Path, passthrough: Option<Duration>, change: impl FnOnce(&mut Config)) -> House {
    let (log, began) = (Log::default(), Instant::now());
    std::fs::create_dir(data.join("spool")).expect("a folder");
    let registry = Registry::open(data).expect("a registry");
    let mode = if passthrough.is_some() { AnswerMode::Passthrough } else { AnswerMode::Ack };
    let mut settings = TunnelSettings::new(mode, log.wall_clock());
    if let Some(within) = passthrough {
        settings.answer_within_ms = u64::try_from(within.as_millis()).expect("a short time");
    }
    registry.add_tunnel(team(), settings).expect("a tunnel");
    let token = registry.create_token(&team(), log.wall_clock()).expect("a token").expose().to_owned();
    registry.reload().expect("a registry");
    let (listener, entrance) = hall();
    let disk = SpoolDisk::default();
    let clock = move || {
        log.set_now(u64::try_from(began.elapsed().as_millis()).unwrap_or(0));
        log.wall_clock()
    };
    let ground = Ground {
        registry,
        spool: Store::new(MemorySpool::open(disk.clone(), Chance::of(1, "spool"), 9, 0)),
        stream: Bytes::from_static(b"stream"),
        doors: vec![Bound { listener, addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 80)), tls: None }],
        clock: Clock::new(clock),
        offload: Offload::InPlace,
    };
    let mut config = Config::loopback(data.to_owned());
    change(&mut config);
    let relay = Relay::on(config, ground).await.expect("a relay");
    House { relay, entrance, token, disk }
}

/// A WebSocket in the hand of a test.
pub(crate) struct Socket(pub(crate) WebSocketStream<DuplexStream>);

impl House {
    /// The WebSocket of an agent that has said nothing yet.
    pub(crate) async fn socket(&self) -> Socket {
        let request = ClientRequestBuilder::new("ws://relay/agent/v1/team".parse().expect("an address"))
            .with_header("Authorization", format!("Bearer {}", self.token));
        let opened = tokio_tungstenite::client_async(request, self.entrance.connect()).await;
        Socket(opened.expect("an upgrade").0)
    }

    /// The WebSocket of an agent that was welcomed.
    pub(crate) async fn agent(&self, device: &str) -> Socket {
        let mut socket = self.socket().await;
        let hello = Hello {
            versions: (VERSION_MIN, VERSION_MAX),
            device: device.parse().expect("a name"),
            software: "test".into(),
            start: Start::Now,
            resume: None,
            window_deliveries: 9,
            window_bytes: 9999,
            device_key: None,
        };
        socket.say(ToRelay::Hello(hello)).await;
        assert!(matches!(socket.heard().await, Some(ToAgent::Welcome(_))));
        socket
    }
}

impl Socket {
    pub(crate) async fn say(&mut self, frame: ToRelay) {
        self.0.send(Message::Binary(frame.encode())).await.expect("an open socket");
    }

    /// The next frame; none once the connection is over.
    pub(crate) async fn heard(&mut self) -> Option<ToAgent> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(frame))) => return Some(ToAgent::decode(frame).expect("a frame")),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return None,
            }
        }
    }
}
