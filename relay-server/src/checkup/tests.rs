//! Configurations of folders and files made for it: what is sound has no findings, and each thing that is wrong has its own.

use std::net::TcpListener;
use std::time::Duration;

use super::*;
use crate::config::{Acme, AcmeChallenge, PairFiles};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn found(config: &Config) -> Vec<(Weight, String)> {
    checkup(config, None, None, Look::Everything).into_iter().map(|f| (f.weight, f.message)).collect()
}

#[test]
fn a_sound_configuration_has_no_findings_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o700);
    assert_eq!(found(&Config::loopback(dir.path().to_owned())), []);
    let data = dir.path().join("a/b");
    assert_eq!(found(&Config::loopback(data.clone())), []);
    assert!(!data.exists() && fs::read_dir(dir.path()).unwrap().next().is_none());
}

/// What comes through a pipe can be read once, and that is the start's to do.
#[test]
fn a_key_that_can_be_read_once_is_left_to_the_start() {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o700);
    let pipe = dir.path().join("key");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let config =
        Config { data_key: Some(tunnel_vault::KeySource::File(pipe)), ..Config::loopback(dir.path().join("data")) };
    let (told, found) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(checkup(&config, None, None, Look::BeforeStart)));
    let found = found.recv_timeout(Duration::from_secs(20)).expect("it waits for somebody who writes the key");
    assert_eq!(found, []);
}

#[test]
fn each_thing_that_is_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    chmod(&data, 0o755);
    fs::write(data.join("registry.json"), "{").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = dir.path().join("hook");
    fs::write(&hook, "").unwrap();
    chmod(&hook, 0o644);
    let files = PairFiles { cert: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
    let acme = Acme {
        names: vec!["a.test".into()],
        directory: Acme::LETS_ENCRYPT.into(),
        contacts: vec![],
        agreed: true,
        challenge: AcmeChallenge::Dns,
        root: Some(dir.path().join("root.pem")),
        binding: None,
        dns_hook: Some(hook.clone()),
        dns_hook_time: Duration::from_secs(1),
        dns_wait: Duration::ZERO,
    };
    let mut config = Config::loopback(data.clone());
    config.http = vec![taken.local_addr().unwrap()];
    let addr = "127.0.0.1:0".parse().unwrap();
    config.https = Some(Https { acme: Some(acme), ..Https::with_pair(addr, files) });
    let all = found(&config);
    let told = |weight: Weight, part: &str| {
        assert!(all.iter().any(|(w, m)| *w == weight && m.contains(part)), "{part:?} is not in {all:#?}");
    };
    told(Weight::Doubtful, "is open to others (mode 0755)");
    told(Weight::Wrong, "registry.json is damaged");
    told(Weight::Wrong, "c.pem");
    told(Weight::Wrong, "root.pem cannot be read");
    told(Weight::Wrong, "is not a program");
    told(Weight::Wrong, "is in use by another program");
    assert_eq!(all.len(), 6, "{all:#?}");
    assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o755, "looking changes nothing");
    chmod(&hook, 0o777);
    let others = found(&config);
    assert!(others.iter().any(|(_, m)| m.contains("can be changed by everybody")), "{others:#?}");
    let endpoint = "http://user:pass@collector.test".to_owned();
    config.traces = Some(crate::TraceTo { endpoint, ratio: 1.0, trust_senders: false });
    let collector = found(&config);
    let told = collector.iter().find(|(_, m)| m.contains("--otlp-endpoint")).expect("the collector's address");
    assert!(told.0 == Weight::Wrong && !told.1.contains("pass@"), "{told:?}");
    config.traces = None;
    config.http.clear();
    config.https = None;
    assert!(found(&config)[0].1.contains("nothing to listen on"));
}

/// Can be seen by root only: whose a file is changes for nobody else.
#[test]
fn files_of_another_user_are_told() {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o700);
    fs::create_dir(dir.path().join("spool")).unwrap();
    fs::write(dir.path().join("spool/spool.redb"), "").unwrap();
    if !crate::ownership::is_given_away(dir.path()) {
        return;
    }
    let all = found(&Config::loopback(dir.path().to_owned()));
    let told = format!("chown -R 4242 {}", dir.path().display());
    assert!(all.iter().any(|(_, m)| m.contains("/spool, and 1 more,") && m.contains(&told)), "{all:#?}");
}

#[test]
fn bounds_that_take_less_than_is_meant_are_told() {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o700);
    let mut config = Config::loopback(dir.path().to_owned());
    config.spool.max_bytes_per_tunnel = config.limits.body - 1;
    config.spool.min_free_bytes = 1 << 50;
    config.metrics_from = vec!["::/0".parse().unwrap()];
    let all = found(&config);
    for part in ["raise --spool-bytes", "would be answered 503", "names everybody"] {
        assert!(all.iter().any(|(weight, m)| *weight == Weight::Doubtful && m.contains(part)), "{part}: {all:#?}");
    }
    assert_eq!(all.len(), 3, "{all:#?}");
}
