//! The spool's promises, one story each.

mod sample;

use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tunnel_delivery::{DeviceKey, DeviceName, Timestamp, TunnelName};
use tunnel_spool::{
    Gap, Limits, MAX_DEVICES, Place, ReadLimit, RedbSpool, Role, Seq, Share, Shares, Spool as _, SpoolError, Start, Why,
};
use tunnel_testkit::eventually;

const ALL: ReadLimit = ReadLimit { count: usize::MAX, bytes: usize::MAX };
const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn limits() -> Limits {
    Limits { min_free_bytes: 0, ..Limits::default() }
}

fn open(dir: &Path) -> RedbSpool {
    RedbSpool::open(dir, limits()).unwrap()
}

fn team() -> TunnelName {
    "team".parse().unwrap()
}

fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

async fn append(spool: &RedbSpool, n: u64) -> Result<Seq, SpoolError> {
    spool.append(sample::delivery(&team(), n, NOW.as_micros() + n as i64, 100)).await
}

fn places(spool: &RedbSpool, after: u64) -> Vec<u64> {
    spool.read(&team(), Seq(after), ALL).unwrap().into_iter().map(|(seq, _)| seq.0).collect()
}

#[tokio::test]
async fn the_first_device_gets_what_waits_and_later_ones_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for n in 1..=3 {
        append(&spool, n).await.unwrap();
    }
    let join = |name: &str, start| {
        let (spool, name) = (spool.clone(), device(name));
        async move { spool.join(&team(), &name, start, NOW).await.unwrap() }
    };
    assert_eq!(join("first", Start::Now).await, Place { after: Seq(0), new: true, gap: None });
    assert_eq!(join("second", Start::Now).await.after, Seq(3));
    assert_eq!(join("third", Start::Beginning).await.after, Seq(0));
    assert_eq!(join("fourth", Start::At(Timestamp::from_micros(NOW.as_micros() + 2))).await.after, Seq(1));
    assert_eq!(join("second", Start::Beginning).await, Place { after: Seq(3), new: false, gap: None }, "known already");
    assert_eq!(places(&spool, 0), [1, 2, 3]);
}

#[tokio::test]
async fn places_are_never_given_twice_whatever_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    for n in 1..=3 {
        append(&spool, n).await.unwrap();
    }
    spool.taken(&team(), &device("a"), Seq(3));
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(spool.stats(&team()).unwrap().bytes, 0, "taken, so deleted when it was closed");
    assert_eq!(append(&spool, 4).await.unwrap(), Seq(4));
    spool.drop_tunnel(&team()).await.unwrap();
    drop(spool);
    let spool = open(dir.path());
    assert!(places(&spool, 0).is_empty());
    assert!(spool.devices(&team()).unwrap().is_empty());
    assert_eq!(append(&spool, 5).await.unwrap(), Seq(5));
}

#[tokio::test]
async fn what_a_forgotten_device_had_taken_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    for n in 1..=3 {
        append(&spool, n).await.unwrap();
    }
    spool.taken(&team(), &device("a"), Seq(2));
    assert!(spool.forget(&team(), &device("a")).await.unwrap());
    assert_eq!(spool.join(&team(), &device("b"), Start::Now, NOW).await.unwrap().after, Seq(2));
    assert_eq!(places(&spool, 0), [3]);
}

#[tokio::test]
async fn what_was_taken_is_deleted_without_anybody_asking() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    append(&spool, 1).await.unwrap();
    spool.taken(&team(), &device("a"), Seq(1));
    eventually("what was taken to go", || (spool.stats(&team()).unwrap().bytes == 0).then_some(()));
}

