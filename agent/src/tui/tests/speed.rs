//! How long a key waits at most: the loop takes in a bounded number of notices before it looks at keys again, and then draws.

use std::sync::Arc;
use std::time::Instant;

use super::super::message::Message;
use super::super::sample;
use super::Bench;
use crate::notice::Notice;

/// As many as `screen` takes in at once.
const AT_ONCE: u32 = 512;

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what is read of it in a release")]
fn what_comes_does_not_keep_a_key_waiting() {
    let mut b = Bench::new((160, 45), true, 600);
    let notices: Vec<_> = (600..600 + AT_ONCE).map(|n| Arc::new(Notice::Delivery(Arc::new(sample::line(n))))).collect();
    let stored: Vec<_> = (600..600 + AT_ONCE).map(|n| (sample::id(n), sample::stored(n))).collect();
    b.all.extend(stored);
    let began = Instant::now();
    for notice in notices {
        b.happens(Message::Notice(notice));
    }
    let took_in = began.elapsed();
    b.press("j");
    b.buffer();
    let drawn = began.elapsed();
    println!("{AT_ONCE} notices: {took_in:?}, with a key and a drawing: {drawn:?}");
    // Without optimisation and beside whatever else the machine does; what it comes to in a release is in the line above.
    assert!(drawn.as_secs() < 20, "{drawn:?}");
}
