//! An archive with a key: nothing of what deliveries say lies on the disk, everything works as without one, and keys come, change and go.

mod sample;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tunnel_archive::{
    Archive, ArchiveError, Inserted, Keep, Options, Order, Query, check, encrypt, rekey, repair, rescue,
};
use tunnel_delivery::{DeliveryId, Headers, Stored};
use tunnel_testkit::eventually;
use tunnel_vault::{UserKey, VaultError};

const PERSON: &str = "Maria Musterfrau, 555-0199";

/// So that they are 3.5 s from each other: what came within the last two has no sketch yet.
const APART: u64 = 5000;

fn key(n: u8) -> UserKey {
    let hex: String = (0..32).map(|i| format!("{:02x}", n.wrapping_mul(43).wrapping_add(i))).collect();
    UserKey::parse(&hex, "a test").unwrap()
}

fn open(dir: &Path, key: Option<UserKey>) -> Result<Archive, ArchiveError> {
    Archive::open(dir, Options { key, ..sample::small() })
}

fn resource(n: u64) -> String {
    format!("person-{n:09}")
}

/// Delivery number `n`, which names a person wherever it can.
fn intake(n: u64) -> tunnel_archive::Intake {
    let mut intake = sample::intake(n * APART);
    let mut delivery = tunnel_delivery::Delivery::clone(&intake.delivery);
    let pad = if n % 10 == 3 { 9000 } else { 20 };
    delivery.body = format!("{{\"name\":\"{PERSON}\",\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(pad)).into();
    delivery.target = format!("/hook?who={PERSON}&n={n}").replace([' ', ','], "-").parse().unwrap();
    delivery.headers.push("X-Person", PERSON);
    intake.body_sha256 = sample::sha256(&delivery.body);
    intake.delivery = Arc::new(delivery);
    if let Some(event) = &mut intake.event {
        event.resource_id = Some(resource(n));
    }
    intake
}

async fn fill(archive: &Archive, numbers: std::ops::Range<u64>) {
    for n in numbers {
        archive.insert(intake(n)).await.unwrap();
        let mut attempt = sample::attempt(n);
        attempt.response_body = format!("saved {PERSON}").repeat(if n % 7 == 1 { 300 } else { 1 }).into();
        attempt.response_headers = Headers::default();
        attempt.response_headers.push("X-Person", PERSON);
        archive.record(intake(n).delivery.id, attempt).await.unwrap();
        if n % 5 == 0 {
            archive.set_note(intake(n).delivery.id, Some(format!("call {PERSON}"))).await.unwrap();
        }
    }
}

/// How often something that names a person stands in any file below the folder.
fn named(dir: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += named(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for word in [PERSON.as_bytes(), b"Maria-Musterfrau", b"person-0000"] {
            count += memchr::memmem::find_iter(&bytes, word).count();
        }
    }
    count
}

fn all(archive: &Archive) -> BTreeMap<DeliveryId, Stored> {
    let page = archive.list(&Query { limit: 10_000, ..Query::default() }).unwrap();
    page.items.iter().map(|item| (item.id, archive.get(item.id).unwrap().unwrap())).collect()
}

/// Every way to find a delivery finds these and no others.
async fn find_all(archive: &Archive, numbers: std::ops::Range<u64>) {
    assert_eq!(all(archive).len() as u64, numbers.end - numbers.start);
    for n in numbers.clone() {
        let intake = intake(n);
        let stored = archive.get(intake.delivery.id).unwrap().unwrap();
        assert_eq!(stored.delivery, *intake.delivery);
        if intake.event.is_some() {
            let query = Query { resource_id: Some(resource(n)), limit: 10, ..Query::default() };
            let found: Vec<_> = archive.list(&query).unwrap().items.iter().map(|s| s.id).collect();
            assert_eq!(found, [intake.delivery.id], "by resource {n}");
        }
    }
    let query = Query { text: Some(PERSON.into()), limit: 10_000, ..Query::default() };
    assert_eq!(archive.list(&query).unwrap().items.len() as u64, numbers.end - numbers.start, "by text");
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
}

/// Waits until deliveries have sketches: a search that may look at few passes over many then. There must be more than 256 + 64 of them: a sketch is made of 256,
/// and the last 64 may stay unlooked at until more come.
async fn sketched(archive: &Archive) {
    let text = Some("nowhere to be found".to_owned());
    let query = Query { text, limit: 10, scan_limit: 50, order: Order::OldestFirst, ..Query::default() };
    eventually("sketches", || (archive.list(&query).unwrap().scanned >= 200).then_some(()));
}

#[tokio::test]
async fn with_a_key_nothing_that_deliveries_say_is_on_the_disk_and_all_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path(), Some(key(1))).unwrap();
    fill(&archive, 0..600).await;
    sketched(&archive).await;
    find_all(&archive, 0..600).await;
    let again = intake(7);
    assert_eq!(archive.insert(again).await.unwrap(), Inserted::AlreadyThere);
    archive.close().await.unwrap();
    assert_eq!(named(dir.path()), 0);

    let wrong = open(dir.path(), Some(key(2))).unwrap_err().to_string();
    assert!(wrong.contains(&key(1).id().to_string()) && wrong.contains(&key(2).id().to_string()), "{wrong}");
    assert!(matches!(open(dir.path(), None), Err(ArchiveError::Key(VaultError::Missing { .. }))));
    assert!(matches!(check(dir.path(), None, |_| ()), Err(ArchiveError::Key(_))));
    assert!(matches!(rescue(dir.path(), None, |_| (), |_| ()), Err(ArchiveError::Key(_))));

    assert!(check(dir.path(), Some(&key(1)), |_| ()).unwrap().is_sound());
    let archive = open(dir.path(), Some(key(1))).unwrap();
    let before = all(&archive);
    archive.compact().await.unwrap();
    find_all(&archive, 0..600).await;
    archive.close().await.unwrap();
    assert_eq!(named(dir.path()), 0);

    let mut saved = BTreeMap::new();
    let salvage = rescue(dir.path(), Some(&key(1)), |_| (), |r| drop(saved.insert(r.stored.delivery.id, r.stored)));
    assert_eq!(salvage.unwrap().lost.count, 0);
    assert!(saved == before, "a rescue finds all by the raw bytes");
    repair(dir.path(), Some(&key(1)), |_| ()).unwrap();
    let archive = open(dir.path(), Some(key(1))).unwrap();
    find_all(&archive, 0..600).await;
    archive.close().await.unwrap();
    assert_eq!(named(dir.path()), 0);
}

