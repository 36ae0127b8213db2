//! A damaged store is told, at once or when what is damaged is read.

mod sample;

use std::path::Path;
use std::time::Duration;

use tunnel_archive::{Archive, ArchiveError};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// It never panics, hangs, or passes something else off as what was
/// stored.
#[tokio::test]
async fn a_damaged_store_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let archive = Archive::open(&whole, sample::small()).unwrap();
    for n in 0..200 {
        archive.insert(sample::intake(n)).await.unwrap();
    }
    archive.close().await.unwrap();
    let len = std::fs::metadata(whole.join("store/db")).unwrap().len();
    let mut dice = sample::Dice(7);
    let mut told = 0;
    for case in 0..16 {
        let damaged = dir.path().join(format!("damaged{case}"));
        copy(&whole, &damaged);
        let db = std::fs::File::options().write(true).open(damaged.join("store/db")).unwrap();
        if case % 4 == 0 {
            db.set_len(dice.below(len)).unwrap();
        } else {
            use std::os::unix::fs::FileExt as _;
            db.write_all_at(&dice.bytes(8192), dice.below(len)).unwrap();
        }
        drop(db);
        let (done, outcome) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let read = || -> Result<(), ArchiveError> {
                let archive = Archive::open(&damaged, sample::small())?;
                for n in 0..200 {
                    let stored = archive.get(sample::id_of(n))?;
                    assert!(
                        stored.is_some_and(|s| s.delivery == *sample::intake(n).delivery),
                        "case {case}: {n} is wrong"
                    );
                }
                Ok(())
            };
            let _ = done.send(read());
        });
        match outcome.recv_timeout(Duration::from_secs(60)) {
            Ok(Ok(())) => {} // Where nothing was stored, or not any more.
            Ok(Err(error)) => {
                told += 1;
                assert!(matches!(error, ArchiveError::Damaged { .. }), "case {case}: {error}");
            }
            Err(error) => panic!("case {case}: {error}"),
        }
    }
    assert!(told >= 4, "only {told} of 16 were told: does the test damage anything?");
}
