//! The same over HTTP/2, where a sender can open windows as it likes and take back what it asked for.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use healthie_relay::Config;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tunnel_testkit::Authority;

use crate::hall::{House, S, STRANGER, took};
use crate::visitor::Visitor;

type Sender = SendRequest<BoxBody<Bytes, Infallible>>;

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// A relay, a sender that opens windows of so many bytes, and the end of its connection.
async fn stand(window: u32, change: impl FnOnce(&mut Config)) -> (House, Sender, JoinHandle<()>) {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("Test CA"));
    authority.write(&dir.path().join("ca.pem"));
    let files = authority.server(dir.path(), &["team.relay.test"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate).unwrap().map(Result::unwrap).collect();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let house = House::with_tls(Some(TlsAcceptor::from(Arc::new(config))), change).await;
    let visitor = Visitor::trusting(&std::fs::read(dir.path().join("ca.pem")).unwrap(), &[b"h2"]);
    let connector = TlsConnector::from(visitor.0);
    let tls = connector.connect("team.relay.test".try_into().unwrap(), house.connect(STRANGER)).await.unwrap();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
    let ended = tokio::spawn(async move {
        let _ = connection.await;
    });
    (house, sender, ended)
}

fn get() -> Request<BoxBody<Bytes, Infallible>> {
    Request::get("https://relay.test/healthz").body(Empty::new().boxed()).unwrap()
}

fn post() -> Request<BoxBody<Bytes, Infallible>> {
    Request::post("https://team.relay.test/hook").body(Never.boxed()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_opens_no_window_for_an_answer_loses_the_connection() {
    let (_house, mut sender, ended) = stand(0, |config| config.limits.write_time = 7 * S).await;
    let began = Instant::now();
    let first = sender.send_request(get()).await.unwrap();
    assert_eq!(first.status(), 200);
    // Others are asked for meanwhile, so that it never seems to be idle.
    let more = async {
        let mut answers = Vec::new();
        while sender.ready().await.is_ok() {
            answers.extend(sender.send_request(get()).await);
            tokio::time::sleep(S).await;
        }
    };
    tokio::select! { _ = ended => {} () = more => {} }
    took(began.elapsed(), 7 * S);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_asked_is_ended() {
    let (_house, mut sender, ended) = stand(1 << 16, |config| config.limits.idle_time = 9 * S).await;
    sender.send_request(get()).await.unwrap().into_body().collect().await.unwrap();
    let began = Instant::now();
    ended.await.unwrap();
    took(began.elapsed(), 9 * S);
}

#[tokio::test(start_paused = true)]
async fn who_takes_back_what_was_asked_for_again_and_again_loses_the_connection() {
    let (_house, mut sender, ended) = stand(1 << 16, |config| config.limits.resets = 20).await;
    let mut given_up = 0;
    while sender.ready().await.is_ok() {
        let asked = sender.send_request(post());
        // Long enough for the relay to begin with it.
        if let Ok(answered) = tokio::time::timeout(S / 10, asked).await {
            assert!(answered.is_err(), "it is not answered");
            break;
        }
        given_up += 1;
        assert!(given_up < 200, "the connection goes on");
    }
    assert!(given_up >= 20, "ended after {given_up}");
    ended.await.unwrap();
}
