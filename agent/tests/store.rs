//! The program on stores that nobody has open: sound ones, damaged ones, and folders that have none.

mod stage;

use std::path::{Path, PathBuf};

use serde_json::Value;

use stage::{Stage, event};

#[test]
fn a_slip_in_the_folder_s_name_makes_no_store() {
    let stage = Stage::new();
    for arguments in [
        &["events", "list"][..],
        &["events", "show", "latest"],
        &["replay", "latest", "--to", "3000"],
        &["verify", "latest"],
        &["status"],
        &["store", "check"],
        &["store", "export"],
        &["store", "compact"],
        &["store", "compact", "--rescue"],
    ] {
        let ran = stage.run(arguments).exits(2);
        assert!(ran.err().contains("the data folder data does not exist"), "{arguments:?}: {}", ran.err());
    }
    // These wait for an agent, which may be about to start; they say where.
    let ran = stage.run(&["events", "wait", "--timeout", "100ms"]).exits(1);
    assert!(ran.err().contains("nothing is stored in data yet"), "{}", ran.err());
    assert!(!stage.path("data").exists());
    std::fs::create_dir(stage.path("data")).unwrap();
    let ran = stage.run(&["events", "list"]).exits(2);
    assert!(ran.err().contains("no stored deliveries in it"), "{}", ran.err());
    assert_eq!(std::fs::read_dir(stage.path("data")).unwrap().count(), 0);
    // Of whoever died before there was anything.
    std::fs::create_dir(stage.path("data/archive")).unwrap();
    std::fs::write(stage.path("data/archive/lock"), "7").unwrap();
    stage.run(&["events", "list"]).exits(2);
    // Of a store that is there, but not whole: opening it says so.
    std::fs::create_dir(stage.path("data/archive/store-2")).unwrap();
    stage.run(&["events", "list"]).exits(3);
}

