//! A store of format 1, as the program wrote it then, is brought to the new format when it is opened, and everything is read back; also
//! when that is ended half way.
//!
//! `sample/format1.bin` is the folder of such an archive (`sample/packed.rs`). `sample/format1.json` has what the program of then read from it, without
//! the bodies.

mod sample;

use sample::packed::unpack;
use serde_json::Value;
use tunnel_archive::{Archive, Order, Query, repair};
use tunnel_delivery::{DeliveryId, TunnelName};

const FORMAT_1: &[u8] = include_bytes!("sample/format1.bin");

fn expected() -> Vec<Value> {
    let all = serde_json::Deserializer::from_str(include_str!("sample/format1.json")).into_iter();
    all.collect::<Result<_, _>>().unwrap()
}

fn check(archive: &Archive) {
    let expected = expected();
    assert_eq!(expected.len(), 40);
    let mut query = Query { order: Order::OldestFirst, ..Query::default() };
    let page = archive.list(&query).unwrap();
    assert_eq!(page.items.len(), expected.len());
    let mut repeats = 0;
    for (expected, summary) in expected.iter().zip(&page.items) {
        let stored = archive.get(summary.id).unwrap().unwrap();
        let mut json = serde_json::to_value(&stored).unwrap();
        let object = json.as_object_mut().unwrap();
        object.remove("body");
        object.remove("repeats");
        for attempt in object["attempts"].as_array_mut().unwrap() {
            assert_eq!(attempt.as_object_mut().unwrap().remove("edited"), Some(false.into()));
        }
        assert_eq!(json, expected["stored"]);
        let mut json = serde_json::to_value(summary).unwrap();
        assert_eq!(json.as_object_mut().unwrap().remove("repeats"), Some(stored.repeats.len().into()));
        assert_eq!(json, expected["summary"]);
        // What format 1 did not have.
        let later: Vec<DeliveryId> =
            page.items.iter().filter(|s| s.duplicate_of == Some(summary.id)).map(|s| s.id).collect();
        assert_eq!(stored.repeats, later);
        repeats += later.len();
        query.repeats_of = Some(summary.id);
        assert!(archive.list(&query).unwrap().items.iter().map(|s| s.id).eq(later));
    }
    assert!(repeats >= 3, "{repeats}");
    let query = Query { duplicates: Some(true), ..Query::default() };
    assert_eq!(archive.list(&query).unwrap().items.len(), repeats);
    let team: TunnelName = "other".parse().unwrap();
    let wanted = page.items.iter().filter(|s| s.tunnel == team).count();
    let page = archive.list(&Query { tunnel: Some(team), ..Query::default() }).unwrap();
    assert_eq!((page.items.len(), page.scanned), (wanted, wanted), "the index by tunnel does not hold exactly its own");
    let stats = archive.stats();
    assert_eq!((stats.deliveries, stats.attempts, stats.body_bytes), (40, 60, bodies()));
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings());
}

fn bodies() -> u64 {
    expected().iter().map(|e| e["summary"]["body_len"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_store_of_format_1_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    unpack(FORMAT_1, dir.path());
    let archive = Archive::open(dir.path(), sample::small()).unwrap();
    check(&archive);
    // It goes on as one that was never anything else.
    archive.insert(sample::intake(1)).await.unwrap();
    archive.remove(vec![sample::id_of(1)]).await.unwrap();
    archive.close().await.unwrap();
    let format = std::fs::read_to_string(dir.path().join("format")).unwrap();
    assert_eq!(format, "healthie-tunnel archive 3\n");
    assert!(!dir.path().join("store").exists(), "the old store is left over");
    check(&Archive::open(dir.path(), sample::small()).unwrap());
}

/// What a migration leaves that ended at any of its steps does not matter.
#[test]
fn a_migration_that_ended_half_way_begins_again() {
    for step in ["nothing", "part of a copy", "a copy that is named", "another copy"] {
        let dir = tempfile::tempdir().unwrap();
        unpack(FORMAT_1, dir.path());
        let old = std::fs::read(dir.path().join("store/db")).unwrap();
        let copy = dir.path().join("store-2");
        if step != "nothing" {
            std::fs::create_dir_all(copy.join("blobs")).unwrap();
            std::fs::write(copy.join("db"), &old[..old.len() / 2]).unwrap();
        }
        if step == "a copy that is named" {
            std::fs::write(dir.path().join("current"), "store-2\n").unwrap();
        }
        if step == "another copy" {
            std::fs::rename(&copy, dir.path().join("store-9")).unwrap();
        }
        check(&Archive::open(dir.path(), sample::small()).unwrap());
        assert!(!dir.path().join("store").exists() && !dir.path().join("store-9").exists(), "{step}");
    }
}

#[test]
fn a_store_of_format_1_is_repaired_too() {
    let dir = tempfile::tempdir().unwrap();
    unpack(FORMAT_1, dir.path());
    // A repair that ended between its two names: the old store is the one that counts.
    std::fs::create_dir(dir.path().join("store-2")).unwrap();
    std::fs::write(dir.path().join("current"), "store-2\naside store\n").unwrap();
    let again = tempfile::tempdir().unwrap();
    let report = tunnel_archive::check(dir.path(), None, |_| ()).unwrap();
    assert!(report.is_sound() && report.deliveries == 40, "{report:?}");
    let repaired = repair(dir.path(), None, |_| ()).unwrap();
    assert_eq!((repaired.salvage.deliveries, repaired.salvage.attempts, repaired.salvage.stopped), (40, 60, None));
    check(&Archive::open(dir.path(), sample::small()).unwrap());
    unpack(FORMAT_1, again.path());
    std::fs::create_dir(again.path().join("store-2")).unwrap();
    std::fs::write(again.path().join("current"), "store-2\naside store\n").unwrap();
    check(&Archive::open(again.path(), sample::small()).unwrap());
}