#[tokio::test]
async fn keys_come_change_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path(), None).unwrap();
    fill(&archive, 0..350).await;
    sketched(&archive).await;
    archive.close().await.unwrap();
    let plain = named(dir.path());
    assert!(plain > 350, "what is looked for is found where it is");

    // On: new ones at once, and with them whatever else is on a page.
    let archive = open(dir.path(), Some(key(1))).unwrap();
    find_all(&archive, 0..350).await;
    fill(&archive, 350..400).await;
    find_all(&archive, 0..400).await;
    assert!(matches!(rekey(dir.path(), Some(&key(1)), &key(2)), Err(ArchiveError::Held { .. })));
    let removed: Vec<_> = [1, 351].map(|n| intake(n).delivery.id).into();
    archive.remove(removed).await.unwrap();
    assert!(archive.check(|_| ()).unwrap().is_sound());
    fill(&archive, 1..2).await;
    fill(&archive, 351..352).await;
    assert!(named(dir.path()) > 0, "what was there stays as it was until it is compacted");
    archive.compact().await.unwrap();
    find_all(&archive, 0..400).await;
    archive.close().await.unwrap();
    assert_eq!(named(dir.path()), 0);

    // Another key, while old records are still encrypted with the old data key.
    rekey(dir.path(), Some(&key(1)), &key(2)).unwrap();
    let keys = || std::fs::read_to_string(dir.path().join("keys.json")).unwrap().matches("\"wrapped\"").count();
    assert_eq!(keys(), 2);
    assert!(matches!(open(dir.path(), Some(key(1))), Err(ArchiveError::Key(VaultError::Wrong { .. }))));
    let archive = open(dir.path(), Some(key(2))).unwrap();
    fill(&archive, 400..420).await;
    find_all(&archive, 0..420).await;
    archive.compact().await.unwrap();
    assert_eq!(keys(), 1, "nothing needs the old data key any more");
    find_all(&archive, 0..420).await;
    archive.close().await.unwrap();
    let archive = open(dir.path(), Some(key(2))).unwrap();
    find_all(&archive, 0..420).await;
    archive.close().await.unwrap();

    // Off: as on.
    encrypt(dir.path(), Some(&key(2)), false).unwrap();
    let archive = open(dir.path(), Some(key(2))).unwrap();
    fill(&archive, 420..440).await;
    find_all(&archive, 0..440).await;
    archive.compact().await.unwrap();
    find_all(&archive, 0..440).await;
    archive.close().await.unwrap();
    let archive = open(dir.path(), None).expect("no key is needed any more");
    find_all(&archive, 0..440).await;
    let repeat = archive.insert(repeated(439)).await.unwrap();
    assert!(matches!(repeat, Inserted::New { duplicate_of: Some(_) }), "fingerprints were made anew");
    archive.close().await.unwrap();
}