#[tokio::test]
async fn a_lowered_limit_drops_the_oldest_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    for n in 1..=10 {
        append(&spool, n).await.unwrap();
    }
    let each = spool.stats(&team()).unwrap().bytes / 10;
    drop(spool);
    let spool = RedbSpool::open(dir.path(), Limits { max_bytes_per_tunnel: 4 * each + each / 2, ..limits() }).unwrap();
    let refused = append(&spool, 11).await.unwrap_err();
    assert!(matches!(refused, SpoolError::TunnelFull { .. }) && refused.is_temporary(), "{refused}");
    let dropped = spool.expire(NOW).await.unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].from, dropped[0].upto, dropped[0].count(), dropped[0].why), (Seq(1), Seq(6), 6, Why::Size));
    assert_eq!(spool.stats(&team()).unwrap().dropped_size, 6);
    let gap = Some(Gap { from: Seq(1), upto: Seq(6), why: Why::Size });
    for _ in 0..2 {
        let place = spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
        assert_eq!(place, Place { after: Seq(6), new: false, gap }, "told until it is taken");
    }
    spool.taken(&team(), &device("a"), Seq(6));
    assert_eq!(spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap().gap, None);
    assert_eq!(places(&spool, 6), [7, 8, 9, 10]);
    assert!(spool.expire(NOW).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_tunnel_has_a_share_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for n in 1..=10 {
        append(&spool, n).await.unwrap();
    }
    let each = spool.stats(&team()).unwrap().bytes / 10;
    let share = |max_bytes| Shares::from([(team(), Share { max_bytes: Some(max_bytes), max_age: None })]);
    // A lower one drops nothing of what was taken in: it lets nothing more in.
    spool.set_shares(share(4 * each + each / 2));
    assert!(spool.expire(NOW).await.unwrap().is_empty());
    let refused = append(&spool, 11).await.unwrap_err();
    let limit = 4 * each + each / 2;
    assert!(matches!(&refused, SpoolError::TunnelFull { limit: told, .. } if *told == limit), "{refused}");
    let other: TunnelName = "other".parse().unwrap();
    for n in 0..10 {
        spool.append(sample::delivery(&other, n, NOW.as_micros(), 100)).await.unwrap();
    }
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    spool.taken(&team(), &device("a"), Seq(7));
    spool.flush().await.unwrap();
    append(&spool, 11).await.expect("there is room again");
    // What is longer than the whole share never fits.
    let long = sample::delivery(&team(), 12, NOW.as_micros(), 10 * each as usize);
    assert!(matches!(spool.append(long).await, Err(SpoolError::TooLarge { limit: told, .. }) if told == limit));
    spool.set_shares(Shares::new());
    for n in 13..=40 {
        append(&spool, n).await.unwrap();
    }
    // A higher one than all have.
    drop(spool);
    let spool = RedbSpool::open(dir.path(), Limits { max_bytes_per_tunnel: each, ..limits() }).unwrap();
    spool.set_shares(share(1 << 20));
    append(&spool, 41).await.unwrap();
    assert!(spool.expire(NOW).await.unwrap().iter().all(|run| run.tunnel == other), "the others have what all have");
}

#[tokio::test]
async fn a_tunnel_keeps_for_as_long_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let other: TunnelName = "other".parse().unwrap();
    append(&spool, 1).await.unwrap();
    spool.append(sample::delivery(&other, 1, NOW.as_micros(), 100)).await.unwrap();
    let share = Share { max_age: Some(Duration::from_secs(3600)), max_bytes: None };
    spool.set_shares(Shares::from([(team(), share)]));
    let after = |hours: i64| Timestamp::from_micros(NOW.as_micros() + hours * 3_600_000_000 + 1_000_000);
    assert!(spool.expire(NOW).await.unwrap().is_empty());
    let dropped = spool.expire(after(1)).await.unwrap();
    assert!(dropped.len() == 1 && dropped[0].tunnel == team() && dropped[0].why == Why::Age, "{dropped:?}");
    spool.set_shares(Shares::from([(other, Share { max_age: Some(Duration::from_secs(96 * 3600)), ..share })]));
    assert!(spool.expire(after(80)).await.unwrap().is_empty(), "longer than all others");
}

