//! `events` and `diff` as programs on a store: what they print, write, change and refuse, with and without a running agent.

mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tunnel_archive::{Archive, Options};
use tunnel_delivery::{Attempt, Cause, DeliveryId, Environment, Headers, SignatureStatus, Timestamp};

use stage::Stage;
use stage::deliveries::{BEGAN, intake, plain};

/// The deliveries of [`store`].
const MANY: u64 = 300;

fn id(n: u64) -> DeliveryId {
    let mut random = [0x5a; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    DeliveryId::build(at(n), random)
}

fn at(n: u64) -> Timestamp {
    Timestamp::from_micros(BEGAN + n as i64 * 60_000_000)
}

/// The body of the `n`th; every tenth is not text.
fn body(n: u64) -> Vec<u8> {
    if n % 10 == 9 {
        return vec![0xff, 0, b'\n', b'\'', n as u8];
    }
    let event = ["appointment.created", "appointment.updated", "goal.created"][n as usize % 3];
    format!(
        "{{\"event_type\":\"{event}\",\"resource_id\":{},\"resource_id_type\":\"X\",\"note\":\"it's {n}\"}}\n",
        n / 3
    )
    .into_bytes()
}

/// A store of 300 deliveries, one a minute, from 2025 on. Every fifth failed, the last ten wait, every seventh is from production.
async fn store() -> Stage {
    let stage = Stage::new();
    fill(&stage, MANY).await;
    stage
}

async fn fill(stage: &Stage, many: u64) {
    let archive = Archive::open(&stage.path("data/archive"), Options::default()).unwrap();
    let work = (0..many).map(|n| {
        let mut delivery = plain(at(n), body(n));
        delivery.id = id(n);
        delivery.environment = if n % 7 == 0 { Environment::Production } else { Environment::Staging };
        (delivery.target, delivery.prefix_len) = ("/t/team/hook?a=b".parse().unwrap(), 7);
        delivery.headers.push("Host", "relay.test");
        delivery.headers.push("Content-Type", "application/json");
        delivery.headers.push("X-Odd", vec![0xc3, 0x28]);
        let mut intake = intake(delivery, SignatureStatus::NoSecret);
        intake.queued = n >= many - 10;
        let archive = &archive;
        async move {
            archive.insert(intake).await.unwrap();
            if n < many - 10 {
                let status = if n % 5 == 0 { 500 } else { 200 };
                let mut response_headers = Headers::default();
                response_headers.push("Content-Type", "text/plain");
                let attempt = Attempt {
                    at: at(n),
                    target: "http://localhost:3000/hook".into(),
                    cause: Cause::Forward,
                    resigned: false,
                    edited: false,
                    status: Some(status),
                    error: None,
                    duration: Duration::from_micros(1000 * (n + 1)),
                    response_headers,
                    response_body: format!("answer {}", n % 5).into(),
                    response_truncated: false,
                };
                archive.record(id(n), attempt).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(work).await;
    archive.close().await.unwrap();
}

fn ids(text: &str) -> Vec<String> {
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn words_and_options_hold_together() {
    let stage = store().await;
    for (arguments, wanted) in [
        (&["event:goal.*"][..], (0..MANY).filter(|n| n % 3 == 2 && n % 10 != 9).count()),
        (&["event:goal.*", "--status", "5xx"], (0..MANY - 10).filter(|n| n % 15 == 5).count()),
        (&["status:queued"], 10),
        (
            &["env:production", "-status:failed", "--event", "goal.*"],
            (0..MANY).filter(|n| n % 21 == 14 && n % 5 != 0 && n % 10 != 9).count(),
        ),
        (&["\"it's 17\""], 10),
        (&["\"it's 17\"", "-text:170", "--text", "goal"], 3),
    ] {
        let listed = stage.json(&[&["events", "list", "--json", "--limit", "1000"], arguments].concat());
        assert_eq!(listed.as_array().unwrap().len(), wanted, "list {arguments:?}");
        let counted = stage.json(&[&["events", "stats", "--json"], arguments].concat());
        assert_eq!(counted["total"]["deliveries"], wanted, "stats {arguments:?}");
        let exported = stage.run(&[&["events", "export"], arguments].concat()).exits(0);
        let mut oldest_first = ids(&exported.out());
        assert_eq!(oldest_first.len(), wanted, "export {arguments:?}");
        oldest_first.reverse();
        let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
        assert_eq!(oldest_first, listed);
        let removable = stage.json(&[&["events", "remove", "--json", "--dry-run", "--queued"], arguments].concat());
        assert_eq!(removable["removed"], wanted, "remove {arguments:?}");
        let waited = ["events", "wait", "--json", "--timeout", "20s", "--since", "beginning", "--count"];
        let count = wanted.to_string();
        let came = stage.run(&[&waited[..], &[&count], arguments].concat()).exits(0);
        assert_eq!(came.out().lines().count(), wanted, "wait {arguments:?}");
        assert!(came.err().contains("no agent runs"), "{}", came.err());
    }
    for command in ["list", "tail", "wait", "stats", "export", "remove"] {
        let ran = stage.run(&["events", command, "sig:vald"]).exits(2);
        if command != "remove" {
            assert!(ran.err().contains("\n  sig:vald\n      ^^^^ choose of"), "{}", ran.err());
        }
    }
}

#[tokio::test]
async fn figures_are_those_of_the_store() {
    let stage = store().await;
    let stats = stage.json(&["events", "stats", "--json", "--by", "answer"]);
    let groups: BTreeMap<&str, u64> = stats["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| (g["name"].as_str().unwrap(), g["deliveries"].as_u64().unwrap()))
        .collect();
    assert_eq!(groups, BTreeMap::from([("2xx", 232), ("5xx", 58), ("queued", 10)]));
    assert_eq!(stats["total"]["attempts"], 290);
    assert_eq!(stats["total"]["failed"], 58);
    let p50 = stats["total"]["p50_ms"].as_f64().unwrap();
    assert!((145.0..151.0).contains(&p50), "{p50}");
    let days = stage.json(&["events", "stats", "--json", "--by", "day"]);
    assert_eq!(days["groups"][0]["name"], "2025-11-21");
    let text = stage.run(&["events", "stats", "--by", "hour"]).exits(0).out();
    assert!(text.contains("300 deliveries, 290 attempts") && text.contains("2025-11-21 09:00"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains('█'));
    let none = stage.run(&["events", "stats", "event:nothing.*"]).exits(1);
    assert!(none.err().contains("nothing is stored that fits"));
}

#[tokio::test]
async fn what_is_exported_can_be_loaded_again() {
    let stage = store().await;
    for (form, file) in [("jsonl", "out.jsonl"), ("har", "out.har")] {
        let ran = stage.run(&["events", "export", "--form", form, "--output", file]).exits(0);
        assert!(ran.err().contains(&format!("300 deliveries are in {file}")), "{}", ran.err());
        assert!(ran.err().contains("note: 43 deliveries from production"), "{}", ran.err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(stage.path(file)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = stage.run(&["events", "export", "--form", form, "--output", file]).exits(2);
        assert!(again.err().contains("is there already"), "{}", again.err());
        stage.run(&["events", "export", "--form", form, "--output", file, "--force", "--json"]).exits(0);

        // Into a store of its own, from which the same comes out but for what a load makes new.
        let loaded = stage.run(&["fixtures", "load", file, "--json"]);
        let loaded = loaded.exits(0).out();
        let new = ids(&loaded);
        assert_eq!(new.len(), 300);
        for n in [0, 9, 150, 299] {
            let old = stage.json(&["events", "show", "--json", &id(n).to_string()]);
            let new = stage.json(&["events", "show", "--json", &new_of(&loaded, n)]);
            for field in ["method", "target", "headers", "body", "body_sha256"] {
                assert_eq!(old[field], new[field], "{form} {n} {field}");
            }
        }
        stage.run(&["events", "remove", "--yes", "--recent", "--since", "1h"]).exits(0);
    }
    let har: Value = serde_json::from_slice(&std::fs::read(stage.path("out.har")).unwrap()).unwrap();
    assert_eq!(har["log"]["version"], "1.2");
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries[0]["response"]["status"], 500);
    assert_eq!(entries[1]["response"]["content"]["text"], "answer 1");
    assert_eq!(entries[1]["_attempts"][0]["duration_ms"], 2.0);
    assert_eq!(entries[299]["response"]["status"], 0);
    let none = stage.run(&["events", "export", "event:nothing.*", "--form", "har"]).exits(1);
    assert_eq!(serde_json::from_str::<Value>(&none.out()).unwrap()["log"]["entries"], json!([]));
}

/// The id under which the `n`th is stored, by the end of its name.
fn new_of(loaded: &str, n: u64) -> String {
    let end = id(n).to_string()[24..].to_owned();
    let line =
        loaded.lines().find(|line| line.contains(&format!("{end}.fixture")) || line.contains(&format!("{end}\"")));
    serde_json::from_str::<Value>(line.unwrap()).unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_script_sends_every_byte() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stage = store().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = stage
        .run(&["events", "export", "until:2025-11-21T08:52:00Z", "--form", "curl", "--to", &port.to_string()])
        .exits(0)
        .out();
    std::fs::write(stage.path("script"), &script).unwrap();
    let mut sh = std::process::Command::new("sh");
    sh.arg("script").current_dir(stage.path(""));
    let ran = tokio::task::spawn_blocking(move || sh.output().unwrap());
    let mut came = 0;
    let served = async {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let end = loop {
                stream.read_buf(&mut request).await.unwrap();
                if let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") {
                    break end + 4;
                }
            };
            let wanted = body(came);
            while request.len() < end + wanted.len() {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0, "{came}");
            }
            let head = &request[..end];
            assert!(head.starts_with(b"POST /hook?a=b HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(head));
            assert!(head.windows(11).any(|w| w == b"X-Odd: \xc3(\r\n"), "{}", String::from_utf8_lossy(head));
            assert_eq!(request[end..], wanted, "{came}");
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
            came += 1;
        }
    };
    let ended = tokio::select! {
        () = served => unreachable!("the listener ended"),
        ended = tokio::time::timeout(Duration::from_secs(60), ran) => ended.expect("the script ends").unwrap(),
    };
    assert!(ended.status.success(), "{ended:?}");
    assert!(came >= 10, "{came}");
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "204\n".repeat(came as usize));
}

#[tokio::test]
async fn what_differs_is_told_and_decides_the_exit_code() {
    let stage = store().await;
    let (a, b) = (id(0).to_string(), id(3).to_string());
    for command in [&["diff"][..], &["events", "diff"]] {
        let ran = stage.run(&[command, &[&a, &b]].concat()).exits(1);
        let text = ran.out();
        assert!(
            text.contains("field note: \"it's 0\" → \"it's 3\"") && text.contains("field resource_id: 0 → 1"),
            "{text}"
        );
        assert!(text.contains("\n-   \"note\": \"it's 0\"") || text.contains("- "), "{text}");
        assert!(!text.contains("header "), "{text}");
        let same = stage.run(&[command, &[&a, &a]].concat()).exits(0);
        assert!(same.out().contains("no difference"));
    }
    let answers = stage.run(&["diff", &format!("{a}#1"), &format!("{b}#1"), "--json"]).exits(1);
    let answers: Value = serde_json::from_str(&answers.out()).unwrap();
    assert_eq!(answers["start"], json!(["500", "200"]));
    assert_eq!(answers["body_same"], false);
    stage.run(&["diff", &format!("{a}#1"), &format!("{}#1", id(5))]).exits(0);
    stage.run(&["diff", &format!("{a}#2"), &format!("{b}#1")]).exits(1);
    stage.run(&["diff", &a, &format!("{b}#1")]).exits(2);
    stage.run(&["diff", "nosuchfile", "x.http"]).exits(2);
    // Against what it was saved as.
    std::fs::write(stage.path("saved.json"), stage.run(&["events", "show", &a, "--json"]).out()).unwrap();
    stage.run(&["diff", &a, "saved.json"]).exits(0);
    stage.run(&["diff", &b, "saved.json"]).exits(1);
    stage.run(&["diff", &b, "saved.json", "--body"]).exits(1);
}

#[tokio::test]
async fn marks_are_kept_and_shown() {
    let stage = store().await;
    let one = id(1).to_string();
    stage.run(&["events", "note", &one, "ask", "Ana"]).exits(0);
    stage.run(&["events", "pin", &one, &id(2).to_string()]).exits(0);
    assert_eq!(stage.json(&["events", "show", &one, "--json"])["note"], "ask Ana");
    assert_eq!(stage.json(&["events", "list", "is:pinned", "--json"]).as_array().unwrap().len(), 2);
    assert_eq!(stage.json(&["events", "unpin", &one, "--json"]), json!([{"id": one, "pinned": false}]));
    assert_eq!(stage.json(&["events", "note", &one, "--remove", "--json"]), json!({"id": one, "note": null}));
    assert_eq!(stage.json(&["events", "show", &one, "--json"])["note"], Value::Null);
    stage.run(&["events", "note", &one]).exits(2);
    stage.run(&["events", "note", &one, ""]).exits(2);
    let long = stage.run(&["events", "note", &one, &"x".repeat(70_000)]).exits(2);
    assert!(long.err().contains("at most"), "{}", long.err());
    // The second is no id, so the first is not pinned either.
    stage.run(&["events", "pin", &one, "ffffffff"]).exits(1);
    assert_eq!(stage.json(&["events", "show", &one, "--json"])["pinned"], false);
}

#[tokio::test]
async fn what_somebody_may_need_is_not_removed() {
    let stage = store().await;
    stage.run(&["events", "pin", &id(1).to_string(), &id(2).to_string()]).exits(0);
    // Nobody can be asked in a pipe.
    for arguments in
        [&["events", "remove", "--all"][..], &["events", "remove", "event:goal.*"], &["events", "remove", "latest"]]
    {
        let ran = stage.run(arguments).exits(2);
        assert!(ran.err().contains("--yes"), "{}", ran.err());
    }
    for arguments in
        [&["--yes"][..], &["--yes", "--all", "event:a"], &["--yes", "1cae", "event:a"], &["--yes", "1cae", "--all"]]
    {
        stage.run(&[&["events", "remove"], arguments].concat()).exits(2);
    }
    let done = stage.json(&["events", "remove", "--all", "--dry-run", "--json"]);
    assert_eq!(done, json!({"removed": 288, "pinned": 2, "queued": 10, "recent": 0}));
    // An id that is none keeps the others from being removed.
    stage.run(&["events", "remove", "--yes", &id(3).to_string(), "ffffffff"]).exits(1);
    let ran = stage.run(&["events", "remove", "--yes", &id(1).to_string(), &id(3).to_string()]).exits(0);
    assert_eq!(ran.out(), "1 delivery removed\n");
    assert!(ran.err().contains("1 delivery stays: pinned (--pinned"), "{}", ran.err());
    stage.run(&["events", "remove", "--yes", &id(1).to_string()]).exits(1);
    let ran = stage.run(&["events", "remove", "--yes", "event:goal.*", "status:2xx", "--text", "goal"]).exits(0);
    let left = stage.json(&["events", "stats", "--json"])["total"]["deliveries"].as_u64().unwrap();
    let goals = (0..MANY - 10).filter(|n| n % 3 == 2 && n % 10 != 9 && n % 5 != 0 && *n != 2).count() as u64;
    assert_eq!((ran.out(), left), (format!("{goals} deliveries removed\n"), 299 - goals));
    let done = stage.json(&["events", "remove", "--yes", "--all", "--json"]);
    assert_eq!((done["pinned"].as_u64(), done["queued"].as_u64()), (Some(2), Some(10)));
    let rest = stage.json(&["events", "remove", "--yes", "--all", "--pinned", "--queued", "--json"]);
    assert_eq!(rest, json!({"removed": 12, "pinned": 0, "queued": 0, "recent": 0}));
    stage.run(&["events", "remove", "--yes", "--all"]).exits(1);
    stage.run(&["store", "check"]).exits(0);
}

#[tokio::test]
async fn what_was_just_received_stays_unless_it_is_asked_for() {
    let stage = store().await;
    stage.run(&["events", "export", &format!("resource:{}", 20), "--output", "x.jsonl"]).exits(0);
    stage.run(&["fixtures", "load", "x.jsonl"]).exits(0);
    let ran = stage.run(&["events", "remove", "--yes", "latest"]).exits(1);
    assert!(ran.err().contains("received within the last minute (--recent"), "{}", ran.err());
    stage.run(&["events", "remove", "--yes", "latest", "--recent"]).exits(0);
}
