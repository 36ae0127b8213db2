//! A damaged store is told, at once or when what is damaged is read.

#[path = "sample/damage.rs"]
mod damage;
mod sample;

use std::time::Duration;

use damage::{copy, hit};
use tunnel_archive::{Archive, ArchiveError};

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
    let mut told = 0;
    for case in 0..16 {
        let damaged = dir.path().join(format!("damaged{case}"));
        copy(&whole, &damaged);
        hit(&damaged, case);
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