/// The log of a relay is told of it once a minute, and not by each delivery that comes in.
#[tokio::test]
async fn what_was_dropped_for_room_is_told_with_the_next_look() {
    let dir = tempfile::tempdir().unwrap();
    let spool = RedbSpool::open(dir.path(), Limits { max_bytes_per_tunnel: 20_000, ..limits() }).unwrap();
    for name in ["away", "here"] {
        spool.join(&team(), &device(name), Start::Now, NOW).await.unwrap();
    }
    for n in 1..=400 {
        let last = append(&spool, n).await.unwrap();
        spool.taken(&team(), &device("here"), last);
    }
    let dropped = spool.expire(NOW).await.unwrap();
    assert_eq!(dropped.len(), 1, "one run: {dropped:?}");
    assert_eq!((dropped[0].count(), dropped[0].why), (spool.stats(&team()).unwrap().dropped_size, Why::Size));
    assert!(spool.expire(NOW).await.unwrap().is_empty(), "told once");
}

#[tokio::test]
async fn more_than_one_batch_may_delete_expires_in_one_call() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let appends: Vec<_> = (0..4000).map(|n| (n, spool.clone())).collect();
    for round in 0..6 {
        let tasks: Vec<_> = appends
            .iter()
            .map(|(n, spool)| {
                let (n, spool) = (round * 4000 + n, spool.clone());
                tokio::spawn(async move { append(&spool, n).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let later = Timestamp::from_micros(NOW.as_micros() + limits().max_age.as_micros() as i64 + 1_000_000);
    let dropped = spool.expire(later).await.unwrap();
    assert_eq!(dropped.len(), 1, "one run, however many commits it took: {dropped:?}");
    assert_eq!((dropped[0].from, dropped[0].upto, dropped[0].why), (Seq(1), Seq(24_000), Why::Age));
    assert_eq!(spool.stats(&team()).unwrap().bytes, 0);
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_and_goes_on_reading() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    append(&spool, 1).await.unwrap();
    drop(spool);
    let spool = RedbSpool::open(dir.path(), Limits { min_free_bytes: u64::MAX, ..limits() }).unwrap();
    let refused = append(&spool, 2).await.unwrap_err();
    assert!(matches!(refused, SpoolError::DiskFull { .. }) && refused.is_temporary(), "{refused}");
    assert_eq!(spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap().after, Seq(0));
    assert_eq!(places(&spool, 0), [1]);
    spool.taken(&team(), &device("a"), Seq(1));
    spool.flush().await.unwrap();
    assert_eq!(spool.stats(&team()).unwrap().bytes, 0, "deleting goes on: it is what makes room");
}

#[tokio::test]
async fn too_many_devices_and_too_large_deliveries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spool = RedbSpool::open(dir.path(), Limits { max_bytes_per_tunnel: 5000, ..limits() }).unwrap();
    for n in 0..MAX_DEVICES {
        spool.join(&team(), &device(&format!("d{n}")), Start::Now, NOW).await.unwrap();
    }
    let refused = spool.join(&team(), &device("one-more"), Start::Now, NOW).await;
    assert!(matches!(refused, Err(SpoolError::TooManyDevices { .. })), "{refused:?}");
    assert!(spool.forget(&team(), &device("d0")).await.unwrap());
    assert!(!spool.forget(&team(), &device("d0")).await.unwrap());
    spool.join(&team(), &device("one-more"), Start::Now, NOW).await.unwrap();
    let refused = spool.append(sample::delivery(&team(), 1, 0, 5001)).await.unwrap_err();
    assert!(matches!(refused, SpoolError::TooLarge { .. }) && !refused.is_temporary(), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_during_a_commit_stays_taken() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    append(&spool, 0).await.unwrap();
    for n in 1..200 {
        let writing = spool.clone();
        let task = tokio::spawn(async move { append(&writing, n).await.unwrap() });
        // At a moment of the commit that is another each time.
        let moment = std::time::Instant::now() + Duration::from_micros(n * 3);
        while std::time::Instant::now() < moment {
            std::hint::spin_loop();
        }
        spool.taken(&team(), &device("a"), Seq(n));
        assert_eq!(task.await.unwrap(), Seq(n + 1));
        assert_eq!(spool.devices(&team()).unwrap()[0].after, Seq(n));
    }
}

#[tokio::test]
async fn a_live_agent_is_served_without_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    append(&spool, 1).await.unwrap();
    assert!(spool.recent(&team(), Seq(0), ALL).is_none(), "nobody was there when it came");
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    append(&spool, 2).await.unwrap();
    let recent = spool.recent(&team(), Seq(1), ALL).unwrap();
    assert_eq!(recent.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [2]);
    assert_eq!(spool.recent(&team(), Seq(2), ALL), Some(vec![]), "nothing to come");
    assert_eq!(places(&spool, 0), [1, 2], "the disk has both");
}

#[tokio::test]
async fn only_one_may_hold_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let second = RedbSpool::open(dir.path(), limits()).unwrap_err();
    assert!(matches!(second, SpoolError::Held { .. }), "{second}");
    append(&spool, 1).await.unwrap();
}

#[tokio::test]
async fn damage_is_told_and_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for n in 0..50 {
        append(&spool, n).await.unwrap();
    }
    let file = spool.file();
    drop(spool);
    let whole = std::fs::read(&file).unwrap();
    let damaged = |what: &str| {
        let error = RedbSpool::open(dir.path(), limits()).expect_err(what);
        assert!(matches!(error, SpoolError::Damaged { .. }), "{what}: {error}");
    };
    std::fs::write(&file, b"").unwrap();
    damaged("an empty file");
    std::fs::write(&file, b"#!/bin/sh\necho not a spool\n").unwrap();
    damaged("another file");
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    damaged("half a file");
    std::fs::write(&file, &whole).unwrap();
    let mut handle = OpenOptions::new().write(true).open(&file).unwrap();
    handle.seek(SeekFrom::Start(64)).unwrap();
    handle.write_all(&[0xa5; 448]).unwrap(); // redb's commit slots
    drop(handle);
    damaged("a file with a damaged header");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(places(&open(dir.path()), 0).len(), 50);
}

#[tokio::test]
async fn a_record_that_disagrees_with_what_is_there_is_damage() {
    const DELIVERIES: redb::TableDefinition<(u32, u64), &[u8]> = redb::TableDefinition::new("deliveries");
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    append(&spool, 1).await.unwrap();
    append(&spool, 2).await.unwrap();
    let file = spool.file();
    drop(spool);
    let db = redb::Database::open(&file).unwrap();
    let txn = db.begin_write().unwrap();
    assert!(txn.open_table(DELIVERIES).unwrap().remove((1, 2)).unwrap().is_some());
    txn.commit().unwrap();
    drop(db);
    let error = RedbSpool::open(dir.path(), limits()).unwrap_err();
    assert!(matches!(&error, SpoolError::Damaged { reason, .. } if reason.contains("team")), "{error}");
}

#[tokio::test]
async fn a_large_backlog_gives_its_disk_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    for n in 0..100 {
        let delivery = sample::delivery(&team(), n, NOW.as_micros(), 1 << 20);
        spool.append(Arc::clone(&delivery)).await.unwrap();
    }
    let size = || std::fs::metadata(spool.file()).unwrap().len();
    assert!(size() > 100 << 20);
    spool.taken(&team(), &device("a"), Seq(100));
    // Each deletes some 32 MiB, and what compacts comes right after the last: the append waits for that.
    for _ in 0..4 {
        spool.flush().await.unwrap();
    }
    append(&spool, 100).await.unwrap();
    assert!(size() < 10 << 20, "{} bytes after everything was taken", size());
    assert_eq!(places(&spool, 0), [101]);
}

