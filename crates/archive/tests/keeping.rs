//! The archive keeps within bounds and gives space back: what retention removes and what it spares, removal without a trace, compaction
//! beside other work.

mod sample;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tunnel_archive::{Archive, ArchiveError, Inserted, Intake, Keep, Order, Query, Removed, Spare, Trimmed};
use tunnel_delivery::{AnswerClass, Cause, DeliveryId, Timestamp};

fn open(dir: &Path) -> Archive {
    Archive::open(dir, sample::small()).unwrap()
}

/// Delivery number `n`, received `n` minutes after the start; does not wait to be forwarded.
fn minutely(n: u64) -> Intake {
    let mut intake = sample::intake(n);
    let delivery = Arc::make_mut(&mut intake.delivery);
    delivery.received_at = minute(n);
    delivery.id = id(n);
    intake.queued = false;
    intake
}

fn minute(n: u64) -> Timestamp {
    Timestamp::from_micros(sample::START + i64::try_from(n).unwrap() * 60_000_000)
}

fn id(n: u64) -> DeliveryId {
    DeliveryId::build(minute(n), [7; 10])
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn ids(archive: &Archive) -> Vec<DeliveryId> {
    let query = Query { order: Order::OldestFirst, limit: 100_000, scan_limit: 1_000_000, ..Query::default() };
    archive.list(&query).unwrap().items.iter().map(|s| s.id).collect()
}

#[track_caller]
fn assert_sound(archive: &Archive) {
    let report = archive.check(|_| ()).unwrap();
    assert!(report.is_sound(), "{:?} {report:?}", report.findings());
}

async fn fill(archive: &Archive, count: u64) {
    for n in 0..count {
        archive.insert(minutely(n)).await.unwrap();
        if n % 2 == 0 {
            archive.record(id(n), sample::attempt(n)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn age_count_and_bytes_each_remove_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    fill(&archive, 300).await;
    let now = minute(300);
    let nothing = archive.retain(&Keep::default(), now).await.unwrap();
    assert_eq!(nothing, Trimmed::default());

    let trimmed = archive.retain(&Keep { age: Some(minutes(250)), ..Keep::default() }, now).await.unwrap();
    assert_eq!((trimmed.deliveries, trimmed.attempts, trimmed.spared), (50, 25, 0));
    assert!(ids(&archive).into_iter().eq((50..300).map(id)));

    let before = archive.stats();
    let trimmed = archive.retain(&Keep { count: Some(100), ..Keep::default() }, now).await.unwrap();
    assert_eq!(trimmed.deliveries, 150);
    assert!(ids(&archive).into_iter().eq((200..300).map(id)));
    assert_eq!(before.record_bytes - trimmed.bytes, archive.stats().record_bytes);

    let limit = archive.stats().record_bytes / 2;
    archive.retain(&Keep { bytes: Some(limit), ..Keep::default() }, now).await.unwrap();
    let left = archive.stats();
    assert!(left.record_bytes <= limit && left.deliveries > 10, "{left:?}");
    assert!(ids(&archive).into_iter().eq((300 - left.deliveries..300).map(id)));
    assert_sound(&archive);
    archive.close().await.unwrap();
    assert_eq!(open(dir.path()).stats().record_bytes, left.record_bytes);
}

#[tokio::test]
async fn what_is_pinned_waits_or_has_just_come_is_spared() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    for n in 0..10 {
        let mut intake = minutely(n);
        intake.queued = n == 4 || n == 5;
        archive.insert(intake).await.unwrap();
    }
    archive.set_pinned(id(2), true).await.unwrap();
    // A replay elsewhere does not make it forwarded; forwarding does.
    let replayed = tunnel_delivery::Attempt { cause: Cause::Replay, ..sample::attempt(1) };
    archive.record(id(4), replayed).await.unwrap();
    archive.record(id(5), tunnel_delivery::Attempt { cause: Cause::Forward, ..sample::attempt(1) }).await.unwrap();
    let keep = Keep { age: Some(Duration::ZERO), count: Some(0), bytes: Some(0) };
    let trimmed = archive.retain(&keep, Timestamp::from_micros(minute(9).as_micros() + 59_000_000)).await.unwrap();
    assert_eq!((trimmed.deliveries, trimmed.spared), (7, 3));
    assert_eq!(ids(&archive), [id(2), id(4), id(9)]);
    let trimmed = archive.retain(&keep, Timestamp::from_micros(minute(9).as_micros() + 61_000_000)).await.unwrap();
    assert_eq!((trimmed.deliveries, ids(&archive)), (1, vec![id(2), id(4)]));
    // Explicit removal knows no such thing.
    let removed = archive.remove(vec![id(2), id(3), id(4), id(4)]).await.unwrap();
    assert_eq!((removed, ids(&archive).len()), (2, 0));
    let stats = archive.stats();
    assert_eq!((stats.deliveries, stats.attempts, stats.body_bytes, stats.record_bytes), (0, 0, 0, 0));
    assert_sound(&archive);
}

#[tokio::test]
async fn a_removal_passes_over_what_it_is_to_spare() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    for n in 0..6 {
        let mut intake = minutely(n);
        intake.queued = n == 1 || n == 2;
        archive.insert(intake).await.unwrap();
    }
    archive.set_pinned(id(0), true).await.unwrap();
    // Pinned and waiting: it is counted once.
    archive.set_pinned(id(1), true).await.unwrap();
    let all: Vec<DeliveryId> = (0..8).map(id).collect();
    let spare = Spare { pinned: true, queued: true, since: Some(minute(5)) };
    let removed = archive.remove_sparing(all.clone(), spare).await.unwrap();
    assert_eq!(removed, Removed { removed: 2, pinned: 2, queued: 1, recent: 1 });
    assert_eq!(ids(&archive), [0, 1, 2, 5].map(id));
    let removed = archive.remove_sparing(all.clone(), Spare { queued: true, ..Spare::default() }).await.unwrap();
    assert_eq!(removed, Removed { removed: 2, queued: 2, ..Removed::default() });
    // What an index of the store has of the others is as it should be.
    assert_sound(&archive);
    assert_eq!(archive.remove_sparing(all, Spare::default()).await.unwrap().removed, 2);
    assert_eq!(archive.stats().deliveries, 0);
}

#[tokio::test]
async fn what_was_removed_is_gone_everywhere_and_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    // Bodies and answers of all lengths, on shelves and in pieces, few and many.
    for (n, len) in (0..).zip([10, 3000, 60_000, 1_500_000]) {
        let mut intake = minutely(n);
        Arc::make_mut(&mut intake.delivery).body = sample::Dice(n).bytes(len).into();
        intake.body_sha256 = sample::sha256(&intake.delivery.body);
        let mut attempt = sample::attempt(n);
        attempt.response_body = sample::Dice(n + 9).bytes(len).into();
        archive.insert(intake.clone()).await.unwrap();
        archive.record(id(n), attempt.clone()).await.unwrap();
        archive.set_note(id(n), Some("a note ".repeat(2000))).await.unwrap();
        assert_eq!(archive.remove(vec![id(n)]).await.unwrap(), 1);
        // At once again, while its pieces are still on their way out.
        assert_eq!(archive.insert(intake.clone()).await.unwrap(), Inserted::New { duplicate_of: None }, "{n}");
        assert_eq!(archive.record(id(n), attempt.clone()).await.unwrap(), 1);
        let stored = archive.get(id(n)).unwrap().unwrap();
        assert!(stored.delivery == *intake.delivery && stored.attempts == [attempt] && stored.note.is_none(), "{n}");
    }
    assert_sound(&archive);
    archive.remove((0..4).map(id).collect()).await.unwrap();
    archive.close().await.unwrap();
    let archive = open(dir.path());
    assert_sound(&archive);
    let stats = archive.stats();
    assert_eq!((stats.deliveries, stats.attempts, stats.body_bytes, stats.record_bytes), (0, 0, 0, 0));
}

#[tokio::test]
async fn repeats_are_known_from_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    let again = |n: u64| {
        let mut intake = minutely(0);
        let delivery = Arc::make_mut(&mut intake.delivery);
        delivery.received_at = minute(n);
        delivery.id = id(n);
        intake
    };
    for n in 0..130 {
        archive.insert(again(n)).await.unwrap();
    }
    archive.insert(minutely(200)).await.unwrap();
    let summary = |n: u64| {
        let query = Query { from: Some(minute(n)), until: Some(minute(n)), ..Query::default() };
        archive.list(&query).unwrap().items.remove(0)
    };
    let first = archive.get(id(0)).unwrap().unwrap();
    assert!(first.repeats.iter().copied().eq((1..=100).map(id)), "{:?}", first.repeats);
    assert_eq!((summary(0).repeats, summary(1).repeats), (129, 0));
    let list = |query: Query| archive.list(&Query { limit: 1000, order: Order::OldestFirst, ..query }).unwrap();
    let repeats = list(Query { repeats_of: Some(id(0)), ..Query::default() });
    assert!(repeats.items.iter().map(|s| s.id).eq((1..130).map(id)));
    let repeats = list(Query { repeats_of: Some(id(0)), until: Some(minute(3)), ..Query::default() });
    assert_eq!((repeats.items.len(), repeats.scanned), (3, 3));
    let all = list(Query { duplicates: Some(true), ..Query::default() });
    assert_eq!((all.items.len(), all.scanned), (129, 129));
    let none = list(Query { duplicates: Some(false), ..Query::default() });
    assert!(none.items.iter().map(|s| s.id).eq([id(0), id(200)]));
    // A repeat that goes is not counted any more; the first one may go, and its repeats still say what they repeat.
    archive.remove((1..=125).map(id).collect()).await.unwrap();
    assert_eq!(summary(0).repeats, 4);
    assert!(archive.get(id(0)).unwrap().unwrap().repeats.into_iter().eq((126..130).map(id)));
    archive.remove(vec![id(0)]).await.unwrap();
    assert_eq!(archive.get(id(126)).unwrap().unwrap().duplicate_of.unwrap().id, id(0));
    assert_eq!(list(Query { repeats_of: Some(id(0)), ..Query::default() }).items.len(), 4);
    assert_sound(&archive);
}

