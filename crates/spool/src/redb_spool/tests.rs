//! What can be seen only where the writer is in hand: commits that are shared, and a purge that is cut short.

use std::time::{Duration, Instant};

use super::*;
use bytes::Bytes;
use tunnel_delivery::{DeliveryId, Environment, Headers, HttpVersion};

const LIMITS: Limits = Limits { max_age: Duration::from_secs(3600), max_bytes_per_tunnel: 1 << 30, min_free_bytes: 0 };
const MARK: &[u8] = b"{\"patient\":\"Maria Musterfrau\"}";

fn delivery(n: u64) -> Arc<Delivery> {
    Arc::new(Delivery {
        id: DeliveryId::from_bytes([7; 16]),
        received_at: Timestamp::from_micros(1_800_000_000_000_000),
        tunnel: "team".parse().unwrap(),
        source_ip: [127, 0, 0, 1].into(),
        environment: Environment::Unknown,
        method: "POST".parse().unwrap(),
        target: format!("/{n}").parse().unwrap(),
        prefix_len: 0,
        http_version: HttpVersion::Http11,
        headers: Headers::default(),
        body: Bytes::from_static(MARK),
        lost: Vec::new(),
    })
}

/// The writer begins when all of them wait, as they do while it is busy with a commit before.
#[tokio::test]
async fn those_who_wait_share_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, writer) = Handle::without_writer(dir.path(), LIMITS, None).unwrap();
    let spool = RedbSpool(Arc::new(handle));
    let tasks: Vec<_> = (0..500)
        .map(|n| {
            let spool = spool.clone();
            tokio::spawn(async move { (spool.append(delivery(n)).await.unwrap(), n) })
        })
        .collect();
    while spool.0.shared.lock().appends.len() < tasks.len() {
        tokio::task::yield_now().await;
    }
    let writing = std::thread::spawn(move || writer.run());
    let mut given = Vec::new();
    for task in tasks {
        given.push(task.await.unwrap());
    }
    let counters = spool.counters();
    assert_eq!((counters.appended, counters.commits), (500, 1));
    given.sort();
    let all = ReadLimit { count: usize::MAX, bytes: usize::MAX };
    let stored = spool.read(&"team".parse().unwrap(), Seq(0), all).unwrap();
    assert_eq!(stored.len(), given.len());
    for ((seq, n), (place, stored)) in given.into_iter().zip(stored) {
        assert_eq!((seq, delivery(n)), (place, stored), "what {n} was told is its place");
    }
    drop(spool);
    writing.join().unwrap();
}

/// So many are purged with three commits.
const MANY: u64 = 25_000;

/// A spool in which `MANY` wait.
async fn full(dir: &Path) -> RedbSpool {
    let spool = RedbSpool::open(dir, LIMITS).unwrap();
    for from in (0..MANY).step_by(2500) {
        let tasks: Vec<_> = (from..from + 2500)
            .map(|n| {
                let spool = spool.clone();
                tokio::spawn(async move { spool.append(delivery(n)).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    spool
}

/// Waits until so many are left, and then until nothing else is in the file.
async fn until_left(spool: &RedbSpool, left: u64) {
    let team = "team".parse().unwrap();
    let began = Instant::now();
    while spool.stats(&team).unwrap().waiting != left {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?} are left", spool.stats(&team));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(spool.tidied().await.unwrap());
    let bytes = std::fs::read(spool.file()).unwrap();
    let marks = bytes.windows(MARK.len()).filter(|window| *window == MARK).count();
    assert_eq!(marks as u64, left, "what was purged left the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_was_cut_short_goes_on_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let team: TunnelName = "team".parse().unwrap();
    drop(full(dir.path()).await);
    let (handle, writer) = Handle::without_writer(dir.path(), LIMITS, None).unwrap();
    let (answer, _) = oneshot::channel();
    let purge = Order::Purge { tunnel: team.clone(), before: None, dropped: Vec::new(), answer };
    handle.shared.queue_order(purge).unwrap();
    // It ends behind the first portion.
    handle.shared.close();
    writer.run();
    drop(handle);
    let opened = disk::open(dir.path(), None, Entropy::system()).unwrap();
    assert_eq!(opened.purges, [(team.clone(), Seq(MANY + 1))]);
    assert_eq!(opened.tunnels[&team].first, Seq(10_001));
    drop(opened);

    let spool = RedbSpool::open(dir.path(), LIMITS).unwrap();
    assert_eq!(spool.purged_further(), std::slice::from_ref(&team));
    assert_eq!(spool.append(delivery(7)).await.unwrap(), Seq(MANY + 1));
    until_left(&spool, 1).await;
    let all = ReadLimit { count: usize::MAX, bytes: usize::MAX };
    let kept = spool.read(&team, Seq(0), all).unwrap();
    assert_eq!(kept, [(Seq(MANY + 1), Arc::new(delivery(7).as_ref().clone()))], "what came later is none of it");
    drop(spool);
    assert_eq!(disk::open(dir.path(), None, Entropy::system()).unwrap().purges, [], "it is done");
}

/// One that has less to do than the others ends first: what is noted of those must not go with it.
#[tokio::test(flavor = "multi_thread")]
async fn of_purges_beside_each_other_the_one_that_goes_furthest_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let team: TunnelName = "team".parse().unwrap();
    drop(full(dir.path()).await);
    let (handle, writer) = Handle::without_writer(dir.path(), LIMITS, None).unwrap();
    for before in [None, None, Some(Seq(5))] {
        let (answer, _) = oneshot::channel();
        let purge = Order::Purge { tunnel: team.clone(), before, dropped: Vec::new(), answer };
        handle.shared.queue_order(purge).unwrap();
    }
    handle.shared.close();
    writer.run();
    drop(handle);
    let opened = disk::open(dir.path(), None, Entropy::system()).unwrap();
    assert_eq!(opened.purges, [(team.clone(), Seq(MANY + 1))]);
    assert_eq!(opened.tunnels[&team].first, Seq(20_001), "a portion of each that was not done");
    drop(opened);

    let spool = RedbSpool::open(dir.path(), LIMITS).unwrap();
    // The tunnel is removed meanwhile, and one of its name is added and has something: its numbers go on, and none of it is what was purged.
    spool.drop_tunnel(&team).await.unwrap();
    assert_eq!(spool.append(delivery(7)).await.unwrap(), Seq(MANY + 1));
    until_left(&spool, 1).await;
    drop(spool);
    assert_eq!(disk::open(dir.path(), None, Entropy::system()).unwrap().purges, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_goes_on_though_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let team = "team".parse().unwrap();
    let spool = full(dir.path()).await;
    // Asked once and gone: on a busy machine it may even be done by then.
    tokio::select! {
        biased;
        _ = spool.purge(&team) => {}
        () = std::future::ready(()) => {}
    }
    until_left(&spool, 0).await;
}
