//! The device's own keys beside a store with a key and without one, and what commands do not do with them.

#[path = "stage/ran.rs"]
mod ran;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ran::Ran;
use tunnel_archive::{Archive, Options};
use tunnel_vault::{Entropy, KeySource, UserKey};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A key for stores, in a file of that name.
    fn key(&self, name: &str) -> String {
        let key = UserKey::new(Entropy::system()).unwrap();
        drop(tunnel_vault::write_private(&self.at(name), key.text().as_bytes()).unwrap());
        self.at(name).to_str().unwrap().to_owned()
    }

    /// Makes a store in the data folder.
    async fn store(&self, key: Option<&str>) {
        let dir = self.at("data/archive");
        tunnel_vault::private_folder(&dir).unwrap();
        let key = key.map(|file| KeySource::File(file.into()).read().unwrap());
        Archive::open(&dir, Options { key, ..Options::default() }).unwrap().close().await.unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_healthie-tunnel"));
        command.env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.args(arguments).args(["--data", "data"]);
        Ran(command.output().unwrap(), arguments.join(" "))
    }

    fn device_keys(&self) -> String {
        std::fs::read_to_string(self.at("data/device.keys")).unwrap()
    }

    /// The first key that is shown.
    #[track_caller]
    fn shown(&self, key: &[&str]) -> String {
        let shown = self.run(&[&["key", "show"], key].concat()).exits(0).out();
        shown.split_whitespace().next().unwrap().to_owned()
    }
}

const PLAIN: &str = "healthie-tunnel-key-1";
const LOCKED: &str = "healthie-tunnel-locked-keys-1";

#[tokio::test]
async fn the_device_s_keys_go_where_the_store_s_key_goes() {
    let folder = Folder::new();
    folder.run(&["key", "new"]).exits(0);
    assert!(folder.device_keys().contains(PLAIN));
    let first = folder.shown(&[]);
    let (old, new) = (folder.key("old.key"), folder.key("new.key"));
    let (with_old, with_new) = (["--store-key-file", &old], ["--store-key-file", &new]);
    folder.store(Some(&old)).await;
    // What was there before the store had a key opens without it, and is not written beside an encrypted store.
    assert_eq!(folder.shown(&[]), first);
    folder.run(&["key", "new"]).exits(2).says("no key was given");
    folder.run(&[&["key", "new"][..], &with_new].concat()).exits(2).says("and the one given is");
    folder.run(&[&["key", "new"][..], &with_old].concat()).exits(0);
    let second = folder.shown(&with_old);
    assert!(second != first && folder.device_keys().contains(LOCKED) && !folder.device_keys().contains(PLAIN));
    folder.run(&["key", "show"]).exits(2).says("--store-key-keyring");

    let rekeyed = folder.run(&[&["store", "rekey", "--new-key-file", &new][..], &with_old].concat()).exits(0).err();
    assert!(rekeyed.contains(&format!("store compact --data data --store-key-file {new}")), "{rekeyed}");
    assert_eq!(folder.shown(&with_new), second);
    folder.run(&[&["key", "show"][..], &with_old].concat()).exits(2).says("is encrypted with the key");
    // One that fails leaves them as the store is.
    folder
        .run(&[&["store", "rekey", "--new-key-file", &old][..], &with_old].concat())
        .exits(2)
        .says("encrypted with the key");
    assert_eq!(folder.shown(&with_new), second);
    // A copy is for whoever has it, and can be had again on another machine.
    folder.run(&[&["key", "export", "copy.keys"][..], &with_new].concat()).exits(0);
    assert!(std::fs::read_to_string(folder.at("copy.keys")).unwrap().contains(PLAIN));

    let off = folder.run(&[&["store", "rekey", "--off"][..], &with_new].concat()).exits(0).err();
    assert!(off.contains(&format!("`healthie-tunnel store compact --data data --store-key-file {new}`")), "{off}");
    assert!(folder.device_keys().contains(PLAIN));
    assert_eq!(folder.shown(&[]), second);
    // With another key nothing would be encrypted either.
    folder.run(&[&["store", "rekey", "--new-key-file", &old][..], &with_new].concat()).exits(2).says("rekey --on");
    folder.run(&[&["store", "rekey", "--on"][..], &with_new].concat()).exits(0);
    assert!(!folder.device_keys().contains(PLAIN));
    assert_eq!(folder.shown(&with_new), second);
}

