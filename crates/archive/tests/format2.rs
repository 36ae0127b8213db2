//! A store of format 2, as the program wrote it then, is taken as it is: it gets the new number when it is opened and its sketches later.
//!
//! `sample/format2.bin` is the folder of such an archive with the first forty deliveries of `sample` whose bodies are shorter than 600 bytes.

mod sample;

use std::time::Duration;

use sample::packed::unpack;
use tunnel_archive::{Archive, ArchiveError, Query};
use tunnel_testkit::within;

const FORMAT_2: &[u8] = include_bytes!("sample/format2.bin");

fn numbers() -> impl Iterator<Item = u64> {
    (0..).filter(|n| sample::intake(*n).delivery.body.len() < 600).take(40)
}

fn check(archive: &Archive) {
    for n in numbers() {
        let stored = archive.get(sample::id_of(n)).unwrap().unwrap();
        assert!(stored.delivery == *sample::intake(n).delivery, "{n}");
    }
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
}

/// Looks for a text that is nowhere; whether that took fewer looks than there are deliveries.
fn passes_over(archive: &Archive) -> bool {
    let query = Query { text: Some("is nowhere".into()), scan_limit: 25, ..Query::default() };
    let page = archive.list(&query).unwrap();
    assert_eq!(page.items, []);
    page.next.is_none()
}

#[tokio::test]
async fn a_store_of_format_2_is_taken_as_it_is_and_sketched() {
    let dir = tempfile::tempdir().unwrap();
    unpack(FORMAT_2, dir.path());
    let archive = Archive::open(dir.path(), sample::small()).unwrap();
    check(&archive);
    assert!(!passes_over(&archive), "there are sketches already, or none are needed");
    let format = std::fs::read_to_string(dir.path().join("format")).unwrap();
    assert_eq!(format, "healthie-tunnel archive 3\n");
    assert!(dir.path().join("store").exists(), "it was copied");
    // Only what is some seconds older than the newest is sketched.
    archive.insert(sample::intake(20_000)).await.unwrap();
    within(Duration::from_secs(60), "sketches", || passes_over(&archive).then_some(()));
    check(&archive);
    archive.compact().await.unwrap();
    assert!(passes_over(&archive), "a compaction loses sketches");
    check(&archive);
    archive.close().await.unwrap();
    let archive = Archive::open(dir.path(), sample::small()).unwrap();
    assert!(passes_over(&archive), "sketches are not there after a close");
    check(&archive);
}

#[tokio::test]
async fn a_program_of_then_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    unpack(FORMAT_2, dir.path());
    drop(Archive::open(dir.path(), sample::small()).unwrap());
    // What that program does with a number beyond its own, this one does with the next.
    std::fs::write(dir.path().join("format"), "healthie-tunnel archive 5\n").unwrap();
    assert!(matches!(Archive::open(dir.path(), sample::small()), Err(ArchiveError::Newer { found: 5, known: 4, .. })));
}
