//! Privacy: with a key nothing of a delivery lies on either disk, nobody else may read a file, and what is purged is gone.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tunnel_stories::{SECRET, TUNNEL, World};
use tunnel_testkit::{AnswerMode, Handler, Stage};

const PERSON: &str = "Maria Musterfrau, 555-0199";

fn key(stage: &Stage, name: &str, first: u8) -> (PathBuf, String) {
    let path = stage.folder().join(name);
    fs::write(&path, (0..32).map(|n| format!("{:02x}", first + n)).collect::<String>()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (path.clone(), path.display().to_string())
}

/// Everything below a folder.
fn walk(dir: &Path, each: &mut dyn FnMut(&Path, &fs::Metadata)) {
    // A file may go at any time, and a folder.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        each(&path, &meta);
        if meta.is_dir() {
            walk(&path, each);
        }
    }
}

/// Files and folders that somebody else may do anything with.
fn open_to_others(dir: &Path) -> Vec<String> {
    let mut open = Vec::new();
    walk(dir, &mut |path, meta| {
        if meta.mode() & 0o077 != 0 {
            open.push(format!("{} {:03o}", path.display(), meta.mode() & 0o777));
        }
    });
    open
}

/// Files in which the person is named.
fn naming(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(dir, &mut |path, meta| {
        if meta.is_dir() || meta.file_type().is_socket() {
            return;
        }
        let Ok(bytes) = fs::read(path) else { return };
        if bytes.windows(PERSON.len()).any(|w| w == PERSON.as_bytes()) {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn nothing_of_a_delivery_is_on_either_disk_and_a_purge_takes_all() {
    // The programs must not rely on it. Other stories look at no permissions.
    rustix::process::umask(rustix::fs::Mode::empty());
    let stage = Stage::new();
    let (_, relay_key) = key(&stage, "relay.key", 10);
    let (_, agent_key) = key(&stage, "agent.key", 60);
    let (exposed, new_key) = key(&stage, "new.key", 110);
    let handler = Handler::start();
    let mut relay = stage.relay().with_arguments(&["--data-key-file", &relay_key]);
    let token = relay.add_tunnel(TUNNEL, AnswerMode::Ack);
    relay.start();
    let agent = stage.agent("agent").relay(&relay.url(), &token).target(&handler.url()).secret(SECRET);
    let agent = agent.with(&["--store-key-file", &agent_key]);
    let mut world = World { agent, relay, handler, token, stage };
    let body = |n: u32| format!("{{\"name\":\"{PERSON}\",\"n\":{n}}}").into_bytes();

    world.agent.start();
    for n in 0..3 {
        world.accepted("/hook", &body(n));
    }
    world.handler.wait_for(3);
    for data in [world.agent.data(), world.relay.data()] {
        assert_eq!(open_to_others(data), Vec::<String>::new());
        assert_eq!(naming(data), Vec::<PathBuf>::new());
    }
    let addresses = fs::read_to_string(world.relay.data().join("addresses.json")).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&addresses).unwrap();
    // Other systems show no process's limits.
    if cfg!(target_os = "linux") {
        let limits = fs::read_to_string(format!("/proc/{}/limits", addresses["pid"])).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }

    // Nor is there what somebody looked for in them.
    world.agent.run(&["events", "export", &format!("text:\"{PERSON}\"")]).ok();
    assert_eq!(naming(world.agent.data()), Vec::<PathBuf>::new());

    // What waits for an agent that is away lies in the spool.
    assert!(world.agent.terminate().success());
    for n in 3..5 {
        world.accepted("/hook", &body(n));
    }
    for data in [world.agent.data(), world.relay.data()] {
        assert_eq!(open_to_others(data), Vec::<String>::new());
        assert_eq!(naming(data), Vec::<PathBuf>::new());
    }
    world.relay.terminate();
    let without = world.relay.run(&["tunnel", "devices"]).exits(2).err();
    assert!(without.contains("no key was given"), "{without}");
    let with = world.relay.run(&["tunnel", "devices", "--data-key-file", &relay_key]).ok().out();
    assert!(with.contains("2 waiting"), "{with}");
    world.relay.run(&["spool", "rekey", "--data-key-file", &relay_key, "--new-data-key-file", &relay_key]).ok();
    let asked = world.relay.run(&["tunnel", "purge", TUNNEL, "--data-key-file", &relay_key]).exits(2).err();
    assert!(asked.contains("2 deliveries") && asked.contains("--yes"), "{asked}");
    let purged = world.relay.run(&["tunnel", "purge", TUNNEL, "--yes", "--data-key-file", &relay_key]).ok().err();
    assert!(purged.contains("2 that waited are gone"), "{purged}");
    let audited = world.relay.run(&["audit", "--json"]).ok().out();
    assert!(audited.contains("purged") && audited.contains("2 that waited"), "{audited}");

    world.relay.listen_at("127.0.0.1:0");
    world.relay.start();
    let url = world.relay.url();
    world.agent.change("--relay", &url);
    world.agent.start();
    let gap = world.agent.wait_line("gap");
    assert_eq!((&gap["count"], &gap["reason"]), (&2.into(), &"removed".into()), "{gap}");
    world.accepted("/hook", &body(5));
    world.handler.wait_for(4);
    world.relay.run(&["tunnel", "purge", TUNNEL, "--yes"]).ok();

    // Beside the running agent, which has the key.
    let purged = world.agent.run(&["purge", "--tunnel", TUNNEL, "--yes", "--json"]).ok().json();
    assert_eq!(purged["removed"], 4, "{purged}");
    assert_eq!(world.agent.events(&[]), Vec::<serde_json::Value>::new());
    let audited = world.agent.run(&["events", "audit", "--json"]).ok().json_lines();
    let last = audited.last().expect("the purge is noted");
    assert_eq!((&last["what"], &last["by"], &last["removed"]), (&"purged".into(), &"api".into(), &4.into()), "{last}");

    let rekey = ["store", "rekey", "--store-key-file", &agent_key, "--new-key-file", &new_key];
    let held = world.agent.run(&rekey).exits(2).err();
    assert!(held.contains("running agent"), "{held}");
    assert!(world.agent.terminate().success());
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = world.agent.run(&rekey).exits(2).err();
    assert!(refused.contains("can be read by others"), "{refused}");
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o600)).unwrap();
    world.agent.run(&rekey).ok();
    let old = world.agent.run(&["events", "list", "--store-key-file", &agent_key]).exits(2).err();
    assert!(old.contains("the one given is"), "{old}");
    world.agent.run(&["events", "list", "--store-key-file", &new_key]).ok();
    let compacted = world.agent.run(&["store", "compact", "--store-key-file", &new_key]).ok();
    drop(compacted);
    world.agent.run(&["store", "check", "--store-key-file", &new_key]).ok();
    assert_eq!(open_to_others(world.agent.data()), Vec::<String>::new());
}
