//! kill -9 at any moment: everything acknowledged is there afterwards, and the archive goes on. `HEALTHIE_TUNNEL_KILLS` says how often.

#[path = "sample/child.rs"]
mod child;
mod sample;

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
    let (mut kills, mut before) = (0, 0);
    while kills < setting("HEALTHIE_TUNNEL_KILLS", 5) {
        let writer = Writer::start(dir.path(), kills * SPAN);
        writer.wait_for(usize::try_from(dice.below(400) + 1).unwrap());
        let acks = writer.kill();
        assert!(!acks.is_empty(), "nothing was written (seed {seed})");
        all.extend(acks);
        let there = check(dir.path(), &all);
        assert!(there >= all.len() && there > before, "{there} after kill {kills} (seed {seed})");
        before = there;
        kills += 1;
    }
}
