//! Settings files that are wrong in one way each: `serve` and `check-config` refuse the same ones, and say where.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use clap::FromArgMatches as _;
use tunnel_vault::{Entropy, UserKey, Vault};

use super::super::Command;
use super::*;
use crate::settings::settle;

const COMMANDS: [&str; 2] = ["serve", "check-config"];
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What the command finds wrong with that text of a file; nothing may be in it that the data folder is not named in.
fn wrong_of(command: &str, dir: &Path, text: &str) -> Vec<String> {
    let file = dir.join("r.toml");
    fs::write(&file, text).unwrap();
    let line: Vec<OsString> = vec!["x".into(), command.into(), "--config".into(), file.clone().into()];
    let settled = match settle(&Cli::command(), line, "serve") {
        Ok(settled) => settled,
        Err(e) => return vec![e.to_string()],
    };
    let (serve, look) = match Cli::from_arg_matches(&settled.matches).map(|cli| cli.command) {
        Ok(Command::Serve(serve)) => (*serve, Look::BeforeStart),
        Ok(Command::CheckConfig(check)) => (check.serve, Look::Everything),
        _ => panic!("another command"),
    };
    let found = resolve(serve, &settled, look).found;
    found
        .iter()
        .filter(|f| f.weight == Weight::Wrong)
        .map(|f| line_of(f).replace(file.to_str().unwrap(), "r.toml"))
        .collect()
}

fn line_of(finding: &Finding) -> String {
    let line = line(finding);
    assert!(!line.contains('\n'), "{line}");
    line
}

struct House(tempfile::TempDir);

impl House {
    fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::set_permissions(dir.path().join("data"), fs::Permissions::from_mode(0o700)).unwrap();
        House(dir)
    }

    /// What both commands find wrong, which must be the same.
    fn wrong(&self, rest: &str) -> Vec<String> {
        let data = self.0.path().join("data");
        let http = if rest.contains("http =") { "" } else { "http = ['127.0.0.1:0']\n" };
        let text = format!("data = {data:?}\n{http}{rest}\n");
        let [serve, check] = COMMANDS.map(|command| wrong_of(command, self.0.path(), &text));
        assert_eq!(serve, check, "{text}");
        check
    }
}

/// For each setting that is a number, a size or a length of time, what is out of its range.
const OUT_OF_RANGE: &[(&str, &[&str])] = &[
    ("spool.age", &["0s", "72", "59s", "3651d"]),
    ("spool.bytes", &["0", "1KiB"]),
    ("spool.min-free", &["2000TiB"]),
    ("limits.max-body", &["0", "1023", "65MiB"]),
    ("limits.max-bodies", &["0"]),
    ("limits.max-head", &["0", "1MiB"]),
    ("limits.max-head-lines", &["0", "7", "257"]),
    ("limits.head-time", &["0s", "10", "1ms", "2h"]),
    ("limits.idle-time", &["0s", "30", "2d"]),
    ("limits.body-time", &["0s", "30", "2h"]),
    ("limits.body-rate", &["2GiB"]),
    ("limits.write-time", &["0s", "20", "2h"]),
    ("limits.network-time", &["0s", "30", "2h"]),
    ("limits.address-handshakes", &["100001"]),
    ("limits.max-handshakes", &["1000001"]),
    ("tls.hsts", &["1", "4000d"]),
    ("limits.handshake-time", &["0s", "10", "1h"]),
    ("limits.hello-time", &["0s", "10", "1h"]),
    ("limits.max-connections", &["0", "-1", "99999999999999999999"]),
    ("limits.max-connections-per-address", &["0"]),
    ("limits.max-streams", &["0", "10001"]),
    ("limits.max-resets", &["0", "1000001"]),
    ("limits.address-rate", &["1000001"]),
    ("limits.address-burst", &["0"]),
    ("limits.tunnel-rate", &["1000001"]),
    ("limits.tunnel-burst", &["0"]),
    ("limits.max-answer", &["9MiB"]),
    ("limits.max-agents", &["0"]),
    ("limits.max-agents-per-tunnel", &["0"]),
    ("limits.max-devices-per-tunnel", &["0", "65"]),
    ("limits.max-frame", &["63KiB", "257KiB"]),
    ("limits.failed-attempts", &["0"]),
    ("limits.heartbeat", &["0s", "3", "11m"]),
    ("limits.dead-after", &["0s", "8", "2h"]),
    ("limits.drain-time", &["0s", "20", "2h"]),
    ("limits.workers", &["0", "1025"]),
    ("acme.dns-hook-time", &["0s", "120", "2h"]),
    ("acme.dns-wait", &["30", "2h"]),
    ("log.otlp-ratio", &["1.5", "-1"]),
];

