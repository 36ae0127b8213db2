//! kill -9 at any moment, also while it is trimmed and compacted: everything acknowledged is there afterwards, and the archive goes on. `HEALTHIE_TUNNEL_KILLS` says how often.

#[path = "sample/child.rs"]
mod child;
mod sample;

use std::io::Write as _;
use std::time::Duration;

use child::{SPAN, Writer, check, seed, setting};
use sample::Dice;

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
        std::thread::sleep(Duration::from_micros(dice.below(60_000)));
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
