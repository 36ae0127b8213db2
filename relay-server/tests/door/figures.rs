//! The relay's figures: who gets them, that they are well-formed, and that they say what happened. And each request's id.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use healthie_relay::Relay;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tunnel_testkit::{Authority, DEADLINE};

use crate::visitor::{DELIVERY, Visitor, ask};

/// Sends a request with nothing after its head and gives the whole answer as text.
async fn raw(to: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut read = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut read)).await.expect("an answer in time").unwrap();
    String::from_utf8(read).unwrap()
}

async fn figures(relay: &Relay, accept: &str) -> String {
    let admin = relay.addresses().admin.expect("an operator's listener");
    let answer = raw(admin, &format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nAccept: {accept}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn relay(data: &std::path::Path, change: impl FnOnce(&mut healthie_relay::Config)) -> Relay {
    crate::visitor::relay(data, |config| {
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        change(config);
    })
    .await
}

/// The samples of a page in the classic form, by series, after it was held against the rules of that form.
fn read(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut helped, mut done) = (BTreeSet::new(), BTreeSet::new());
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(!help.is_empty() && helped.insert(name), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name) && types.insert(name, kind).is_none(), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            done.insert(std::mem::replace(&mut family, name));
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series
                .split_once('{')
                .map_or((series, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("the labels' end")));
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let its = base.filter(|base| types.get(base) == Some(&"histogram")).unwrap_or(name);
            assert!(its == family && !done.contains(its), "{line} stands outside of its family {family}");
            check_labels(labels);
            let value = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line} is there twice");
        }
    }
    for (series, count) in samples.iter().filter(|(series, _)| series.contains("le=\"+Inf\"")) {
        let labels = series.split_once('{').unwrap().1.trim_end_matches('}').replace("le=\"+Inf\"", "");
        let labels = labels.trim_matches(',');
        let name = series.split_once("_bucket").unwrap().0;
        let total = if labels.is_empty() { format!("{name}_count") } else { format!("{name}_count{{{labels}}}") };
        assert_eq!(samples.get(&total), Some(count), "{series}");
    }
    samples
}

fn check_labels(labels: &str) {
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("a label's value");
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{labels}");
        let end = (0..after.len()).find(|&i| after.as_bytes()[i] == b'"' && !after[..i].ends_with('\\'));
        rest = after[end.expect("its end") + 1..].trim_start_matches(',');
    }
}

#[tokio::test]
async fn the_figures_are_well_formed_and_say_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("Test CA");
    authority.write(&dir.path().join("ca.pem"));
    let ca = std::fs::read(dir.path().join("ca.pem")).unwrap();
    let files = authority.server(dir.path(), &["relay.test", "*.relay.test"]);
    let pair = healthie_relay::PairFiles { cert: files.certificate, key: files.key };
    let relay = relay(dir.path(), |config| {
        config.https = Some(healthie_relay::Https::with_pair("127.0.0.1:0".parse().unwrap(), pair));
    })
    .await;
    let visitor = Visitor::trusting(&ca, &[b"http/1.1"]);
    let mut stream = visitor.visit(relay.addresses().https.unwrap(), "team.relay.test").await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, DELIVERY, "{\"a\":1}").await.unwrap().0, 200);
    }
    for n in 0..50 {
        let head = format!("POST /t/nobody-{n}/x HTTP/1.1\r\nHost: relay.test");
        // Without a body: one that is not read ends the connection.
        assert_eq!(ask(&mut stream, &head, "").await.unwrap().0, 404);
    }
    let samples = read(&figures(&relay, "text/plain").await);
    let is = |series: &str, value: f64| {
        let name = format!("healthie_relay_{}", series.split('{').next().unwrap());
        let near: Vec<_> = samples.iter().filter(|(s, _)| s.split('{').next() == Some(&name)).collect();
        assert_eq!(samples.get(&format!("healthie_relay_{series}")), Some(&value), "{series}: {near:?}");
    };
    is("deliveries_total{tunnel=\"team\",outcome=\"accepted\"}", 3.0);
    is("deliveries_total{tunnel=\"\",outcome=\"not_found\"}", 50.0);
    is("delivery_body_bytes_total{tunnel=\"team\"}", 21.0);
    is("delivery_answer_seconds_count{outcome=\"accepted\"}", 3.0);
    is("spool_append_seconds_count", 3.0);
    is("spool_waiting{tunnel=\"team\"}", 3.0);
    is("spool_share_bytes{tunnel=\"team\"}", f64::from(1u32 << 30));
    is("http_requests_total{route=\"delivery\",status=\"4xx\"}", 50.0);
    is("connections{listener=\"https\"}", 1.0);
    is("tls_handshakes_total{result=\"done\"}", 1.0);
    is("certificate_valid{certificate=\"0\",name=\"relay.test\",source=\"files\"}", 1.0);
    is("agents{tunnel=\"team\"}", 0.0);
    is("spool_usable", 1.0);
    assert!(samples["process_open_fds"] > 3.0 && samples["process_start_time_seconds"] > 1e9);
    assert!(!samples.keys().any(|series| series.contains("nobody")), "a stranger made a series");

    let open = figures(&relay, "application/openmetrics-text; version=1.0.0").await;
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE healthie_relay_deliveries counter\n"), "{open}");

    // A removed tunnel's series go with it.
    relay.registry().remove_tunnel(&"team".parse().unwrap()).unwrap();
    let gone = async { while read(&figures(&relay, "*/*").await).keys().any(|series| series.contains("team")) {} };
    tokio::time::timeout(DEADLINE, gone).await.expect("the series of a removed tunnel go");
    relay.stop().await;
}

