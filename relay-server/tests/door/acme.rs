//! Certificates that the relay gets by itself, from a real ACME server on loopback: each way to prove a name, renewal under live connections, and
//! what is told when there is none.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::visitor::{DELIVERY, Visitor, ask, eventually, readyz, shown};
use healthie_relay::{Acme, AcmeBinding, AcmeChallenge, Https, Relay};
use serde_json::Value;
use tunnel_testkit::{DEADLINE, Pebble};

/// Connections that are held open over a renewal.
const HELD: usize = 40;

fn acme(pebble: &Pebble, names: &[&str], challenge: AcmeChallenge) -> Acme {
    Acme {
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        directory: pebble.directory(),
        contacts: vec!["operator@relay.test".into()],
        agreed: true,
        challenge,
        root: Some(pebble.root().to_owned()),
        binding: None,
        dns_hook: None,
        dns_hook_time: DEADLINE,
        dns_wait: Duration::ZERO,
    }
}

async fn start(pebble: &Pebble, data: &Path, acme: Acme) -> Relay {
    crate::visitor::relay(data, |config| {
        config.http = vec![pebble.http()];
        config.https = Some(Https {
            addr: pebble.https(),
            pairs: vec![],
            acme: Some(acme),
            look_every: Https::LOOK_EVERY,
            hsts: Duration::ZERO,
        });
    })
    .await
}

/// Waits until `/readyz` says that about the certificate.
async fn until(relay: &Relay, what: &str, is: impl Fn(u16, &Value) -> bool) -> Value {
    eventually(what, async || {
        let (status, said) = readyz(relay).await;
        is(status, &said["certificates"][0]).then(|| said["certificates"][0].clone())
    })
    .await
}

async fn until_ready(relay: &Relay) -> Value {
    until(relay, "a certificate", |status, c| status == 200 && c["state"] == "ok").await
}

/// Runs `healthie-relay certificates …` beside the running relay.
async fn command(data: &Path, words: &[&str]) -> (bool, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_healthie-relay"));
    let out = command.arg("certificates").args(words).arg("--data").arg(data).output().await.unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(said).unwrap())
}

/// As on a bare server without Debian's `ca-certificates`: looked at before anybody waits for a certificate that never comes.
#[tokio::test]
async fn a_system_without_authorities_is_told_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut check = tokio::process::Command::new(env!("CARGO_BIN_EXE_healthie-relay"));
    check.args(["check-config", "--https", "127.0.0.1:0", "--acme-name", "relay.test", "--acme-agree", "--data"]);
    check.arg(dir.path().join("data"));
    let nowhere = dir.path().join("nowhere");
    check.env("SSL_CERT_FILE", &nowhere).env("SSL_CERT_DIR", &nowhere);
    let out = check.output().await.unwrap();
    let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    assert!(said.contains("look: ") && said.contains("apt install ca-certificates"), "{said}");
    assert!(out.status.success(), "they can be installed while it runs: {said}");
}