/// As number `n`, sent again a little later.
fn repeated(n: u64) -> tunnel_archive::Intake {
    let first = intake(n);
    let mut delivery = tunnel_delivery::Delivery::clone(&first.delivery);
    delivery.received_at = sample::time_of(n * APART + 100);
    delivery.id = sample::id_of(n * APART + 100);
    tunnel_archive::Intake { delivery: Arc::new(delivery), ..first }
}

#[tokio::test]
async fn repeats_are_seen_across_the_coming_of_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path(), None).unwrap();
    fill(&archive, 0..3).await;
    archive.close().await.unwrap();
    let archive = open(dir.path(), Some(key(1))).unwrap();
    let Inserted::New { duplicate_of: Some(first) } = archive.insert(repeated(1)).await.unwrap() else { panic!() };
    assert_eq!(first.id, intake(1).delivery.id);
    archive.compact().await.unwrap();
    let Inserted::New { duplicate_of: Some(first) } = archive.insert(repeated(2)).await.unwrap() else { panic!() };
    assert_eq!(first.id, intake(2).delivery.id);
    archive.close().await.unwrap();
}

/// Retention: what is too old is gone from everything that can be read, attempts and sketches with it, and from the disk after a compaction.
#[tokio::test]
async fn what_is_not_kept_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path(), None).unwrap();
    fill(&archive, 0..400).await;
    sketched(&archive).await;
    // Nothing waits to be forwarded: all but those that were only replayed have an attempt that says so.
    let query = |query: Query| archive.list(&Query { limit: 1000, ..query }).unwrap().items;
    let queued = query(Query { answer: vec![tunnel_delivery::AnswerClass::Queued], ..Query::default() });
    archive.remove(queued.iter().map(|s| s.id).collect()).await.unwrap();
    let now = sample::time_of(0).earlier(Duration::ZERO);
    let later = tunnel_delivery::Timestamp::from_micros(now.as_micros() + 40 * 24 * 3600 * 1_000_000);
    let keep = Keep { age: Some(Duration::from_secs(30 * 24 * 3600)), ..Keep::default() };
    let done = archive.retain(&keep, later).await.unwrap();
    assert!(done.deliveries > 0 && done.attempts > 0, "{done:?}");
    assert_eq!(query(Query::default()), []);
    assert_eq!(query(Query { text: Some(PERSON.into()), ..Query::default() }), []);
    assert!(archive.get(intake(3).delivery.id).unwrap().is_none());
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound() && report.deliveries == 0 && report.index_entries == 0, "{report:?}");
    archive.compact().await.unwrap();
    archive.close().await.unwrap();
    assert_eq!(named(dir.path()), 0);
}

/// Whoever purges is told when the bytes are gone, also where a compaction was under way that had copied them already.
#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_is_under_way_is_not_taken_for_one_of_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path(), None).unwrap();
    let long = |n: u64| {
        let mut intake = intake(n);
        let mut delivery = tunnel_delivery::Delivery::clone(&intake.delivery);
        delivery.body = PERSON.repeat(20_000).into();
        intake.body_sha256 = sample::sha256(&delivery.body);
        intake.delivery = Arc::new(delivery);
        intake
    };
    for n in 0..40 {
        archive.insert(long(n)).await.unwrap();
    }
    let upkeep = tokio::spawn({
        let archive = archive.clone();
        async move { archive.compact().await }
    });
    let copy = dir.path().join("store-2/db");
    eventually("a part of the copy", || std::fs::metadata(&copy).is_ok_and(|meta| meta.len() >= 4 << 20).then_some(()));
    archive.remove((0..40).map(|n| intake(n).delivery.id).collect()).await.unwrap();
    archive.compact().await.unwrap();
    upkeep.await.unwrap().unwrap();
    archive.close().await.unwrap();
    assert_eq!(named(dir.path()), 0);
}

#[tokio::test]
async fn lost_keys_are_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path(), Some(key(1))).unwrap();
    fill(&archive, 0..3).await;
    archive.close().await.unwrap();
    let db = std::fs::read(dir.path().join("store/db")).unwrap();
    let keys = std::fs::read(dir.path().join("keys.json")).unwrap();
    std::fs::remove_file(dir.path().join("keys.json")).unwrap();
    for key in [None, Some(key(1))] {
        assert!(matches!(open(dir.path(), key), Err(ArchiveError::Key(VaultError::Lost { .. }))));
    }
    assert!(!dir.path().join("keys.json").exists());
    assert_eq!(std::fs::read(dir.path().join("store/db")).unwrap(), db);
    std::fs::write(dir.path().join("keys.json"), keys).unwrap();
    find_all(&open(dir.path(), Some(key(1))).unwrap(), 0..3).await;
}