#[tokio::test]
async fn the_public_finds_no_figures_and_the_operator_s_listener_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let relay = relay(dir.path(), |_| {}).await;
    let public = relay.addresses().http[0];
    let get = |to: SocketAddr, path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: relay.test");
        async move { raw(to, &head).await }
    };
    let nothing = get(public, "/nothing").await;
    let without_id = |answer: &str| {
        let lines = answer.lines().filter(|l| !l.starts_with("x-request-id:") && !l.starts_with("date:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(without_id(&get(public, "/metrics").await), without_id(&nothing));
    let admin = relay.addresses().admin.unwrap();
    assert!(get(admin, "/healthz").await.contains("alive"));
    assert!(get(admin, "/readyz").await.contains("ready"));
    for path in ["/", "/t/team/x", "/agent/v1/team"] {
        assert!(get(admin, path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    assert!(raw(admin, "POST /metrics HTTP/1.1\r\nHost: relay.test").await.starts_with("HTTP/1.1 405 "));
    let written = std::fs::read_to_string(dir.path().join("addresses.json")).unwrap();
    assert!(written.contains(&format!("\"admin\":\"{admin}\"")), "{written}");
    relay.stop().await;
}

#[tokio::test]
async fn the_public_listeners_show_them_to_who_is_allowed_and_that_is_the_real_sender() {
    let dir = tempfile::tempdir().unwrap();
    let relay = relay(dir.path(), |config| {
        config.metrics_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.proxies.trusted = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let public = relay.addresses().http[0];
    let get = "GET /metrics HTTP/1.1\r\nHost: relay.test";
    assert!(raw(public, get).await.starts_with("HTTP/1.1 200 "));
    let through_the_proxy = format!("{get}\r\nX-Forwarded-For: 8.8.8.8");
    assert!(raw(public, &through_the_proxy).await.starts_with("HTTP/1.1 404 "));
    // Below the domain it is a tunnel's path, whoever asks.
    assert!(!raw(public, "GET /metrics HTTP/1.1\r\nHost: team.relay.test").await.contains("healthie_relay_"));
    relay.stop().await;
}

fn header(answer: &str, name: &str) -> Option<String> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

#[tokio::test]
async fn every_answer_has_an_id_of_ours_and_a_delivery_s_is_the_delivery_s() {
    let dir = tempfile::tempdir().unwrap();
    let relay = relay(dir.path(), |_| {}).await;
    let to = relay.addresses().http[0];
    let theirs = "X-Request-Id: 00000000-0000-7000-8000-000000000000";
    let mut ids = BTreeSet::new();
    for head in [
        "GET /healthz HTTP/1.1\r\nHost: relay.test",
        "GET /nothing HTTP/1.1\r\nHost: relay.test",
        "POST /t/nobody HTTP/1.1\r\nHost: relay.test",
        "GET /agent/v1/team HTTP/1.1\r\nHost: relay.test",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b",
        DELIVERY,
    ] {
        let answer = raw(to, &format!("{head}\r\n{theirs}\r\nContent-Length: 0")).await;
        let id = header(&answer, "x-request-id").unwrap_or_else(|| panic!("no id in {answer}"));
        assert_eq!(id.as_bytes()[14], b'7', "a version 7: {id}");
        assert!(!theirs.ends_with(&id) && ids.insert(id.clone()), "{id} is not its own");
        if head == DELIVERY {
            assert_eq!(header(&answer, "healthie-tunnel-delivery"), Some(id));
        }
    }
    relay.stop().await;
}