#[tokio::test]
async fn compaction_gives_space_back_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    fill(&archive, 600).await;
    archive.retain(&Keep { count: Some(60), ..Keep::default() }, minute(600)).await.unwrap();
    let wanted: Vec<_> = ids(&archive).into_iter().map(|id| archive.get(id).unwrap().unwrap()).collect();
    assert!(archive.wants_compaction(), "{:?}", archive.stats());
    let done = archive.compact().await.unwrap();
    assert!(done.after * 4 < done.before && !archive.wants_compaction(), "{done:?}");
    assert_eq!(archive.stats().disk_bytes, done.after);
    for stored in &wanted {
        assert!(archive.get(stored.delivery.id).unwrap().as_ref() == Some(stored));
    }
    assert_sound(&archive);
    archive.insert(minutely(1000)).await.unwrap();
    archive.close().await.unwrap();
    let stores = std::fs::read_dir(dir.path()).unwrap();
    let stores: Vec<_> =
        stores.map(|e| e.unwrap().file_name()).filter(|n| n.to_string_lossy().starts_with("store")).collect();
    assert_eq!(stores, ["store-2"]);
    let archive = open(dir.path());
    assert_eq!(ids(&archive).len(), wanted.len() + 1);
    assert_sound(&archive);
    // Once more, and with several who ask.
    let (one, other) = tokio::join!(archive.compact(), archive.compact());
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(ids(&archive).len(), wanted.len() + 1);
}

