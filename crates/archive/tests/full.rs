//! A full disk: writes are refused in time, reads go on, and so do writes once there is room. Needs root for a small file system of its
//! own; where that is missing the test says so and passes.

mod sample;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tunnel_archive::{Archive, ArchiveError, Inserted};

struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("small");
    std::fs::create_dir(&at).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "none"]).arg(&at).output();
    if !mounted.is_ok_and(|m| m.status.success()) {
        writeln!(std::io::stderr(), "skipped: a tmpfs cannot be mounted here").unwrap();
        return;
    }
    let mount = Mount(at);
    std::fs::write(mount.0.join("ballast"), vec![1; 16 << 20]).unwrap();
    let archive = Archive::open(&mount.0.join("archive"), sample::small()).unwrap();
    let mut stored = 0;
    let refused = loop {
        let mut intake = sample::intake(stored);
        Arc::make_mut(&mut intake.delivery).body = sample::Dice(stored).bytes(50_000).into();
        match archive.insert(intake).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 2000, "40 MiB hold more than 100 MB");
    };
    assert!(matches!(refused, ArchiveError::DiskFull { .. }), "{refused}");
    assert!(stored > 20, "refused after {stored}");
    for n in 0..stored {
        assert!(archive.get(sample::id_of(n)).unwrap().is_some(), "{n}");
    }
    std::fs::remove_file(mount.0.join("ballast")).unwrap();
    let after = archive.insert(sample::intake(1_000_000)).await.unwrap();
    assert!(matches!(after, Inserted::New { .. }));
    archive.close().await.unwrap();
    let archive = Archive::open(&mount.0.join("archive"), sample::small()).unwrap();
    assert_eq!(archive.stats().deliveries, stored + 1);
}
