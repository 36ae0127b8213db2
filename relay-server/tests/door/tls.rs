//! TLS from outside: what is negotiated, which certificate a name gets, and files that change under load.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::visitor::{DELIVERY, Visitor, ask, eventually, readyz, shown};
use healthie_relay::{Config, Https, PairFiles, Relay};
use rustls::pki_types::CertificateDer;
use rustls::{NamedGroup, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tunnel_testkit::{Authority, DEADLINE, setting};

/// How many times the certificate is exchanged under load. The figure in the project's papers is from 1,000.
const RELOADS: &str = "HEALTHIE_TUNNEL_RELOADS";

struct Stand {
    dir: tempfile::TempDir,
    authority: Authority,
    ca: Vec<u8>,
}

impl Stand {
    fn new() -> Stand {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("Test CA"));
        authority.write(&dir.path().join("ca.pem"));
        let ca = std::fs::read(dir.path().join("ca.pem")).unwrap();
        Stand { dir, authority, ca }
    }

    /// A certificate for these names in a folder of its own.
    fn pair(&self, folder: &str, names: &[&str]) -> PairFiles {
        let folder = self.dir.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let files = self.authority.server(&folder, names);
        PairFiles { cert: files.certificate, key: files.key }
    }

    async fn relay(&self, pairs: Vec<PairFiles>) -> Relay {
        crate::visitor::relay(&self.dir.path().join("data"), |config: &mut Config| {
            let addr = "127.0.0.1:0".parse().unwrap();
            config.https = Some(Https {
                addr,
                pairs,
                acme: None,
                look_every: Duration::from_millis(2),
                hsts: Duration::from_secs(86_400),
            });
        })
        .await
    }

    fn visitor(&self) -> Visitor {
        Visitor::trusting(&self.ca, &[])
    }
}

fn put(from: &PairFiles, to: &PairFiles) {
    // As careful people do it: each file is whole at any time. The two are still not exchanged in one step.
    for (from, to) in [(&from.cert, &to.cert), (&from.key, &to.key)] {
        let new = to.with_extension("new");
        std::fs::copy(from, &new).unwrap();
        std::fs::rename(&new, to).unwrap();
    }
}

fn leaf(pair: &PairFiles) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_file(&pair.cert).unwrap()
}

#[tokio::test]
async fn key_exchange_is_post_quantum_and_both_versions_are_spoken() {
    let stand = Stand::new();
    let relay = stand.relay(vec![stand.pair("a", &["team.relay.test"])]).await;
    let to = relay.addresses().https.unwrap();
    let stream = stand.visitor().visit(to, "team.relay.test").await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));

    let mut old = (*stand.visitor().0).clone();
    old.alpn_protocols = vec![b"gopher".to_vec()];
    let refused = Visitor(Arc::new(old)).visit(to, "team.relay.test").await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&stand.ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let only12 =
        rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]);
    let only12 = only12.unwrap().with_root_certificates(roots).with_no_client_auth();
    let mut stream = Visitor(Arc::new(only12)).visit(to, "team.relay.test").await.unwrap();
    assert_eq!(ask(&mut stream, DELIVERY, "{}").await.unwrap().0, 200);
    relay.stop().await;
}

/// The whole answer to one GET of that path, in lower case.
async fn got(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text.to_lowercase()
}

#[tokio::test]
async fn browsers_are_told_to_come_by_https_where_that_is_set_and_only_there() {
    let stand = Stand::new();
    let relay = stand.relay(vec![stand.pair("a", &["team.relay.test"])]).await;
    let secure = stand.visitor().visit(relay.addresses().https.unwrap(), "team.relay.test").await.unwrap();
    let told = got(secure, "team.relay.test", "/").await;
    assert!(told.contains("\r\nstrict-transport-security: max-age=86400\r\n"), "{told}");
    let told = got(TcpStream::connect(relay.addresses().http[0]).await.unwrap(), "team.relay.test", "/").await;
    assert!(told.starts_with("http/1.1 ") && !told.contains("strict-transport"), "{told}");
    relay.stop().await;
}

