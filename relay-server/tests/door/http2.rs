//! HTTP/2: many deliveries over one connection, and the same limits as over HTTP/1.1.

use std::sync::Arc;

use bytes::Bytes;
use healthie_relay::{Config, Relay, Store};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tunnel_delivery::{HttpVersion, Lost};
use tunnel_spool::{ReadLimit, RedbSpool, Seq};

use crate::visitor::Secured;

struct Stand {
    dir: tempfile::TempDir,
    relay: Relay,
    sender: SendRequest<Full<Bytes>>,
    /// Comes when the connection has ended.
    ended: tokio::task::JoinHandle<()>,
}

impl Stand {
    async fn new(change: impl FnOnce(&mut Config)) -> Stand {
        let secured = Secured::new(&[b"h2", b"http/1.1"], change).await;
        let stream = secured.connect().await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let ended = tokio::spawn(async { drop(connection.await) });
        let Secured { dir, relay, .. } = secured;
        Stand { dir, relay, sender, ended }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value), hyper::Error> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        let answer: Response<hyper::body::Incoming> = sender.send_request(request).await?;
        let (status, body) = (answer.status(), answer.into_body().collect().await?.to_bytes());
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

fn post(target: &str, body: &str) -> Request<Full<Bytes>> {
    let uri = format!("https://team.relay.test{target}");
    Request::post(uri).header("x-one", "1").body(Full::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn many_deliveries_go_over_one_connection_and_say_how_they_came() {
    let stand = Arc::new(Stand::new(|_| {}).await);
    let sends: Vec<_> = (0..300)
        .map(|n| {
            let stand = Arc::clone(&stand);
            tokio::spawn(async move { stand.send(post(&format!("/hook?n={n}"), &n.to_string())).await.unwrap().0 })
        })
        .collect();
    for send in sends {
        assert_eq!(send.await.unwrap(), StatusCode::OK);
    }
    let Ok(Stand { dir, relay, .. }) = Arc::try_unwrap(stand) else { panic!("all have ended") };
    relay.stop().await;
    let spool = RedbSpool::open(&dir.path().join("data/spool"), tunnel_spool::Limits::default()).unwrap();
    let all = Store::new(spool);
    let all = all.read(&"team".parse().unwrap(), Seq::ZERO, ReadLimit { count: 1000, bytes: 1 << 20 }).unwrap();
    assert_eq!(all.len(), 300);
    for (_, delivery) in all {
        assert_eq!(delivery.http_version, HttpVersion::Http2);
        assert!(delivery.lost.contains(&Lost::HeaderOrder), "{:?}", delivery.lost);
        let n = delivery.target.as_str().strip_prefix("/hook?n=").unwrap().to_owned();
        assert_eq!(delivery.body, n);
        assert_eq!(delivery.headers.get("host"), Some(&b"team.relay.test"[..]));
        assert_eq!(delivery.headers.get("x-one"), Some(&b"1"[..]));
    }
}

#[tokio::test]
async fn its_limits_are_those_of_http_1() {
    let stand = Stand::new(|config| {
        config.limits.body = 1000;
        config.limits.head_lines = 20;
        config.limits.head_bytes = 8 << 10;
    })
    .await;
    let status = |request| async { stand.send(request).await.map(|(status, _)| status) };
    assert_eq!(status(post("/", &"x".repeat(1000))).await.unwrap(), StatusCode::OK);
    assert_eq!(status(post("/", &"x".repeat(1001))).await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE);
    let mut many = post("/", "{}");
    for n in 0..30 {
        let name: hyper::header::HeaderName = format!("x-{n}").parse().unwrap();
        many.headers_mut().insert(name, "1".parse().unwrap());
    }
    assert_eq!(status(many).await.unwrap(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut long = post("/", "{}");
    long.headers_mut().insert("x-long", "y".repeat(9 << 10).parse().unwrap());
    assert_eq!(status(long).await.unwrap(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    // And the connection still works.
    assert_eq!(status(post("/", "{}")).await.unwrap(), StatusCode::OK);
    stand.relay.stop().await;
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_is_ended() {
    let stand = Stand::new(|config| config.limits.idle_time = std::time::Duration::from_secs(1)).await;
    tokio::time::timeout(tunnel_testkit::DEADLINE, stand.ended).await.expect("it is closed").unwrap();
    stand.relay.stop().await;
}
