//! kill -9 at any moment, also while it is trimmed and compacted: everything acknowledged is there afterwards, and the archive goes on. `HEALTHIE_TUNNEL_KILLS` says how often.

#[path = "sample/child.rs"]
mod child;
mod sample;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use child::{GAPS, SPAN, Writer, check, seed, setting};
use sample::Dice;
use tunnel_archive::{Archive, Order, Query};
use tunnel_delivery::Environment;
use tunnel_testkit::{pass, within};

/// Not a test: what the processes of this one do.
#[test]
fn writer() {
    child::run();
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let seed = seed();
    let mut dice = Dice(seed);
    let mut all = child::Acks::new();
    let mut kills = 0;
    while kills < setting("HEALTHIE_TUNNEL_KILLS", 5) {
        let writer = Writer::start(dir.path(), kills * SPAN);
        writer.wait_for(usize::try_from(dice.below(400) + 1).unwrap(), usize::try_from(dice.below(3)).unwrap());
        // Anywhere between two of its steps.
        pass(Duration::from_micros(dice.below(60_000)));
        let acks = writer.kill();
        assert!(acks.len() > 0, "nothing was written (seed {seed})");
        all.extend(acks);
        let there = check(dir.path(), &all);
        assert!(there > 0, "nothing is left after kill {kills} (seed {seed})");
        kills += 1;
    }
    let (deliveries, compactions) = (all.len(), all.compactions);
    writeln!(std::io::stderr(), "{kills} kills, {deliveries} deliveries acknowledged, {compactions} compactions")
        .unwrap();
}

/// Not a test: what the processes of the next one do.
#[test]
fn late() {
    child::run_late();
}

#[tokio::test]
async fn a_sketch_hides_nothing_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let seed = seed();
    let mut dice = Dice(seed);
    let archive = Archive::open(dir.path(), sample::small()).unwrap();
    // The last one is so much newer than all others that those are sketched.
    let mut inserts = tokio::task::JoinSet::new();
    for n in (0..GAPS).step_by(2).chain([GAPS + 100_000]) {
        let archive = archive.clone();
        inserts.spawn(async move { archive.insert(sample::intake(n)).await.map(drop) });
    }
    inserts.join_all().await.into_iter().for_each(Result::unwrap);
    archive.close().await.unwrap();
    let mut all = child::Acks::new();
    let kills = setting("HEALTHIE_TUNNEL_KILLS", 5);
    for kill in 0..=kills {
        if kill == kills {
            sketched(dir.path()).await;
        }
        let writer = Writer::start_as("late", dir.path(), seed ^ kill);
        writer.wait_for(usize::try_from(dice.below(100) + 20).unwrap(), 0);
        // The first are killed before there are sketches, others half way through, the last one puts what comes into those that there are.
        pass(Duration::from_millis(dice.below(300 * (kill + 1))));
        all.extend(writer.kill());
        let there = check(dir.path(), &all);
        assert!(there as u64 > GAPS / 2, "{there} are left after kill {kill} (seed {seed})");
    }
}

/// Returns when the archive has sketches: then a look at ten deliveries passes over many.
async fn sketched(dir: &Path) {
    let archive = Archive::open(dir, sample::small()).unwrap();
    // Some bodies are so long that their sketches rule out no text; all came from staging.
    let environment = vec![Environment::Production];
    let query = Query { environment, order: Order::OldestFirst, scan_limit: 10, ..Query::default() };
    within(Duration::from_secs(60), "sketches", || (archive.list(&query).unwrap().scanned >= 100).then_some(()));
    archive.close().await.unwrap();
}
