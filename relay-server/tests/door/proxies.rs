//! Behind proxies: who is believed about who sends, over headers and the PROXY protocol, with and without TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use crate::visitor::{DELIVERY, Visitor, ask};
use healthie_relay::{Https, PairFiles, Proxies, Relay, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tunnel_delivery::Delivery;
use tunnel_spool::{ReadLimit, RedbSpool, Seq};
use tunnel_testkit::Authority;

/// The proxy's address, and somebody else's.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// One of Healthie's.
const HEALTHIE: &str = "52.4.158.130";

async fn relay(data: &Path, preface: bool, tls: Option<PairFiles>) -> Relay {
    relay_with(data, preface, tls, |_| {}).await
}

async fn relay_with(
    data: &Path,
    preface: bool,
    tls: Option<PairFiles>,
    change: impl FnOnce(&mut healthie_relay::Config),
) -> Relay {
    crate::visitor::relay(data, |config| {
        config.proxies = Proxies {
            trusted: vec!["127.0.0.9/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            preface_on_http: preface,
            preface_on_https: preface,
        };
        config.https = tls.map(|pair| Https::with_pair("127.0.0.1:0".parse().unwrap(), pair));
        change(config);
    })
    .await
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// Stops the relay and gives the sources of what it took, in order.
async fn sources(relay: Relay, data: &Path) -> Vec<String> {
    relay.stop().await;
    let spool = Store::new(RedbSpool::open(&data.join("spool"), tunnel_spool::Limits::default()).unwrap());
    let all = spool.read(&"team".parse().unwrap(), Seq::ZERO, ReadLimit { count: 100, bytes: 1 << 20 }).unwrap();
    all.into_iter()
        .map(|(_, delivery): (_, Arc<Delivery>)| format!("{} {}", delivery.source_ip, delivery.environment.as_str()))
        .collect()
}

fn forwarded(value: &str) -> String {
    format!("{DELIVERY}\r\nX-Forwarded-For: {value}")
}

#[tokio::test]
async fn a_trusted_proxy_s_word_counts_for_each_request_and_nobody_else_s_does() {
    let dir = tempfile::tempdir().unwrap();
    let relay = relay(dir.path(), false, None).await;
    let to = relay.addresses().http[0];
    let mut proxy = connect(PROXY, to).await;
    for value in [HEALTHIE, "18.206.70.225, 10.1.1.1", "nonsense"] {
        assert_eq!(ask(&mut proxy, &forwarded(value), "{}").await.unwrap().0, 200);
    }
    let mut stranger = connect(STRANGER, to).await;
    assert_eq!(ask(&mut stranger, &forwarded(HEALTHIE), "{}").await.unwrap().0, 200);
    let taken = sources(relay, dir.path()).await;
    assert_eq!(taken, ["52.4.158.130 production", "18.206.70.225 staging", "127.0.0.9 unknown", "127.0.0.66 unknown"]);
}

#[tokio::test]
async fn the_proxy_protocol_is_believed_from_the_proxy_only() {
    let dir = tempfile::tempdir().unwrap();
    let relay = relay(dir.path(), true, None).await;
    let to = relay.addresses().http[0];
    let one = format!("PROXY TCP4 {HEALTHIE} 127.0.0.1 4711 443\r\n");
    let two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x12\xce\x46\xe1\x7f\x00\x00\x01\x00\x01\x01\xbb";
    for preface in [one.as_bytes(), two] {
        let mut proxy = connect(PROXY, to).await;
        proxy.write_all(preface).await.unwrap();
        assert_eq!(ask(&mut proxy, DELIVERY, "{}").await.unwrap().0, 200);
    }
    // A proxy behind the proxy: its header counts, because the first says that it is one of ours.
    let mut proxy = connect(PROXY, to).await;
    proxy.write_all(b"PROXY TCP4 10.0.0.5 127.0.0.1 4711 443\r\n").await.unwrap();
    assert_eq!(ask(&mut proxy, &forwarded("3.216.152.234"), "{}").await.unwrap().0, 200);

    // Somebody else who says the same is refused; somebody who says nothing is who he is.
    let mut stranger = connect(STRANGER, to).await;
    stranger.write_all(one.as_bytes()).await.unwrap();
    assert_eq!(ask(&mut stranger, DELIVERY, "{}").await.unwrap().0, 505, "it is not HTTP");
    let mut stranger = connect(STRANGER, to).await;
    assert_eq!(ask(&mut stranger, DELIVERY, "{}").await.unwrap().0, 200);

    // The proxy must say it rightly.
    for said in [&b"GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n"[..], b"PROXY TCP4 1.2.3.4\r\n"] {
        let mut proxy = connect(PROXY, to).await;
        proxy.write_all(said).await.unwrap();
        ends_unanswered(proxy).await;
    }
    let taken = sources(relay, dir.path()).await;
    let expected =
        ["52.4.158.130 production", "18.206.70.225 staging", "3.216.152.234 production", "127.0.0.66 unknown"];
    assert_eq!(taken, expected);
}

/// Closed, or reset because not all was read.
async fn ends_unanswered(mut proxy: TcpStream) {
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(tunnel_testkit::DEADLINE, proxy.read_to_end(&mut answer)).await;
    let _ = ended.expect("the connection is ended");
    assert!(answer.is_empty(), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_proxy_that_does_not_say_it_in_time_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let short = |config: &mut healthie_relay::Config| config.limits.tls_time = std::time::Duration::from_millis(50);
    let relay = relay_with(dir.path(), true, None, short).await;
    for said in [&b"PROXY TCP4 "[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x12", b""] {
        let mut proxy = connect(PROXY, relay.addresses().http[0]).await;
        let _ = proxy.write_all(said).await;
        ends_unanswered(proxy).await;
    }
    assert!(sources(relay, dir.path()).await.is_empty());
}

#[tokio::test]
async fn it_stands_before_tls() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("Test CA");
    authority.write(&dir.path().join("ca.pem"));
    let files = authority.server(dir.path(), &["team.relay.test"]);
    let pair = PairFiles { cert: files.certificate, key: files.key };
    let data = dir.path().join("data");
    let relay = relay(&data, true, Some(pair)).await;
    let mut proxy = connect(PROXY, relay.addresses().https.unwrap()).await;
    proxy.write_all(format!("PROXY TCP4 {HEALTHIE} 127.0.0.1 4711 443\r\n").as_bytes()).await.unwrap();
    let visitor = Visitor::trusting(&std::fs::read(dir.path().join("ca.pem")).unwrap(), &[]);
    let tls = tokio_rustls::TlsConnector::from(visitor.0);
    let mut stream = tls.connect("team.relay.test".try_into().unwrap(), proxy).await.unwrap();
    assert_eq!(ask(&mut stream, DELIVERY, "{}").await.unwrap().0, 200);
    drop(stream);
    assert_eq!(sources(relay, &data).await, ["52.4.158.130 production"]);
}