/// What is said to have been done was: a line is written once what can be seen to fail was refused.
#[tokio::test]
async fn the_audit_log_notes_no_change_of_keys_that_was_refused() {
    let folder = Folder::new();
    let (old, other) = (folder.key("old.key"), folder.key("other.key"));
    let changes = [&["--new-key-file", &other][..], &["--new-key-command", "cat other.key"], &["--off"], &["--on"]];
    let rekey = |change: &[&str], key: &[&str]| folder.run(&[&["store", "rekey"], change, key].concat());
    folder.store(None).await;
    folder.run(&["key", "new"]).exits(0);
    let before = std::fs::read_to_string(folder.at("data/audit.jsonl")).unwrap();
    for change in changes {
        rekey(change, &[]).exits(2).says("is not encrypted");
        rekey(change, &["--store-key-file", &old]).exits(2).says("is not encrypted");
    }
    folder.store(Some(&old)).await;
    for change in changes {
        rekey(change, &[]).exits(2).says("no key was given");
        rekey(change, &["--store-key-file", &other]).exits(2).says("and the one given is");
    }
    folder.run(&["key", "export", "old.key", "--store-key-file", &old]).exits(2).says("is there already");
    folder.run(&["key", "export", "no/such", "--store-key-file", &old]).exits(3).says("cannot be written");
    assert_eq!(std::fs::read_to_string(folder.at("data/audit.jsonl")).unwrap(), before);
    // What no look could tell is told behind the line.
    std::fs::write(folder.at("data/device.keys"), "half a key").unwrap();
    rekey(changes[0], &["--store-key-file", &old]).exits(3).says("device's keys");
    let lines = audit_lines(&folder);
    let [.., done, failed] = &lines[..] else { panic!("{lines:?}") };
    assert!(done["failed"].is_null() && failed["failed"].as_str().unwrap().contains("device's keys"), "{lines:?}");
}

fn audit_lines(folder: &Folder) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.at("data/audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn turned_off_and_written_anew_the_folder_has_no_key_and_takes_any() {
    let folder = Folder::new();
    let (old, new) = (folder.key("old.key"), folder.key("new.key"));
    let (with_old, with_new) = (["--store-key-file", &old], ["--store-key-file", &new]);
    folder.store(Some(&old)).await;
    folder.run(&[&["store", "rekey", "--off"][..], &with_old].concat()).exits(0);
    folder.run(&[&["store", "compact"][..], &with_old].concat()).exits(0);
    let rekey = ["store", "rekey", "--new-key-file", &new];
    for key in [&[][..], &with_old, &with_new] {
        folder.run(&[&["events", "list"][..], key].concat()).exits(0);
        folder.run(&[&rekey[..], key].concat()).exits(2).says("is not encrypted");
    }
    folder.run(&[&["store", "rekey", "--on"][..], &with_new].concat()).exits(2).says("is not encrypted");
    // As `listen` opens it.
    folder.store(Some(&new)).await;
    folder.run(&[&["events", "list"][..], &with_old].concat()).exits(2).says("and the one given is");
    folder.run(&[&["events", "list"][..], &with_new].concat()).exits(0);
}

