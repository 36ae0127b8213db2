//! A full disk: writes are refused in time, reads go on, and so do writes once there is room. Needs root for a small file system of its
//! own; where that is missing the test says so and passes.

#[path = "sample/damage.rs"]
#[allow(dead_code)] // Only its copying.
mod damage;
mod sample;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

impl Mount {
    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes room away until so much is left.
    fn fill(&self, left: u64) {
        std::fs::write(self.0.join("ballast"), vec![1; usize::try_from(self.free().saturating_sub(left)).unwrap()])
            .unwrap();
    }

    /// Gives it back. A process that another test is just starting may have the file open for a moment more.
    fn clear(&self) {
        let ballast = self.0.join("ballast");
        let wanted = self.free() + std::fs::metadata(&ballast).unwrap().len() / 2;
        std::fs::remove_file(&ballast).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.free() < wanted && Instant::now() < deadline {
            std::thread::yield_now();
        }
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
    mount.fill(mount.free() - (16 << 20));
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
    mount.clear();
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
    // With its copy it leaves half of the disk, which is more than a copy keeps free.
    while archive.stats().disk_bytes < 8 << 20 {
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
        mount.fill(free << 20);
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
        mount.clear();
        archive.insert(sample::intake(stored)).await.unwrap();
        stored += 1;
    }
    assert!(refused >= 2, "{refused}");
    // Where the last one came to its end, the store from before it may still be on its way out, and takes room.
    let left_over = || {
        let names = std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|n| n.to_string_lossy().starts_with("store")).count() > 1
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while left_over() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    archive.compact().await.unwrap();
    archive.close().await.unwrap();
    let archive = Archive::open(&path, sample::small()).unwrap();
    assert_eq!(archive.stats().deliveries, stored);
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
}

/// What is saved of a damaged store needs room too; the engine would hang without. Nor does looking at a store write to a full disk.
#[tokio::test]
async fn a_disk_that_is_full_for_a_repair_or_a_check_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::small(dir.path().join("small")) else { return };
    // It is made where there is room.
    let made = dir.path().join("made");
    let archive = Archive::open(&made, sample::small()).unwrap();
    let mut intake = sample::intake(1);
    let delivery = Arc::make_mut(&mut intake.delivery);
    delivery.body = sample::Dice(1).bytes(9 << 20).into();
    intake.body_sha256 = sample::sha256(&delivery.body);
    archive.insert(intake).await.unwrap();
    archive.close().await.unwrap();
    std::fs::remove_file(made.join("reserve")).unwrap();
    let path = mount.0.join("archive");
    damage::copy(&made, &path);
    let within = |work: Box<dyn FnOnce() -> ArchiveError + Send>| {
        let (told, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(work()));
        heard.recv_timeout(Duration::from_secs(60)).expect("it hangs")
    };
    for (left, repairs) in [(16 << 20, true), (11 << 20, true), (1 << 20, false)] {
        mount.fill(left);
        let path = path.clone();
        let error = within(Box::new(move || match repairs {
            true => tunnel_archive::repair(&path, None, |_| ()).unwrap_err(),
            false => tunnel_archive::check(&path, None, |_| ()).unwrap_err(),
        }));
        assert!(matches!(error, ArchiveError::DiskFull { .. }), "{left}: {error}");
        mount.clear();
    }
    let archive = Archive::open(&path, sample::small()).unwrap();
    assert_eq!(archive.get(sample::id_of(1)).unwrap().unwrap().delivery.body.len(), 9 << 20);
}