#[tokio::test]
async fn an_export_has_every_delivery_as_show_has_it() {
    let stage = Stage::store((0..150).map(event)).await;
    let text = stage.run(&["store", "export"]).exits(0).out();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 150);
    for n in [0, 77, 149] {
        let line: Value = serde_json::from_str(lines[n]).unwrap();
        assert!(line["body"]["text"].as_str().unwrap().contains(&format!(r#""resource_id":"{n}""#)), "oldest first");
        assert_eq!(line, stage.json(&["events", "show", line["id"].as_str().unwrap(), "--json"]));
    }
    let some = stage.run(&["store", "export", "--since", "2025-11-21T08:34:00Z", "--until", "2025-11-21T08:34:09Z"]);
    assert_eq!(some.exits(0).out().lines().count(), 10);

    let file = stage.path("out.jsonl");
    let done = stage.json(&["store", "export", "--out", "out.jsonl", "--json"]);
    assert_eq!((&done["deliveries"], &done["rescued"]), (&150.into(), &Value::Null));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::write(&file, "mine").unwrap();
    let ran = stage.run(&["store", "export", "--out", "out.jsonl"]).exits(2);
    assert!(ran.err().contains("--force"), "{}", ran.err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    stage.run(&["store", "export", "--out", "out.jsonl", "--force"]).exits(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let left: Vec<_> = std::fs::read_dir(stage.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| ["data", "out.jsonl", "home"].iter().any(|n| name == n)), "{left:?}");
}

#[tokio::test]
async fn repeats_stand_with_what_they_repeat() {
    let stage = Stage::store([event(1), event(2), event(1), event(3), event(1)]).await;
    let all = stage.json(&["events", "list", "--json", "--reverse"]);
    let id = |n: usize| all[n]["id"].clone();
    let ids = |how: &[&str]| -> Vec<Value> {
        let listed = stage.json(&[&["events", "list", "--json", "--reverse"], how].concat());
        listed.as_array().unwrap().iter().map(|s| s["id"].clone()).collect()
    };
    assert_eq!(ids(&["--duplicates", "only"]), [id(2), id(4)]);
    assert_eq!(ids(&["--duplicates", "none"]), [id(0), id(1), id(3)]);

    let groups = stage.json(&["events", "list", "--duplicates", "grouped", "--json"]);
    let shape: Vec<(Value, usize)> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|g| (g["first"]["id"].clone(), g["repeats"].as_array().unwrap().len()))
        .collect();
    assert_eq!(shape, [(id(0), 2), (id(3), 0), (id(1), 0)], "newest first by the latest of each group");
    assert_eq!(groups[0]["repeats"][0]["duplicate_of"], id(0));
    let text = stage.run(&["events", "list", "--duplicates", "grouped", "--event", "task.*"]).exits(0).out();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("×3") && lines[1].starts_with("  2025") && lines[2].starts_with("  2025"), "{text}");
    assert_eq!(lines.len(), 5, "{text}");

    let repeat = stage.run(&["events", "show", id(4).as_str().unwrap()]).exits(0).out();
    assert!(repeat.contains("repeat of") && repeat.contains("4 s earlier") && repeat.contains("guess"), "{repeat}");
    let shown = stage.json(&["events", "show", id(4).as_str().unwrap(), "--json"]);
    assert_eq!(shown["duplicate_of"], id(0));
    let first = stage.json(&["events", "show", id(0).as_str().unwrap(), "--json"]);
    assert_eq!(first["repeats"], serde_json::json!([id(2), id(4)]));
    let first = stage.run(&["events", "show", id(0).as_str().unwrap()]).exits(0).out();
    assert!(first.contains("2.0 s later") && first.contains("4.0 s later") && first.contains("guess"), "{first}");
    stage.run(&["events", "list", "--duplicates", "some"]).exits(2);
}

#[tokio::test]
async fn event_names_that_nobody_knows_are_remarked_on() {
    let stage = Stage::store([event(1), r#"{"event_type":"ours.alone","resource_id":1}"#.to_owned()]).await;
    for (pattern, said) in [
        ("task.updatd", "did you mean task.updated"),
        ("nonsense", "trigger --list"),
        ("task.updated", ""),
        ("ours.*", ""),
        // Known, and not stored.
        ("goal.created", ""),
    ] {
        let err = stage.run(&["events", "list", "--event", pattern]).exits(0).err();
        assert_eq!(err.contains("note: no event"), !said.is_empty(), "{pattern}: {err}");
        assert!(err.contains(said), "{pattern}: {err}");
    }
    let waited = stage.run(&["events", "wait", "--event", "tsak.updated", "--timeout", "50ms"]).exits(1).err();
    assert!(waited.contains("did you mean task.updated"), "{waited}");
}

#[tokio::test]
async fn without_an_agent_the_status_has_the_store_s_figures() {
    let stage = Stage::store((0..3).map(event)).await;
    let ran = stage.run(&["status", "--json"]).exits(1);
    let status: Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!((&status["running"], &status["archive"]["deliveries"]), (&false.into(), &3.into()));
    assert!(stage.run(&["status"]).exits(1).out().contains("does not run"));
}

/// Overwrites a tenth of the store's file, in the middle.
fn damage(data: &Path) {
    let path = files(&data.join("archive")).into_iter().find(|p| p.file_name().is_some_and(|n| n == "db")).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let (from, to) = (bytes.len() * 4 / 10, bytes.len() / 2);
    bytes[from..to].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

#[tokio::test]
async fn a_damaged_store_is_told_in_words_that_help() {
    let stage = Stage::store((0..2000).map(event)).await;
    damage(&stage.path("data"));
    for arguments in [
        &["listen", "--no-forward", "--relay", "http://127.0.0.1:9", "--token", "tok"][..],
        &["events", "list", "--limit", "5000"],
        &["status"],
        &["store", "compact"],
    ] {
        let ran = stage.run(arguments).exits(3);
        let err = ran.err();
        assert!(err.contains("is damaged") && err.contains("store check") && err.contains("--data data"), "{err}");
        assert!(!err.contains("panicked") && !err.contains("backtrace:"), "{err}");
    }
}

#[tokio::test]
async fn what_is_readable_of_a_damaged_store_is_saved() {
    const MANY: usize = 2000;
    let stage = Stage::store((0..MANY).map(event)).await;
    damage(&stage.path("data"));
    let ran = stage.run(&["store", "check", "--json"]).exits(1);
    let checked: Value = serde_json::from_str(&ran.out()).unwrap();
    assert_eq!(checked["sound"], false);
    assert!(!checked["findings"].as_array().unwrap().is_empty(), "{checked}");
    let ran = stage.run(&["store", "check"]).exits(1);
    assert!(ran.out().starts_with("damaged") && ran.err().contains("store export"), "{}{}", ran.out(), ran.err());

    let ran = stage.run(&["store", "export", "--out", "saved.jsonl", "--json"]).exits(1);
    assert!(ran.err().contains("the store is damaged") && ran.err().contains("--rescue"), "{}", ran.err());
    assert!(!ran.err().contains("panicked"), "{}", ran.err());
    let done: Value = serde_json::from_str(&ran.out()).unwrap();
    let text = std::fs::read_to_string(stage.path("saved.jsonl")).unwrap();
    let saved: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&done["deliveries"], &done["rescued"]["deliveries"]), (&saved.len().into(), &saved.len().into()));
    assert!(saved.len() > MANY / 2 && saved.len() < MANY, "{}", saved.len());
    for one in &saved {
        let n: usize = one["event"]["resource_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(one["body"]["text"], event(n), "byte for byte");
    }

    let repaired = stage.json(&["store", "compact", "--rescue", "--json"]);
    assert_eq!(repaired["deliveries"], saved.len());
    let aside = repaired["aside"].as_array().unwrap();
    assert!(!aside.is_empty());
    for path in aside {
        let path = stage.0.path().join(path.as_str().unwrap());
        assert!(path.exists() && path.starts_with(stage.path("data")), "{path:?}");
    }
    let left = stage.json(&["events", "list", "--json", "--limit", "5000"]);
    assert_eq!(left.as_array().unwrap().len(), saved.len());
    assert_eq!(stage.json(&["store", "check", "--json"])["sound"], true);
    stage.run(&["store", "compact"]).exits(0);
}

#[tokio::test]
async fn a_sound_store_is_checked_and_compacted() {
    let stage = Stage::store((0..50).map(event)).await;
    let checked = stage.json(&["store", "check", "--json"]);
    assert_eq!((&checked["sound"], &checked["deliveries"]), (&true.into(), &50.into()));
    let shrunk = stage.json(&["store", "compact", "--json"]);
    assert!(shrunk["before"].as_u64() >= shrunk["after"].as_u64(), "{shrunk}");
    assert_eq!(stage.json(&["events", "list", "--json"]).as_array().unwrap().len(), 50);
}
