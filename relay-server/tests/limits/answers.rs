//! What agents and their handlers may send: answers are made harmless, and an agent that does not keep to its bounds is let go.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use healthie_relay::{Addresses, AnswerMode, Config, Relay, TunnelSettings};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::{Error, Message};
use tunnel_delivery::{Headers, Timestamp};
use tunnel_protocol::{Answer, AnswerBody, Hello, Refusal, Start, ToAgent, ToRelay, VERSION_MAX, VERSION_MIN};
use tunnel_testkit::DEADLINE;

use crate::hall::{self, S, post};
use crate::visitor::{self, eventually};

struct Stand {
    _dir: tempfile::TempDir,
    relay: Relay,
    token: String,
}

type Socket = WebSocketStream<TcpStream>;

impl Stand {
    async fn new(change: impl FnOnce(&mut Config)) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let relay = visitor::relay(dir.path(), |config| {
            config.admin = Some("127.0.0.1:0".parse().unwrap());
            change(config);
        })
        .await;
        let at = Timestamp::from_micros(2);
        let name = "pass".parse().unwrap();
        relay.registry().add_tunnel(name, TunnelSettings::new(AnswerMode::Passthrough, at)).unwrap();
        let token = relay.registry().create_token(&"pass".parse().unwrap(), at).unwrap().expose().to_owned();
        Stand { _dir: dir, relay, token }
    }

    fn addresses(&self) -> &Addresses {
        self.relay.addresses()
    }

    /// An agent's connection, upgraded; or the status of the refusal.
    async fn socket(&self) -> Result<Socket, u16> {
        let tcp = TcpStream::connect(self.addresses().http[0]).await.unwrap();
        let request = ClientRequestBuilder::new("ws://relay.test/agent/v1/pass".parse().unwrap())
            .with_header("Authorization", format!("Bearer {}", self.token));
        match tokio_tungstenite::client_async(request, tcp).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(e) => panic!("{e}"),
        }
    }

    /// An agent that has said hello, and what it was told.
    async fn agent(&self, device: &str) -> (Socket, Option<ToAgent>) {
        let mut socket = self.socket().await.unwrap();
        let told = greet(&mut socket, device).await;
        (socket, told)
    }

    async fn hits(&self, limit: &str) -> u64 {
        let admin = self.addresses().admin.unwrap();
        let mut stream = TcpStream::connect(admin).await.unwrap();
        stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).await.unwrap();
        let text = hall::answer(&mut stream).await.unwrap().body;
        let line = format!("limit_hits_total{{limit=\"{limit}\"}} ");
        text.split_once(&line).and_then(|(_, rest)| rest.lines().next()?.parse().ok()).expect("the limit's figure")
    }
}

/// Says hello as that device; what is said to it.
async fn greet(socket: &mut Socket, device: &str) -> Option<ToAgent> {
    let hello = Hello {
        versions: (VERSION_MIN, VERSION_MAX),
        device: device.parse().unwrap(),
        software: "test".into(),
        start: Start::Now,
        resume: None,
        window_deliveries: 99,
        window_bytes: 9 << 20,
        device_key: None,
    };
    say(socket, ToRelay::Hello(hello)).await;
    hear(socket).await
}

async fn say(socket: &mut Socket, frame: ToRelay) {
    socket.send(Message::Binary(frame.encode())).await.unwrap();
}

/// The next frame, pings passed over; nothing if the relay has ended it.
async fn hear(socket: &mut Socket) -> Option<ToAgent> {
    let next = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Binary(frame))) => match ToAgent::decode(frame).unwrap() {
                    ToAgent::Ping(_) => {}
                    other => return Some(other),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, next).await.expect("a frame within the deadline")
}