#[tokio::test]
async fn that_a_store_is_encrypted_from_now_on_is_told_and_noted_once() {
    let folder = Folder::new();
    folder.store(None).await;
    let file = folder.key("a.key");
    let id = KeySource::File(file.clone().into()).read().unwrap().id().to_string();
    // Turned away, so that the agent ends.
    let relay = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", relay.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut conn, _)) = relay.accept() {
            let _ = std::io::Read::read(&mut conn, &mut [0; 2000]);
            let _ = std::io::Write::write_all(&mut conn, b"HTTP/1.1 401 no\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let listen = ["listen", "--relay", &url, "--token", "t", "--no-forward", "--ui", "json"];
    let with_key = [&listen[..], &["--store-key-file", &file]].concat();
    let told = |arguments: &[&str]| {
        let out = folder.run(arguments).exits(1).out();
        out.lines().filter(|line| line.contains("warning") && line.contains("is encrypted with the key")).count()
    };
    assert_eq!(told(&listen), 0);
    let out = folder.run(&with_key).exits(1).out();
    assert!(
        out.contains("was not encrypted: what comes from now on is encrypted with the key") && out.contains(&id),
        "{out}"
    );
    assert_eq!(told(&with_key), 0, "it is told once");
    let noted = || audit_lines(&folder).into_iter().filter(|line| line["what"] == "store-rekeyed").collect::<Vec<_>>();
    assert_eq!(noted().len(), 1, "{:?}", noted());
    let line = &noted()[0];
    let parts = (&line["to"], &line["key"], &line["by"], &line["failed"]);
    let expected = ["encryption on", &id, "agent"].map(serde_json::Value::from);
    assert_eq!(parts, (&expected[0], &expected[1], &expected[2], &serde_json::Value::Null));

    // One that begins with a key was never anything else.
    std::fs::rename(folder.at("data"), folder.at("away")).unwrap();
    assert_eq!(told(&with_key), 0);
    assert!(!folder.at("data/audit.jsonl").exists());
}

/// The archive was moved away, and nobody said that the device's keys have to go too.
#[tokio::test]
async fn a_lost_key_is_told_with_what_has_to_go_and_no_store_is_made_beside_it() {
    let folder = Folder::new();
    let (old, new) = (folder.key("old.key"), folder.key("new.key"));
    folder.store(Some(&old)).await;
    folder.run(&["key", "new", "--store-key-file", &old]).exits(0);
    let listen = ["listen", "--relay", "http://127.0.0.1:9", "--token", "t", "--no-forward", "--ui", "json"];
    let told = |ran: Ran, key: &str| ran.exits(2).says("move `archive` and `device.keys` in data away").says(key);
    told(folder.run(&listen), "data/archive");
    std::fs::rename(folder.at("data/archive"), folder.at("away")).unwrap();
    for key in [&[][..], &["--store-key-file", &new]] {
        let said = told(folder.run(&[&listen[..], key].concat()), "data/device.keys").err();
        assert!(!said.contains("the archive"), "{said}");
        assert!(!folder.at("data/archive").exists(), "the failed start left a store");
    }
}

/// As an earlier version left them: plain, beside a store with a key.
#[tokio::test]
async fn a_key_that_the_store_does_not_get_locks_nothing() {
    let folder = Folder::new();
    folder.run(&["key", "new"]).exits(0);
    let (old, new, other) = (folder.key("old.key"), folder.key("new.key"), folder.key("other.key"));
    folder.store(Some(&old)).await;
    let before = folder.device_keys();
    let rekey = ["store", "rekey", "--new-key-file", &new];
    folder.run(&rekey).exits(2).says("no key was given");
    folder.run(&[&rekey[..], &["--store-key-file", &other]].concat()).exits(2).says("and the one given is");
    assert_eq!(folder.device_keys(), before);
}

#[tokio::test]
async fn of_two_that_change_the_key_at_once_one_does_it_and_nothing_is_locked_away() {
    let folder = Folder::new();
    let old = folder.key("old.key");
    folder.store(Some(&old)).await;
    folder.run(&["key", "new", "--store-key-file", &old]).exits(0);
    let first = folder.shown(&["--store-key-file", &old]);
    let new = ["a", "b", "c", "d"].map(|name| folder.key(name));
    let done: Vec<bool> = std::thread::scope(|scope| {
        let all = new.each_ref().map(|new| {
            let (folder, old) = (&folder, &old);
            scope.spawn(move || {
                let rekey = ["store", "rekey", "--new-key-file", new, "--store-key-file", old];
                folder.run(&rekey).0.status.success()
            })
        });
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let [now] = new.iter().zip(done).filter_map(|(key, done)| done.then_some(key)).collect::<Vec<_>>()[..] else {
        panic!("not one of them");
    };
    assert_eq!(folder.shown(&["--store-key-file", now]), first);
}

#[tokio::test]
async fn a_command_that_reads_leaves_the_store_as_it_is() {
    let folder = Folder::new();
    folder.store(None).await;
    let key = folder.key("key");
    for command in [&["events", "list"][..], &["store", "check"], &["store", "compact"]] {
        let said = folder.run(&[command, &["--store-key-file", &key]].concat()).exits(0).err();
        assert!(said.contains("the store is not encrypted: it stays as it is"), "{command:?}: {said}");
        assert!(!folder.at("data/archive/keys.json").exists(), "{command:?}");
        folder.run(command).exits(0);
    }
    folder.run(&["store", "rekey", "--new-key-file", &key]).exits(2).says("is not encrypted");
}

/// Whoever gives a file that `listen` would refuse is told so by whatever he runs first, and not when it matters.
#[tokio::test]
async fn a_key_s_file_that_cannot_be_used_is_told_alike_by_all() {
    let folder = Folder::new();
    folder.store(None).await;
    let open = folder.key("open");
    std::fs::set_permissions(folder.at("open"), std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(tunnel_vault::write_private(&folder.at("garbled"), b"no key").unwrap());
    let garbled = folder.at("garbled").to_str().unwrap().to_owned();
    let listen = ["listen", "--relay", "http://127.0.0.1:9", "--token", "t", "--no-forward", "--ui", "log"];
    for file in [&open, &garbled] {
        let said = |command: &[&str]| {
            let ran = folder.run(&[command, &["--store-key-file", file]].concat());
            let code = ran.0.status.code();
            (code, ran.err().lines().find(|line| line.contains(&**file)).map(str::to_owned))
        };
        let wanted = said(&listen);
        assert!(wanted.1.is_some(), "{wanted:?}");
        for command in [&["events", "list"][..], &["events", "show", "latest"], &["store", "check"], &["status"]] {
            assert_eq!(said(command), wanted, "{command:?}");
        }
    }
    // Nothing needs the key: whoever only looks does without a file that is gone, and waits at no pipe.
    let pipe = folder.at("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for file in [folder.at("gone"), pipe] {
        folder.run(&["events", "list", "--store-key-file", file.to_str().unwrap()]).exits(0);
    }
    // A command is not run for a key that nothing needs.
    folder.run(&["events", "list", "--store-key-command", "touch ran; exit 1"]).exits(0);
    assert!(!folder.at("ran").exists());
}

#[test]
fn a_folder_that_is_not_there_is_not_made_by_looking() {
    let folder = Folder::new();
    for command in [&["key", "show"][..], &["key", "export", "copy"]] {
        folder.run(command).exits(2).says("does not exist");
    }
    folder.run(&["key", "open"]).exits(2).says("nothing is stored");
    assert!(!folder.at("data").exists() && !folder.at("copy").exists());
}

#[test]
fn keys_that_lay_open_to_others_are_not_taken() {
    let folder = Folder::new();
    folder.run(&["key", "new"]).exits(0);
    folder.run(&["key", "export", "copy"]).exits(0);
    std::fs::remove_file(folder.at("data/device.keys")).unwrap();
    let mode = |mode| std::fs::set_permissions(folder.at("copy"), std::fs::Permissions::from_mode(mode)).unwrap();
    for open in [0o644, 0o640, 0o604] {
        mode(open);
        folder.run(&["key", "import", "copy"]).exits(2).says("chmod 600");
    }
    assert!(!folder.at("data/device.keys").exists());
    mode(0o600);
    folder.run(&["key", "import", "copy"]).exits(0);
    // A file as it lies beside a store with a key is none that can be imported.
    let locked: &Path = &folder.at("locked");
    drop(tunnel_vault::write_private(locked, format!("{LOCKED} 01020304 AAAA\n").as_bytes()).unwrap());
    folder.run(&["key", "import", "locked"]).exits(2).says("key export");
}

#[test]
fn a_new_key_is_put_into_a_file_of_one_s_own() {
    let folder = Folder::new();
    let run = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_healthie-tunnel"));
        command.env_clear().current_dir(folder.0.path()).args(["store", "new-key", "--file", name]);
        Ran(command.output().unwrap(), format!("store new-key --file {name}"))
    };
    let said = run("a key").exits(0).err();
    assert!(said.contains("--store-key-file 'a key'"), "{said}");
    KeySource::File(folder.at("a key")).read().unwrap();
    run("a key").exits(2).says("is there already");
}