async fn delivers(visitor: &Visitor, to: SocketAddr) {
    let mut stream = visitor.visit(to, "team.relay.test").await.unwrap();
    assert_eq!(ask(&mut stream, DELIVERY, "{}").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_proved_in_a_handshake_and_renewed_without_dropping_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let Some(pebble) = Pebble::start_or_skip(dir.path(), &[]) else { return };
    let data = dir.path().join("data");
    let acme = acme(&pebble, &["relay.test", "team.relay.test"], AcmeChallenge::TlsAlpn);
    let relay = start(&pebble, &data, acme.clone()).await;
    let first = until_ready(&relay).await;
    assert_eq!(first["source"], "acme");
    assert!(first["renews_at"].as_str() < first["expires_at"].as_str(), "{first}");
    let visitor = Visitor::trusting(&pebble.issuer(), &[]);
    delivers(&visitor, pebble.https()).await;
    let old = shown(&visitor.visit(pebble.https(), "relay.test").await.unwrap());

    // Nothing of what proved the name is left: only HTTP and its like are spoken now.
    let prover = Visitor::trusting(&pebble.issuer(), &[b"acme-tls/1"]);
    assert!(prover.visit(pebble.https(), "relay.test").await.is_err());

    // Connections that deliver all the while.
    let (stop, delivered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let there = Arc::new(AtomicUsize::new(0));
    let held: Vec<_> = (0..HELD)
        .map(|_| {
            let (visitor, stop, delivered, to) = (visitor.clone(), stop.clone(), delivered.clone(), pebble.https());
            let there = there.clone();
            tokio::spawn(async move {
                let mut stream = visitor.visit(to, "team.relay.test").await.unwrap();
                there.fetch_add(1, Ordering::Relaxed);
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(ask(&mut stream, DELIVERY, "{}").await.expect("it is not dropped").0, 200);
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
                shown(&stream)
            })
        })
        .collect();
    eventually("all of them", async || (there.load(Ordering::Relaxed) == HELD).then_some(())).await;
    assert!(command(&data, &["renew"]).await.0);
    let new = eventually("a new certificate", async || {
        let now = shown(&visitor.visit(pebble.https(), "relay.test").await.unwrap());
        (now != old).then_some(now)
    })
    .await;
    let before = delivered.load(Ordering::Relaxed);
    let go_on = async || (delivered.load(Ordering::Relaxed) >= before + 2 * HELD as u64).then_some(());
    eventually("more deliveries", go_on).await;
    stop.store(true, Ordering::Relaxed);
    for one in held {
        assert_eq!(one.await.expect("no delivery failed"), old, "a connection keeps what it began with");
    }

    // What is kept is the operator's alone, and is in force again after a restart without asking anybody.
    let mut files = 0;
    for entry in std::fs::read_dir(data.join("acme")).unwrap().flatten() {
        for file in std::fs::read_dir(entry.path()).unwrap().flatten() {
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
            files += 1;
        }
    }
    assert_eq!(files, 2, "an account and a certificate");
    relay.stop().await;
    let nobody = Acme { root: Some("/nowhere".into()), ..acme.clone() };
    let relay = start(&pebble, &data, nobody).await;
    until_ready(&relay).await;
    assert_eq!(shown(&visitor.visit(pebble.https(), "relay.test").await.unwrap()), new);
    relay.stop().await;

    // One name more: what there is stays in force until there is one for all.
    let names = ["relay.test", "team.relay.test", "more.relay.test"].map(str::to_owned).to_vec();
    let relay =
        start(&pebble, &data, Acme { names: names.clone(), root: Some("/nowhere".into()), ..acme.clone() }).await;
    assert_eq!(until_ready(&relay).await["names"].as_array().unwrap().len(), 2);
    relay.stop().await;
    let relay = start(&pebble, &data, Acme { names, ..acme }).await;
    until(&relay, "a certificate with the new name", |_, c| c["names"].to_string().contains("more.relay.test")).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_proved_over_http_beside_a_tunnel_of_that_name() {
    let dir = tempfile::tempdir().unwrap();
    let Some(pebble) = Pebble::start_or_skip(dir.path(), &[]) else { return };
    let relay =
        start(&pebble, &dir.path().join("data"), acme(&pebble, &["team.relay.test"], AcmeChallenge::Http)).await;
    let said = until_ready(&relay).await;
    assert_eq!(said["names"], serde_json::json!(["team.relay.test"]));
    delivers(&Visitor::trusting(&pebble.issuer(), &[]), pebble.https()).await;
    // The path is the tunnel's own again.
    let mut stream = tokio::net::TcpStream::connect(pebble.http()).await.unwrap();
    let same_path = "POST /.well-known/acme-challenge/abc HTTP/1.1\r\nHost: team.relay.test";
    assert_eq!(ask(&mut stream, same_path, "{}").await.unwrap().0, 200);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_proved_by_the_dns_hook_which_clears_up() {
    let dir = tempfile::tempdir().unwrap();
    let Some(pebble) = Pebble::start_or_skip(dir.path(), &[]) else { return };
    let (hook, log) = (dir.path().join("hook"), dir.path().join("hook.log"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\ncurl -sf -d \"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" {}/$1-txt\n",
        log.display(),
        pebble.dns_management()
    );
    // By a process of its own: a program that some process has open for writing cannot be run, and the children that the other tests start have, for a
    // moment, all that this process has.
    let write = ["-c", r#"printf %s "$1" > "$0"; chmod 700 "$0""#];
    let written = std::process::Command::new("sh").args(write).args([hook.as_os_str(), script.as_ref()]).status();
    assert!(written.unwrap().success());
    let settings = Acme { dns_hook: Some(hook), ..acme(&pebble, &["relay.test", "*.relay.test"], AcmeChallenge::Dns) };
    let relay = start(&pebble, &dir.path().join("data"), settings).await;
    until_ready(&relay).await;
    delivers(&Visitor::trusting(&pebble.issuer(), &[]), pebble.https()).await;
    let calls = std::fs::read_to_string(&log).unwrap();
    let of = |action: &str| {
        let calls = calls.lines().filter_map(|l| l.strip_prefix(action)?.strip_prefix(' ').map(str::to_owned));
        calls.collect::<std::collections::BTreeSet<_>>()
    };
    // Both names are proved by one record, with two values at once.
    assert_eq!((of("set").len(), of("set")), (2, of("clear")), "{calls}");
    assert!(of("set").iter().all(|c| c.starts_with("_acme-challenge.relay.test ")), "{calls}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_elsewhere_is_named_where_the_server_wants_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let Some(pebble) = Pebble::start_or_skip(dir.path(), &[("kid-1", key)]) else { return };
    let settings = acme(&pebble, &["relay.test"], AcmeChallenge::TlsAlpn);
    // Without it there is no certificate, and that is told.
    let relay = start(&pebble, &dir.path().join("a"), settings.clone()).await;
    let said = until(&relay, "a problem", |status, c| status == 503 && c["problem"].is_string()).await;
    assert_eq!(said["state"], "none");
    relay.stop().await;
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, key).unwrap();
    let binding = Some(AcmeBinding { id: "kid-1".into(), key: raw.into() });
    let relay = start(&pebble, &dir.path().join("b"), Acme { binding, ..settings }).await;
    until_ready(&relay).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_the_server_has_forgotten_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let Some(pebble) = Pebble::start_or_skip(dir.path(), &[]) else { return };
    let (data, settings) = (dir.path().join("data"), acme(&pebble, &["relay.test"], AcmeChallenge::TlsAlpn));
    let relay = start(&pebble, &data, settings.clone()).await;
    until_ready(&relay).await;
    relay.stop().await;
    let folder = std::fs::read_dir(data.join("acme")).unwrap().next().unwrap().unwrap().path();
    let account = folder.join("account.json");
    let mut stored: Value = serde_json::from_slice(&std::fs::read(&account).unwrap()).unwrap();
    let before = stored["id"].as_str().unwrap().to_owned();
    stored["id"] = format!("{before}0000").into();
    std::fs::write(&account, stored.to_string()).unwrap();
    std::fs::remove_file(folder.join("certificate.pem")).unwrap();
    let relay = start(&pebble, &data, settings).await;
    until_ready(&relay).await;
    relay.stop().await;
    let now: Value = serde_json::from_slice(&std::fs::read(&account).unwrap()).unwrap();
    assert!(now["id"].is_string() && now["id"] != stored["id"], "{now}");
    assert!(folder.join("account.json.old").exists(), "nothing is thrown away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_not_ours_gets_nothing_and_plain_http_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let Some(pebble) = Pebble::start_or_skip(dir.path(), &[]) else { return };
    // It asks at port 443 of the name, so to say, and nobody is there.
    let settings = acme(&pebble, &["relay.test"], AcmeChallenge::TlsAlpn);
    let data = dir.path().join("data");
    let relay = crate::visitor::relay(&data, |config| {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        config.https = Some(Https {
            addr,
            pairs: vec![],
            acme: Some(settings),
            look_every: Https::LOOK_EVERY,
            hsts: Duration::ZERO,
        });
    })
    .await;
    until(&relay, "a problem", |status, c| status == 503 && c["problem"].is_string()).await;
    assert!(
        Visitor::trusting(&pebble.issuer(), &[]).visit(relay.addresses().https.unwrap(), "relay.test").await.is_err()
    );
    let mut plain = tokio::net::TcpStream::connect(relay.addresses().http[0]).await.unwrap();
    assert_eq!(ask(&mut plain, DELIVERY, "{}").await.unwrap().0, 200);
    let (ok, said) = command(&data, &["list"]).await;
    assert!(ok && said.starts_with("acme\tnone\t-\t-\n"), "{said}");
    let (ok, said) = command(&data, &["reload"]).await;
    assert!(ok, "{said}");
    relay.stop().await;
}