#[tokio::test]
async fn a_device_that_is_away_does_not_keep_a_full_tunnel_closed() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_bytes_per_tunnel: 20_000, ..limits() };
    let spool = RedbSpool::open(dir.path(), limits).unwrap();
    let (away, here) = (device("away"), device("here"));
    for name in [&away, &here] {
        spool.join(&team(), name, Start::Now, NOW).await.unwrap();
    }
    let mut last = Seq::ZERO;
    for n in 1..=400 {
        last = append(&spool, n).await.unwrap();
        spool.taken(&team(), &here, last);
    }
    let stats = spool.stats(&team()).unwrap();
    assert!(stats.bytes <= limits.max_bytes_per_tunnel && stats.dropped_size > 0, "{stats:?}");
    // It is told what it misses, and gets the rest.
    let place = spool.join(&team(), &away, Start::Now, NOW).await.unwrap();
    let gap = place.gap.expect("a gap");
    assert_eq!((gap.from, gap.why, gap.count()), (Seq(1), Why::Size, stats.dropped_size));
    assert_eq!(gap.upto, place.after);
    assert_eq!(places(&spool, place.after.0), Vec::from_iter(gap.upto.0 + 1..=last.0));
    // What nobody has is not dropped for room: the sender is told to come again.
    for n in 401..=600 {
        if let Err(error) = append(&spool, n).await {
            assert!(matches!(error, SpoolError::TunnelFull { .. }), "{error}");
            assert_eq!(places(&spool, last.0).len() as u64, n - 401);
            return;
        }
    }
    panic!("200 deliveries that nobody has fit into {} bytes", limits.max_bytes_per_tunnel);
}

