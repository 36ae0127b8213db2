//! Kill -9 at random moments: everything that was acknowledged and not taken is there and whole.
//!
//! `HEALTHIE_TUNNEL_KILLS` is the number of kills (5 unless set).

mod sample;
mod writer;

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;

use writer::{Ledger, Writer};

#[test]
fn acknowledged_deliveries_survive_kills() {
    writer::be_the_writer_if_asked();
    let kills: u64 = std::env::var("HEALTHIE_TUNNEL_KILLS").map_or(5, |n| n.parse().expect("a number of kills"));
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    let mut looked_for = 0;
    for round in 1..=kills {
        let writer = Writer::start("acknowledged_deliveries_survive_kills", dir.path(), round);
        let moment = RandomState::new().hash_one(round) % 3000;
        writer.wait(&mut ledger, moment);
        writer.kill(&mut ledger);
        looked_for += ledger.check(dir.path());
    }
    assert!(looked_for > 0);
    let said = format!("{kills} kills, {} acknowledged, {looked_for} looked for, none lost\n", ledger.acknowledged());
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}
