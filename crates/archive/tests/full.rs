//! A full disk: writes are refused in time, reads go on, and so do writes once there is room. Needs root for a small file system of its
//! own; where that is missing the test says so and passes.

mod sample;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tunnel_archive::{Archive, ArchiveError, Inserted};

struct Mount(PathBuf);

impl Mount {
    /// A file system of 40 MiB, where that can be had.
    fn small(at: PathBuf) -> Option<Mount> {
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "none"]).arg(&at).output();
        if mounted.is_ok_and(|m| m.status.success()) {
            return Some(Mount(at));
        }
        let mut err = std::io::stderr();
        writeln!(err, "skipped: a tmpfs cannot be mounted here").unwrap();
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::small(dir.path().join("small")) else { return };
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

/// A copy needs room beside the original: where there is not enough it is refused or given up, and everything else goes on.
#[tokio::test]
async fn a_disk_that_is_full_for_a_copy_keeps_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::small(dir.path().join("small")) else { return };
    let path = mount.0.join("archive");
    let archive = Archive::open(&path, sample::small()).unwrap();
    let mut stored = 0;
    while archive.stats().disk_bytes < 10 << 20 {
        let mut intake = sample::intake(stored);
        let delivery = Arc::make_mut(&mut intake.delivery);
        delivery.body = sample::Dice(stored).bytes(20_000).into();
        intake.body_sha256 = sample::sha256(&delivery.body);
        archive.insert(intake).await.unwrap();
        stored += 1;
    }
    // From no room at all to nearly enough: refused at once, or given up on the way.
    let mut refused = 0;
    for free in [5, 8, 11, 14, 17] {
        let ballast = mount.0.join("ballast");
        let stat = rustix::fs::statvfs(&mount.0).unwrap();
        let fill = (stat.f_bavail * stat.f_frsize).saturating_sub(free << 20);
        std::fs::write(&ballast, vec![1; usize::try_from(fill).unwrap()]).unwrap();
        match archive.compact().await {
            Ok(_) => {}
            Err(ArchiveError::DiskFull { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        for n in 0..stored {
            assert!(archive.get(sample::id_of(n)).unwrap().is_some(), "{n}");
        }
        // Nothing of a copy stays.
        let stores = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name());
        assert!(stores.filter(|n| n.to_string_lossy().starts_with("store")).count() <= 2);
        std::fs::remove_file(&ballast).unwrap();
        archive.insert(sample::intake(stored)).await.unwrap();
        stored += 1;
    }
    assert!(refused >= 2, "{refused}");
    archive.compact().await.unwrap();
    archive.close().await.unwrap();
    let archive = Archive::open(&path, sample::small()).unwrap();
    assert_eq!(archive.stats().deliveries, stored);
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
}