#[tokio::test]
async fn the_key_of_a_device_is_durable_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = |n| DeviceKey::from_slice(&[n; 32]).unwrap();
    let keys = |spool: &RedbSpool| spool.devices(&team()).unwrap().into_iter().map(|d| d.key).collect::<Vec<_>>();
    let spool = open(dir.path());
    assert!(!spool.set_key(&team(), &device("a"), key(1)).await.unwrap(), "there is no such device");
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    assert_eq!(keys(&spool), [None]);
    assert!(spool.set_key(&team(), &device("a"), key(1)).await.unwrap());
    assert!(spool.set_key(&team(), &device("a"), key(2)).await.unwrap());
    // Known again, its key stays.
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(keys(&spool), [Some(key(2))]);
    spool.forget(&team(), &device("a")).await.unwrap();
    spool.join(&team(), &device("a"), Start::Now, NOW).await.unwrap();
    assert_eq!(keys(&spool), [None], "it is another device now");
}

/// What only watches gets deliveries, holds back none, and takes none away from whom they are for.
#[tokio::test]
async fn one_that_watches_leaves_the_first_device_its_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let eye = device("eye");
    for n in 1..=2 {
        append(&spool, n).await.unwrap();
    }
    let place = spool.watch(&team(), &eye, Start::Now, NOW).await.unwrap();
    assert_eq!(place.after, Seq(2), "it does not get what waited");
    for n in 3..=4 {
        append(&spool, n).await.unwrap();
    }
    spool.taken(&team(), &eye, Seq(4));
    spool.flush().await.unwrap();
    assert_eq!(places(&spool, 0), [1, 2, 3, 4], "nobody has them yet");
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(
        spool.watch(&team(), &eye, Start::Now, NOW).await.unwrap().after,
        Seq(4),
        "its place outlives a restart"
    );
    let first = spool.join(&team(), &device("desk"), Start::Now, NOW).await.unwrap();
    assert_eq!(first.after, Seq(0), "the first that takes gets all that waits");
    spool.taken(&team(), &device("desk"), Seq(4));
    spool.flush().await.unwrap();
    assert_eq!(spool.stats(&team()).unwrap().waiting, 0);
    let refused = spool.watch(&team(), &device("desk"), Start::Now, NOW).await;
    assert!(matches!(refused, Err(SpoolError::NotAWatcher { .. })), "{refused:?}");
    assert!(
        spool.join(&team(), &eye, Start::Now, NOW).await.unwrap().new,
        "one that takes has the name if it wants it"
    );
    let roles: Vec<_> = spool.devices(&team()).unwrap().into_iter().map(|d| d.role).collect();
    assert_eq!(roles, [Role::Takes, Role::Takes]);
}
