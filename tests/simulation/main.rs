//! Relay, agents and the protocol between them in a deterministic network (turmoil): simulated time, simulated links, and storage in memory that loses
//! what it may lose. A seed decides everything, so that a failure can be played again.
//!
//! `cargo test -p tunnel-stories --test simulation` plays a few dozen seeds; `HEALTHIE_TUNNEL_SEEDS=5000` that many, and `HEALTHIE_TUNNEL_SEED=17` that
//! one, with its log.

#![allow(clippy::print_stderr, reason = "the log of a seed and the sums are for whoever runs this")]

mod chance;
mod hall;
mod handler;
mod http;
mod keep;
mod log;
mod net;
mod patience;
mod plan;
mod process;
mod sender;
mod spool;
mod verdict;
mod world;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use verdict::Checked;

/// So many seeds where nobody says otherwise.
const SEEDS: u64 = 48;

thread_local! {
    /// Panics of this thread. A task's panic ends that task only, so that it has to be counted to be seen.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|n| n.set(n.get() + 1));
            usual(info);
        }));
    });
}

/// Plays a seed; gives what was checked, what is wrong, and the log.
fn play(seed: u64) -> (Checked, Vec<String>, Vec<String>) {
    count_panics();
    let before = PANICS.with(Cell::get);
    let data = tempfile::tempdir().expect("a folder");
    let scene = world::run(seed, data.path());
    let checked = verdict::check(&scene);
    let panics = PANICS.with(Cell::get) - before;
    if panics > 0 {
        scene.log.wrong(format_args!("{panics} tasks panicked"));
    }
    (checked, scene.log.wrongs(), scene.log.lines())
}

fn number(name: &str) -> Option<u64> {
    let set = tunnel_testkit::setting(name, u64::MAX);
    (set < u64::MAX).then_some(set)
}

#[test]
fn whatever_happens_everything_answered_arrives_once_and_whole() {
    if let Some(seed) = number("HEALTHIE_TUNNEL_SEED") {
        let (checked, wrong, lines) = play(seed);
        for line in lines {
            eprintln!("{line}");
        }
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        eprintln!("seed {seed}: {checked:?}");
        return;
    }
    let seeds = number("HEALTHIE_TUNNEL_SEEDS").unwrap_or(SEEDS);
    let began = std::time::Instant::now();
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Checked::default());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failed.lock().unwrap_or_else(PoisonError::into_inner).len() >= 5;
                    if seed >= seeds || enough {
                        return;
                    }
                    let (checked, wrong, _) = play(seed);
                    if !wrong.is_empty() {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, wrong));
                    }
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.requests += checked.requests;
                    sum.answered += checked.answered;
                    sum.stored += checked.stored;
                    sum.dials += checked.dials;
                    sum.faults += checked.faults;
                    sum.seconds += checked.seconds;
                }
            });
        }
    });
    eprintln!("{seeds} seeds in {:?}: {:?}", began.elapsed(), sum.into_inner().unwrap_or_else(PoisonError::into_inner));
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(
        failed.is_empty(),
        "{failed:#?}\nplay one of them again with HEALTHIE_TUNNEL_SEED={} cargo test -p tunnel-stories --test simulation -- --nocapture",
        failed[0].0
    );
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in 100..108 {
        let (first, second) = (play(seed).2, play(seed).2);
        let differ = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(
            differ.map(|at| (&first[at], &second[at])),
            None,
            "seed {seed}: the logs part at line {differ:?} of {}",
            first.len()
        );
        assert_eq!(first.len(), second.len());
    }
}