#[test]
fn what_is_out_of_range_is_refused_by_both_and_told_where_it_stands() {
    let house = House::new();
    for (setting, values) in OUT_OF_RANGE {
        let (table, key) = setting.split_once('.').unwrap();
        for value in *values {
            let wrong = house.wrong(&format!("[{table}]\n{key} = '{value}'"));
            assert_eq!(wrong.len(), 1, "{setting} = {value}: {wrong:?}");
            assert!(wrong[0].starts_with("r.toml:4:") && wrong[0].contains(setting), "{setting}: {wrong:?}");
        }
    }
    assert_eq!(house.wrong(""), [] as [&str; 0]);
}

#[test]
fn no_number_is_without_a_range() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    for flag in serve.get_arguments() {
        let kind = flag.get_value_names().unwrap_or_default().first().map_or("", |name| name.as_str());
        if matches!(kind, "TIME" | "SIZE" | "N" | "PART") {
            let long = flag.get_long().unwrap_or_default();
            let known = OUT_OF_RANGE.iter().any(|(setting, _)| {
                let (table, key) = setting.split_once('.').unwrap();
                long == key || long == format!("{table}-{key}")
            });
            assert!(known, "--{long} is not in the table of what is out of range");
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused_by_both_and_told_where_it_stands() {
    let house = House::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for (text, told) in [
        (
            "http = ['127.0.0.1:PORT']\nadmin = '127.0.0.1:PORT'",
            "are one address; each listener has its own (r.toml:2: http, r.toml:3: admin)",
        ),
        (
            "http = ['127.0.0.1:PORT']\nadmin = '127.0.0.1:PORT'\n[tls]\nhttps = '127.0.0.1:0'",
            "are one address; each listener has its own (r.toml:2: http, r.toml:3: admin)",
        ),
        (
            "[spool]\ndata-key = 'hunter2'\ndata-key-file = '/no/key'\ndata-key-command = 'false'",
            "r.toml:5:1: spool.data-key (line 4) and spool.data-key-file exclude each other; keep one",
        ),
        ("http = ['127.0.0.1:PORT', '0.0.0.0:PORT']", "are one address"),
        (
            "public-url = 'https://relay.test/hooks'",
            "a path, query or fragment of its own has no place); write it like https://relay.example.com (r.toml:3: public-url)",
        ),
        ("public-url = 'https://me:hunter2@relay.test'", "it names no user"),
        (
            "[proxies]\ntrusted-proxy = ['0.0.0.0/0']",
            "r.toml:4:18: \"0.0.0.0/0\" is no value for proxies.trusted-proxy: 0.0.0.0/0 is wider than",
        ),
        (
            "[proxies]\ntrusted-proxy = ['192.0.2.1', '10.0.0.1/8']",
            "r.toml:4:31: \"10.0.0.1/8\" is no value for proxies.trusted-proxy: 10.0.0.1/8 is an address with",
        ),
        (
            "metrics-from = ['10.0.0.1/8']",
            "r.toml:3:17: \"10.0.0.1/8\" is no value for metrics-from: 10.0.0.1/8 is an address with",
        ),
        (
            "[limits]\nunlimited = ['10.0.0.1/8']",
            "write 10.0.0.0/8 for all of that network, or 10.0.0.1 for the one address",
        ),
        (
            "[acme]\ncontact = ['ops@example.com', 'mailto:ops@example.com']",
            "r.toml:4:31: \"mailto:ops@example.com\" is no value for acme.contact: write a mail address like",
        ),
        ("[proxies]\nproxy-protocol = ['http']", "give --trusted-proxy (r.toml:4: proxies.proxy-protocol)"),
        ("[tls]\ncert = ['c']\nkey = ['k']", "--cert is of no use without --https (r.toml:4: tls.cert)"),
        ("[tls]\nhttps = '127.0.0.1:0'", "give --cert and --key, or --acme-name (r.toml:4: tls.https)"),
        (
            "[tls]\nhttps = '127.0.0.1:0'\ncert = ['c', 'd']\nkey = ['k']",
            "2 times --cert and 1 times --key: each goes with one (r.toml:5: tls.cert, r.toml:6: tls.key)",
        ),
        ("[tls]\nhttps = '127.0.0.1:0'\ncert = ['/no/c']\nkey = ['/no/k']", "(r.toml:5: tls.cert, r.toml:6: tls.key)"),
        ("[acme]\neab-id = 'x'", "go together: give both or none (r.toml:4: acme.eab-id)"),
        ("[limits]\nmax-bodies = '64KiB'", "raise --max-bodies (r.toml:4: limits.max-bodies)"),
        ("[limits]\nheartbeat = '9s'", "raise --dead-after (r.toml:4: limits.heartbeat)"),
        ("[log]\notlp-endpoint = 'http://me:hunter2@collector.test'", "(r.toml:4: log.otlp-endpoint)"),
        ("http = ['localhost']", "r.toml:2:9: \"localhost\" is no value for http: write ADDRESS:PORT"),
        ("[tls]\nhttps = 'localhost:443'", "is no value for tls.https: write ADDRESS:PORT"),
        ("admin = '9464'", "is no value for admin: write ADDRESS:PORT"),
        ("[log]\notlp-ratio = 1.5", "r.toml:4:14: \"1.5\" is no value for log.otlp-ratio: write a number from 0 to 1"),
        (
            "[limits]\nmax-devices-per-tunnel = 1.5",
            "r.toml:4:26: \"1.5\" is no value for limits.max-devices-per-tunnel: ",
        ),
        ("[log]\nlevel = 'a=b=c'", "r.toml:4:9: "),
        (
            "[log]\nlevel = 'nosuchlevel'",
            "r.toml:4:9: \"nosuchlevel\" is no value for log.level: \"nosuchlevel\" is no level",
        ),
        ("[spool]\ndata-key-file = '/no/key'", "the spool's key: cannot open /no/key"),
    ] {
        let wrong = house.wrong(&text.replace("PORT", &free));
        assert!(wrong.iter().any(|one| one.contains(told)), "{text}\n---\n{wrong:#?}");
        assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
    }
}

#[test]
fn a_part_is_written_as_a_number_or_as_a_text() {
    let house = House::new();
    for part in ["0.5", "'0.5'", "1", "1e-1"] {
        assert_eq!(house.wrong(&format!("[log]\notlp-ratio = {part}")), [] as [&str; 0], "{part}");
    }
}

#[test]
fn all_that_is_wrong_is_told_in_one_run_and_nothing_that_follows_from_it() {
    let house = House::new();
    let wrong =
        house.wrong("http = ['81']\nnmae = 'x'\npublic-url = 'relay'\n[limits]\nmax-body = 0\nheartbeat = '9s'\n");
    let told = [
        "r.toml:2:9: \"81\" is no value",
        "r.toml:3:1: there is no setting nmae",
        "r.toml:6:12: \"0\" is no value",
        "no public address",
        "raise --dead-after",
    ];
    assert_eq!(wrong.len(), told.len(), "{wrong:#?}");
    for part in told {
        assert!(wrong.iter().any(|one| one.contains(part)), "{part}: {wrong:#?}");
    }
}

#[test]
fn a_key_that_does_not_open_the_spool_is_told_with_what_can_be_done() {
    let house = House::new();
    let spool = house.0.path().join("data/spool");
    fs::create_dir(&spool).unwrap();
    Vault::open(&spool, Some(&UserKey::parse(KEY, "a test").unwrap()), false, Entropy::system()).unwrap();
    let with = |key: &str, mode| {
        let path = house.0.path().join("key");
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        house.wrong(&format!("[spool]\ndata-key-file = {path:?}"))
    };
    assert_eq!(with(KEY, 0o600), [] as [&str; 0]);
    let other = KEY.replace('0', "1");
    for (wrong, told) in [
        (with(&other, 0o600), "move the folder spool away"),
        (with("nonsense", 0o600), "holds no key"),
        (with(KEY, 0o644), "chmod 600"),
        (house.wrong(""), "no key was given; give the key"),
    ] {
        assert!(wrong.len() == 1 && wrong[0].contains(told), "{told}: {wrong:?}");
    }
    fs::write(spool.join("keys.json"), "{").unwrap();
    assert!(with(KEY, 0o600)[0].contains("a backup holds it"));
}

#[test]
fn a_secret_in_a_line_that_is_wrong_is_not_shown() {
    let house = House::new();
    for text in ["[spool]\ndata-key = hunter2", "[spool]\ndata-kye = 'hunter2'", "data-key = 1.5 # hunter2"] {
        let settled = house.wrong(text);
        assert!(!settled.is_empty() && !settled.join("").contains("hunter2"), "{settled:?}");
    }
}
