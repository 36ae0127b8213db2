//! Stories of backups that are whole, and of those that are not.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tunnel_spool::{CopySink, Limits, RedbSpool, Spool as _};

use super::*;
use crate::registry::{AnswerMode, Registry, TunnelSettings};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// A data folder as a relay leaves it, without deliveries.
fn folder(dir: &Path) {
    let registry = Registry::open(dir).unwrap();
    registry.add_tunnel("team".parse().unwrap(), TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
    fs::create_dir_all(dir.join("acme/0123")).unwrap();
    fs::write(dir.join("acme/0123/certificate.pem"), "PEM").unwrap();
    fs::write(dir.join("audit.jsonl"), "{}\n").unwrap();
    fs::create_dir_all(dir.join("spool")).unwrap();
    fs::create_dir_all(dir.join(UNFINISHED)).unwrap();
    for left_out in
        ["addresses.json", "spool/stream-id", "registry.json.new", "spool/spool.redb.new-7", "restore.part/audit.jsonl"]
    {
        fs::write(dir.join(left_out), "no").unwrap();
    }
    drop(RedbSpool::open(&dir.join("spool"), Limits::default()).unwrap());
}

/// A whole backup of such a folder.
fn made(dir: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    let spool = dir.join("spool");
    write(dir, &mut |sink: &mut dyn CopySink| tunnel_spool::copy_closed(&spool, sink), NOW, &mut tar).unwrap();
    tar
}

fn packed(tar: &[u8]) -> Vec<u8> {
    zstd::encode_all(tar, 1).unwrap()
}

/// The names and contents of an archive's entries.
fn entries(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        all.push((entry.path().unwrap().display().to_string(), bytes));
    }
    all
}

/// An archive of these entries.
fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        // By hand: the library refuses names that lead elsewhere.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The same with a manifest that says what is in it.
fn listed(mut entries: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    use sha2::Digest as _;
    entries.retain(|(name, _)| name != MANIFEST);
    let list = entries.iter().map(|(name, bytes)| Listed {
        name: name.clone(),
        bytes: bytes.len() as u64,
        sha256: hex(&sha2::Sha256::digest(bytes)),
    });
    let manifest = Manifest { entries: list.collect(), deliveries: 0 };
    entries.push((MANIFEST.to_owned(), serde_json::to_vec(&manifest).unwrap()));
    archive(&entries)
}

#[test]
fn what_is_restored_is_what_there_was_and_nobody_else_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    folder(&one);
    let backup = packed(&made(&one));
    let held = restore(&backup[..], &two).unwrap();
    assert_eq!(verify(&backup[..]).unwrap(), held);
    assert_eq!((held.files, held.made_at), (3, NOW));
    assert_eq!(fs::read(two.join("acme/0123/certificate.pem")).unwrap(), b"PEM");
    assert_eq!(*Registry::open(&two).unwrap().snapshot(), *Registry::open(&one).unwrap().snapshot());
    let mut names: Vec<_> = fs::read_dir(&two).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["acme", "audit.jsonl", "registry.json", "spool"]);
    for (path, mode) in [
        ("", 0o700),
        ("acme/0123", 0o700),
        ("spool", 0o700),
        ("registry.json", 0o600),
        ("acme/0123/certificate.pem", 0o600),
        ("spool/spool.redb", 0o600),
    ] {
        assert_eq!(fs::metadata(two.join(path)).unwrap().mode() & 0o777, mode, "{path}");
    }
    let spool = RedbSpool::open(&two.join("spool"), Limits::default()).unwrap();
    assert_eq!(spool.last(&"team".parse().unwrap()).0, 0);
    let again = restore(&backup[..], &two).unwrap_err().to_string();
    assert!(again.contains("is not empty"), "{again}");
}

#[test]
fn a_restore_that_broke_off_is_done_again_and_no_relay_starts_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    folder(&one);
    let tar = made(&one);
    let cut = packed(&tar[..tar.len() / 2]);
    assert!(restore(&cut[..], &two).is_err());
    let config = crate::config::Config::loopback(two.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(crate::relay::Relay::start(config)).err().unwrap().to_string();
    assert!(refused.contains("a restore broke off"), "{refused}");
    restore(&packed(&tar)[..], &two).unwrap();
    assert!(!two.join(UNFINISHED).exists());
}

#[test]
fn whatever_is_cut_or_changed_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path());
    let tar = made(dir.path());
    let whole = packed(&tar);
    verify(&whole[..]).unwrap();
    for end in 0..whole.len() {
        assert!(verify(&whole[..end]).is_err(), "cut at {end}");
    }
    // Cut before it was compressed, where entries end: no error of the stream, only of what it says.
    for end in (0..tar.len() - 1024).step_by(512) {
        assert!(verify(&packed(&tar[..end])[..]).is_err(), "cut at {end}");
    }
    let all = entries(&tar);
    for (at, (name, bytes)) in all.iter().enumerate() {
        let mut less = all.clone();
        less.remove(at);
        assert!(verify(&packed(&archive(&less))[..]).is_err(), "without {name}");
        if !bytes.is_empty() {
            let mut other = all.clone();
            let middle = bytes.len() / 2;
            other[at].1[middle] ^= 1;
            assert!(verify(&packed(&archive(&other))[..]).is_err(), "{name} is another");
        }
    }
    let mut broken = all;
    broken.pop();
    broken.push((BROKEN.to_owned(), b"the disk is full".to_vec()));
    assert!(verify(&packed(&archive(&broken))[..]).unwrap_err().to_string().contains("the disk is full"));
    assert!(verify(&b"hello, this is no backup"[..]).unwrap_err().to_string().contains("not compressed"));
}

#[test]
fn a_hostile_archive_writes_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    folder(&one);
    let all = entries(&made(&one));
    let try_it = |tar: &[u8]| {
        let into = dir.path().join("into");
        let refused = restore(&packed(tar)[..], &into).err().map(|e| e.to_string());
        let _ = fs::remove_dir_all(&into);
        refused
    };
    assert_eq!(try_it(&listed(all.clone())), None, "as it is made here, it is taken");
    for name in [
        "data/../../evil",
        "data//evil",
        "/evil",
        "../evil",
        "data/spool/spool.redb",
        "data/restore.part/x",
        "evil",
        "data/registry.json",
        "spool/00000009",
    ] {
        let mut more = all.clone();
        more.insert(2, (name.to_owned(), b"x".to_vec()));
        assert!(try_it(&listed(more)).is_some(), "{name}");
    }
    let mut later = all.clone();
    let part = later.iter_mut().find(|(name, _)| name == "spool/00000001").expect("a part of the spool");
    part.0 = "spool/00000002".to_owned();
    assert!(try_it(&listed(later)).unwrap().contains("not the spool's next part"));
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Directory,
        tar::EntryType::GNULongName,
        tar::EntryType::Fifo,
    ] {
        let mut tar = archive(&all[..1]);
        tar.truncate(tar.len() - 1024);
        let mut builder = tar::Builder::new(tar);
        let mut header = tar::Header::new_ustar();
        header.set_path("data/evil").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
        let told = try_it(&builder.into_inner().unwrap()).unwrap();
        assert!(told.contains("no plain file"), "{kind:?}: {told}");
    }
    // A header that promises what nobody has.
    let mut tar = archive(&all[..1]);
    tar.truncate(tar.len() - 1024);
    let mut header = tar::Header::new_ustar();
    header.set_path("data/large").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    tar.write_all(header.as_bytes()).unwrap();
    assert!(try_it(&tar).unwrap().contains("and may have"));
    assert!(!dir.path().join("evil").exists());
}