/// Everything goes on while a compaction is under way, and nothing of it is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_while_it_is_compacted_trimmed_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    fill(&archive, 400).await;
    let ended = Arc::new(AtomicBool::new(false));
    let writer = {
        let (archive, ended) = (archive.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut n = 1000;
            // Once at least, however late it has its turn.
            loop {
                archive.insert(minutely(n)).await.unwrap();
                archive.record(id(n), sample::attempt(n)).await.unwrap();
                if n % 5 == 0 {
                    archive.set_note(id(n), Some(format!("note {n}"))).await.unwrap();
                }
                if n % 3 == 0 {
                    archive.remove(vec![id(n - 2)]).await.unwrap();
                }
                n += 1;
                if ended.load(Ordering::Relaxed) {
                    return n;
                }
            }
        })
    };
    let reader = {
        let (archive, ended) = (archive.clone(), Arc::clone(&ended));
        tokio::task::spawn_blocking(move || {
            let mut read = 0;
            loop {
                // What lists name may be gone when it is asked for; it is never half there.
                for id in ids(&archive).into_iter().rev().take(50) {
                    archive.get(id).unwrap();
                }
                let report = archive.check(|_| ()).unwrap();
                assert!(report.is_sound(), "{:?} {report:?}", report.findings());
                read += 1;
                if ended.load(Ordering::Relaxed) {
                    return read;
                }
            }
        })
    };
    for round in 0..3 {
        archive.compact().await.unwrap();
        let keep = Keep { count: Some(300 - 50 * round), ..Keep::default() };
        archive.retain(&keep, minute(100_000)).await.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let (n, read) = (writer.await.unwrap(), reader.await.unwrap());
    assert!(read > 0 && n > 1000);
    assert_sound(&archive);
    let there = ids(&archive);
    assert!(there.contains(&id(n - 1)), "the last one written is not there");
    archive.close().await.unwrap();
    let archive = open(dir.path());
    assert_eq!(ids(&archive), there);
    assert_sound(&archive);
}

#[tokio::test]
async fn closing_ends_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(dir.path());
    fill(&archive, 300).await;
    let (one, other) = (archive.clone(), archive.clone());
    let compact = tokio::spawn(async move { one.compact().await });
    let retain =
        tokio::spawn(async move { other.retain(&Keep { count: Some(1), ..Keep::default() }, minute(300)).await });
    tokio::task::yield_now().await;
    archive.close().await.unwrap();
    // Each was in time or is told.
    for told in [compact.await.unwrap().map(|_| ()), retain.await.unwrap().map(|_| ())] {
        assert!(matches!(told, Ok(()) | Err(ArchiveError::Closed)), "{told:?}");
    }
    let archive = open(dir.path());
    assert_sound(&archive);
    let stores = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(stores.filter(|n| n.to_string_lossy().starts_with("store")).count(), 1);
    let class = archive.list(&Query { answer: vec![AnswerClass::Queued], ..Query::default() }).unwrap();
    assert!(class.items.is_empty());
}