#[tokio::test]
async fn a_handler_s_answer_comes_back_and_nothing_of_it_runs() {
    let stand = Stand::new(|config| config.limits.answer = 1000).await;
    let (mut agent, told) = stand.agent("a").await;
    assert!(matches!(told, Some(ToAgent::Welcome(_))), "{told:?}");
    for (status, lines, body, seen) in [
        (
            302,
            &[("Location", "https://evil.test/"), ("Content-Type", "text/html"), ("Set-Cookie", "a=b")][..],
            "<script>1</script>".to_owned(),
            (302, Some("text/plain; charset=utf-8"), "<script>1</script>"),
        ),
        (
            200,
            &[("Content-Type", "application/json"), ("Service-Worker-Allowed", "/"), ("Content-Security-Policy", "x")],
            "{}".to_owned(),
            (200, Some("application/json"), "{}"),
        ),
        (418, &[("Content-Encoding", "gzip")], "y".repeat(1001), (418, Some("application/json"), "is longer than")),
        (204, &[], String::new(), (204, None, "")),
    ] {
        let mut sender = TcpStream::connect(stand.addresses().http[0]).await.unwrap();
        sender.write_all(post("pass.relay.test", 2, "{}").as_bytes()).await.unwrap();
        let Some(ToAgent::Delivery(delivery)) = hear(&mut agent).await else { panic!("a delivery") };
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push((*name).to_owned(), (*value).to_owned());
        }
        let body = AnswerBody { status, headers, body_len: body.len() as u64, body: Bytes::from(body) };
        say(&mut agent, ToRelay::Answer(Answer { n: delivery.n, outcome: Ok(body) })).await;
        let answer = tokio::time::timeout(DEADLINE, hall::answer(&mut sender)).await.unwrap().unwrap();
        assert_eq!((answer.status(), answer.header("content-type")), (seen.0, seen.1), "{answer:?}");
        assert!(answer.body.contains(seen.2), "{answer:?}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox; default-src 'none'"), "{policy}");
        for not in ["location", "set-cookie", "service-worker-allowed", "content-encoding"] {
            assert_eq!(answer.header(not), None, "{answer:?}");
        }
    }
    assert_eq!(stand.hits("answer_bytes").await, 1);
    stand.relay.stop().await;
}

#[tokio::test]
async fn agents_and_devices_have_their_numbers_and_a_refusal_leaves_nothing_behind() {
    let stand = Stand::new(|config| {
        config.limits.agents_per_tunnel = 1;
        config.limits.devices_per_tunnel = 2;
        config.limits.agents = 3;
        config.limits.hello_time = DEADLINE;
    })
    .await;
    let (first, told) = stand.agent("a").await;
    assert!(matches!(told, Some(ToAgent::Welcome(_))), "{told:?}");
    let refused = |told| match told {
        Some(ToAgent::Refused(refused)) => {
            assert_eq!(refused.code, Refusal::TooMany);
            refused.message
        }
        other => panic!("{other:?}"),
    };
    assert!(refused(stand.agent("b").await.1).contains("has 1 agent, as many"));
    drop(first);
    // It was not given a place that it would keep: there is still one. The relay may not have seen yet that the others went.
    let second = eventually("a welcome", async || {
        let mut socket = stand.socket().await.ok()?;
        let told = greet(&mut socket, "c").await;
        matches!(told, Some(ToAgent::Welcome(_))).then_some(socket)
    })
    .await;
    drop(second);
    let told = eventually("no more devices", async || {
        let mut socket = stand.socket().await.ok()?;
        Some(refused(greet(&mut socket, "d").await)).filter(|told| told.contains("devices"))
    })
    .await;
    assert!(told.contains("keeps deliveries for 2 devices") && told.contains("tunnel forget"), "{told}");
    // All places are held, however many of those before are still being given back.
    let mut open = Vec::new();
    let status = eventually("a refusal", async || match stand.socket().await {
        Ok(socket) => {
            open.push(socket);
            None
        }
        Err(status) => Some(status),
    })
    .await;
    assert_eq!(status, 503);
    assert!(open.len() <= 3, "{} are there", open.len());
    assert!(stand.hits("agents").await > 0 && stand.hits("devices").await > 0);
    drop(open);
    stand.relay.stop().await;
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_let_go() {
    let stand = Stand::new(|config| config.limits.hello_time = S / 20).await;
    let mut silent = stand.socket().await.unwrap();
    assert!(hear(&mut silent).await.is_none());
    assert_eq!(stand.hits("hello_time").await, 1);
    stand.relay.stop().await;
}

#[tokio::test]
async fn an_agent_that_says_too_much_is_let_go() {
    let stand = Stand::new(|config| config.limits.frame = 64 << 10).await;
    let mut loud = stand.socket().await.unwrap();
    let _ = loud.send(Message::Binary(Bytes::from(vec![1; (64 << 10) + 1]))).await;
    assert!(hear(&mut loud).await.is_none());
    assert_eq!(stand.hits("frame_size").await, 1);
    stand.relay.stop().await;
}