#[tokio::test]
async fn an_address_that_shakes_hands_too_often_is_turned_away_and_that_is_counted() {
    let stand = Stand::new();
    let pair = stand.pair("a", &["team.relay.test"]);
    let relay = crate::visitor::relay(&stand.dir.path().join("data"), |config: &mut Config| {
        config.https = Some(Https::with_pair("127.0.0.1:0".parse().unwrap(), pair));
        config.limits.address_handshakes = healthie_relay::Rate { per_second: 1, burst: 2 };
        config.metrics_from = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let to = relay.addresses().https.unwrap();
    let mut visits = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let visitor = stand.visitor();
        visits.spawn(async move { visitor.visit(to, "team.relay.test").await.is_ok() });
    }
    let (let_in, all) = (visits.join_all().await, 30);
    let let_in = let_in.iter().filter(|done| **done).count();
    assert!((2..all).contains(&let_in), "two at once and one more each second: {let_in}");
    let figures = got(TcpStream::connect(relay.addresses().http[0]).await.unwrap(), "relay.test", "/metrics").await;
    let counted = format!("limit_hits_total{{limit=\"address_handshakes\"}} {}\n", all - let_in);
    assert!(figures.contains(&counted), "{counted} in {figures}");
    relay.stop().await;
}

#[tokio::test]
async fn each_name_gets_its_certificate() {
    let stand = Stand::new();
    let (one, two) = (stand.pair("one", &["relay.test", "*.relay.test"]), stand.pair("two", &["hooks.example.test"]));
    let relay = stand.relay(vec![two.clone(), one.clone()]).await;
    let to = relay.addresses().https.unwrap();
    for (name, pair) in [("team.relay.test", &one), ("relay.test", &one), ("hooks.example.test", &two)] {
        assert_eq!(shown(&stand.visitor().visit(to, name).await.unwrap()), leaf(pair), "{name}");
    }
    // A name that nobody has gets the first, which the visitor refuses.
    assert!(stand.visitor().visit(to, "strange.test").await.is_err());
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_change_nothing_and_are_told_of() {
    let stand = Stand::new();
    let names = ["team.relay.test"];
    let (files, one, two) = (stand.pair("live", &names), stand.pair("one", &names), stand.pair("two", &names));
    put(&one, &files);
    let relay = stand.relay(vec![files.clone()]).await;
    let to = relay.addresses().https.unwrap();
    let certificate = async || readyz(&relay).await;
    assert_eq!(certificate().await.1["certificates"][0]["state"], "ok");
    let mut held = stand.visitor().visit(to, "team.relay.test").await.unwrap();

    std::fs::copy(&two.cert, &files.cert).unwrap();
    wait("the mismatch to be told", async || certificate().await.1["certificates"][0]["problem"].is_string()).await;
    let (status, said) = certificate().await;
    assert_eq!((status, &said["certificates"][0]["state"]), (200, &"ok".into()), "{said}");
    assert!(!said.to_string().contains(&*stand.dir.path().to_string_lossy()), "a path is nobody's business: {said}");
    assert_eq!(shown(&stand.visitor().visit(to, "team.relay.test").await.unwrap()), leaf(&one));

    std::fs::copy(&two.key, &files.key).unwrap();
    wait("the new one", async || certificate().await.1["certificates"][0]["problem"].is_null()).await;
    assert_eq!(shown(&stand.visitor().visit(to, "team.relay.test").await.unwrap()), leaf(&two));
    assert_eq!(ask(&mut held, DELIVERY, "{}").await.unwrap().0, 200);
    relay.stop().await;
}

async fn wait(what: &str, is: impl AsyncFn() -> bool) {
    eventually(what, async || is().await.then_some(())).await;
}

/// Exchanges the files again and again while some connections stay and others come and go, all delivering. `HEALTHIE_TUNNEL_RELOADS=1000` for the
/// figure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load_without_an_error() {
    let stand = Stand::new();
    let rounds = setting(RELOADS, 20);
    let names = ["team.relay.test"];
    let (files, one, two) = (stand.pair("live", &names), stand.pair("one", &names), stand.pair("two", &names));
    put(&one, &files);
    let relay = stand.relay(vec![files.clone()]).await;
    let to = relay.addresses().https.unwrap();
    let (stop, delivered, handshakes) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..16)
        .map(|n| {
            let (visitor, stop) = (stand.visitor(), stop.clone());
            let (delivered, handshakes) = (delivered.clone(), handshakes.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = visitor.visit(to, "team.relay.test").await.expect("a handshake");
                    handshakes.fetch_add(1, Ordering::Relaxed);
                    let stays = n < 8;
                    for _ in 0.. {
                        assert_eq!(ask(&mut stream, DELIVERY, "{}").await.expect("an answer").0, 200);
                        delivered.fetch_add(1, Ordering::Relaxed);
                        if !stays || stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for n in 0..rounds {
        let next = if n % 2 == 0 { &two } else { &one };
        let began = Instant::now();
        put(next, &files);
        let expected = leaf(next);
        let probe = stand.visitor();
        let end = began + DEADLINE;
        while shown(&probe.visit(to, "team.relay.test").await.expect("a handshake")) != expected {
            assert!(Instant::now() < end, "round {n}: the new certificate does not come into force");
        }
        times.push(began.elapsed());
    }
    // On a busy machine the rounds may be over before everybody has had a turn.
    wait("some load", async || delivered.load(Ordering::Relaxed) > rounds && handshakes.load(Ordering::Relaxed) > 16)
        .await;
    stop.store(true, Ordering::Relaxed);
    for one in load {
        one.await.expect("no error");
    }
    times.sort();
    let (delivered, handshakes) = (delivered.load(Ordering::Relaxed), handshakes.load(Ordering::Relaxed));
    if rounds > 20 {
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        let figures = format!(
            "{rounds} reloads, {delivered} deliveries over {handshakes} handshakes, 0 errors; from writing the files to a handshake with the new \
             certificate: median {:?}, p99 {:?}, worst {:?}",
            at(50),
            at(99),
            at(100)
        );
        // Past the harness, which keeps what a passing test prints to itself.
        let _ = writeln!(std::io::stderr(), "{figures}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn pairs_that_do_not_go_together_are_told_at_the_start() {
    let stand = Stand::new();
    let (one, two) = (stand.pair("one", &["relay.test"]), stand.pair("two", &["relay.test"]));
    let mixed = PairFiles { cert: one.cert, key: two.key };
    let config = Config {
        https: Some(Https::with_pair("127.0.0.1:0".parse().unwrap(), mixed)),
        ..Config::loopback(Path::new(stand.dir.path()).join("data"))
    };
    let Err(refused) = Relay::start(config).await else { panic!("it started") };
    let said = refused.to_string();
    assert!(said.contains("the key is not the certificate's") && said.contains("server.key"), "{said}");
}

#[tokio::test]
async fn one_that_has_ended_is_no_reason_not_to_start_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["relay.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let pair = PairFiles { cert: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
    std::fs::write(&pair.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&pair.key, key.serialize_pem()).unwrap();
    let relay = crate::visitor::relay(&dir.path().join("data"), |config| {
        config.https = Some(Https::with_pair("127.0.0.1:0".parse().unwrap(), pair));
    })
    .await;
    let (status, said) = readyz(&relay).await;
    assert_eq!((status, &said["certificates"][0]["state"]), (503, &"expired".into()), "{said}");
    assert_eq!(said["certificates"][0]["expires_at"], "2020-01-01T00:00:00.000000Z");
    relay.stop().await;
}
