//! What happened in a simulation, in order, with the simulated time: for people who look into a failure, and to compare two runs of one seed.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tunnel_delivery::Timestamp;

/// When every simulation begins: 21 November 2025.
const EPOCH_MICROS: i64 = 1_763_714_000_000_000;

/// The log and the clock of one simulation; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Simulated milliseconds, set before each step. A clock of our own, because turmoil's cannot be read while a host is torn down.
    now: AtomicU64,
    lines: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
}

impl Log {
    pub(crate) fn set_now(&self, millis: u64) {
        self.0.now.store(millis, Ordering::Relaxed);
    }

    /// Simulated milliseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.0.now.load(Ordering::Relaxed)
    }

    /// What the wall clock of every host says.
    pub(crate) fn wall_clock(&self) -> Timestamp {
        Timestamp::from_micros(EPOCH_MICROS + i64::try_from(self.now()).unwrap_or(0) * 1000)
    }

    /// Something happened.
    pub(crate) fn say(&self, what: impl std::fmt::Display) {
        let mut line = String::new();
        let _ = write!(line, "{:>8} {what}", self.now());
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Something happened that must not.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) {
        self.say(format_args!("WRONG: {what}"));
        self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_string());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
