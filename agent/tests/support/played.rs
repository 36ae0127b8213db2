//! A relay that a test plays frame by frame, and an agent that runs against it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use healthie_tunnel::dial::{Peer, Trust};
use healthie_tunnel::forward::{HostHeader, Routes};
use healthie_tunnel::listen::{self, ListenConfig, ListenError};
use healthie_tunnel::notice::Notice;
use healthie_tunnel::policy::Policy;
use healthie_tunnel::settings::{RelayUrl, Token};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tunnel_archive::{Archive, Keep, Options};
use tunnel_delivery::{Delivery, DeliveryId};
use tunnel_protocol::{AnswerMode, Hello, Incoming, Start, ToAgent, ToRelay, Welcome};
use tunnel_signature::Secret;

use super::deliveries::{plain, second};
use super::{PATIENCE, Server, patiently};

/// The relay as the test plays it.
pub struct Relay {
    pub listener: TcpListener,
}

pub struct Session {
    pub ws: WebSocketStream<TcpStream>,
    pub hello: Hello,
}

impl Relay {
    pub async fn start() -> Relay {
        Relay { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn url(&self) -> RelayUrl {
        let port = self.listener.local_addr().unwrap().port();
        RelayUrl(Peer { tls: false, host: "127.0.0.1".into(), port })
    }

    pub async fn greeted(&self) -> Session {
        patiently("the agent's hello", async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut ws = tokio_tungstenite::accept_async(stream).await.unwrap();
            let hello = match ws.next().await.unwrap().unwrap() {
                Message::Binary(frame) => ToRelay::decode(frame).unwrap(),
                other => panic!("{other:?}"),
            };
            let ToRelay::Hello(hello) = hello else { panic!("{hello:?}") };
            Session { ws, hello }
        })
        .await
    }

    pub async fn session(&self) -> Session {
        let mut session = self.greeted().await;
        session.send(&welcome(0)).await;
        session
    }
}

pub fn welcome(after: u64) -> ToAgent {
    ToAgent::Welcome(Welcome {
        version: 1,
        tunnel: "team".parse().unwrap(),
        answer_mode: AnswerMode::Ack,
        public_urls: vec!["http://team.relay.test".into()],
        max_body: 16 << 20,
        heartbeat: Duration::from_secs(5),
        // Longer than anything is waited for: a test that looks elsewhere answers no sign of life.
        dead_after: 2 * PATIENCE,
        stream: Bytes::from_static(b"stream"),
        after,
        waiting: 0,
        software: "a test".into(),
        sets_answer: true,
        sealed: false,
        notice: None,
        read_only: false,
    })
}

impl Session {
    pub async fn send(&mut self, frame: &ToAgent) {
        self.ws.send(Message::Binary(frame.encode())).await.unwrap();
    }

    /// The next frame that is no heartbeat.
    pub async fn next(&mut self) -> ToRelay {
        patiently("a frame of the agent", async {
            loop {
                match self.ws.next().await {
                    Some(Ok(Message::Binary(frame))) => match ToRelay::decode(frame).unwrap() {
                        ToRelay::Ping(n) => self.send(&ToAgent::Pong(n)).await,
                        frame => return frame,
                    },
                    Some(Ok(_)) => {}
                    ended => panic!("the agent closed: {ended:?}"),
                }
            }
        })
        .await
    }

    /// Reads until all of these are taken.
    pub async fn taken(&mut self, mut wanted: Vec<u64>) {
        while !wanted.is_empty() {
            match self.next().await {
                ToRelay::Taken(numbers) => {
                    for n in numbers {
                        let at = wanted.iter().position(|w| *w == n);
                        wanted.remove(at.unwrap_or_else(|| panic!("{n} is taken, but {wanted:?} were to be")));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn answer(&mut self) -> tunnel_protocol::Answer {
        match self.next().await {
            ToRelay::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }
}

pub fn delivery(number: u8, body: impl Into<Bytes>) -> Delivery {
    let mut delivery = plain(second(0), body);
    delivery.id = DeliveryId::build(delivery.received_at, [number; 10]);
    delivery.tunnel = "x".parse().unwrap();
    delivery.headers.push("Host", "team.relay.test");
    delivery.headers.push("Content-Type", "application/json");
    delivery
}

pub fn incoming(n: u64, delivery: Delivery, passthrough: bool) -> Incoming {
    Incoming {
        n,
        seq: (!passthrough).then_some(n),
        answer_within: passthrough.then_some(Duration::from_secs(15)),
        body_len: delivery.body.len() as u64,
        traceparent: None,
        delivery: Arc::new(delivery),
    }
}

/// A running agent.
pub struct Agent {
    pub notices: mpsc::UnboundedReceiver<Arc<Notice>>,
    pub end: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<Result<(), ListenError>>,
}

pub fn config(relay: &Relay, data: &Path, target: Option<&Server>) -> ListenConfig {
    ListenConfig {
        store_key: None,
        relay: relay.url(),
        token: Token::new("tok".into()).unwrap(),
        tunnel: Some("team".parse().unwrap()),
        device: None,
        start: Start::Now,
        data: data.to_owned(),
        keep: Keep::default(),
        secrets: vec![Secret::new("whsec_test").unwrap()],
        policy: Policy {
            routes: Routes { routes: Vec::new(), default: target.map(|s| s.port.to_string().parse().unwrap()) },
            ..Policy::default()
        },
        concurrency: 4,
        host_header: HostHeader::Sent,
        trust: Trust::default(),
        inspector_port: 0,
        last_attempts: Duration::from_millis(300),
        traces: tunnel_telemetry::Traces::none(),
    }
}

impl Agent {
    pub fn start(config: ListenConfig) -> Agent {
        let (tx, notices) = mpsc::unbounded_channel();
        let sink = move |notice: Arc<Notice>| drop(tx.send(notice));
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(listen::run(config, Arc::new(sink), async { drop(ended.await) }));
        Agent { notices, end: Some(end), task }
    }

    pub async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Notice) -> Option<T>) -> T {
        let notices = &mut self.notices;
        patiently(what, async {
            let mut heard = Vec::new();
            while let Some(notice) = notices.recv().await {
                if let Some(found) = wanted(&notice) {
                    return found;
                }
                heard.push(notice);
            }
            panic!("the agent ended while {what} was waited for; it said {heard:?}")
        })
        .await
    }

    pub async fn attempt(&mut self) -> (DeliveryId, Option<u16>) {
        self.until("an attempt", |n| match n {
            Notice::Attempt(t) => Some((t.delivery, t.status)),
            _ => None,
        })
        .await
    }

    /// Ends the agent while the relay reads on, as a real one does.
    pub async fn stop(mut self, session: Session) -> Result<(), ListenError> {
        drop(self.end.take());
        let mut ws = session.ws;
        let reader = tokio::spawn(async move { while let Some(Ok(_)) = ws.next().await {} });
        let ended = patiently("the agent's end", self.task).await.unwrap();
        reader.abort();
        ended
    }
}

pub fn archive(data: &Path) -> Archive {
    Archive::open(&data.join("archive"), Options::default()).unwrap()
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";
