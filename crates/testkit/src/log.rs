//! A list that grows while others wait for something in it. It owns no thread and reads nothing.

use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// How many of the last entries a failed wait shows.
const SHOWN: usize = 12;

/// A growing list; a clone is another handle on the same list.
pub struct Log<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    entries: Vec<T>,
    ended: bool,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Log { shared: self.shared.clone() }
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        let state = Mutex::new(State { entries: Vec::new(), ended: false });
        Log { shared: Arc::new(Shared { state, changed: Condvar::new() }) }
    }
}

impl<T> Log<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A story that failed while it looked must not hide what the others would say.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry and wakes who waits.
    pub fn push(&self, entry: T) {
        self.state().entries.push(entry);
        self.shared.changed.notify_all();
    }

    /// Says that nothing will come any more: who waits gives up at once.
    pub fn end(&self) {
        self.state().ended = true;
        self.shared.changed.notify_all();
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.state().entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits at most `limit` for the end; whether it came.
    pub fn wait_end(&self, limit: Duration) -> bool {
        let state = self.state();
        let waited = self.shared.changed.wait_timeout_while(state, limit, |s| !s.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl<T: Clone> Log<T> {
    /// What there is.
    pub fn all(&self) -> Vec<T> {
        self.state().entries.clone()
    }

    /// Waits until there is more than the first `already`, and gives it; and whether nothing will come any more.
    pub(crate) fn wait_more(&self, already: usize) -> (Vec<T>, bool) {
        let state = self.state();
        let waited = self.shared.changed.wait_while(state, |s| s.entries.len() <= already && !s.ended);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        (state.entries.get(already..).unwrap_or_default().to_vec(), state.ended)
    }

    /// What was added after the first `already`.
    pub fn after(&self, already: usize) -> Vec<T> {
        self.state().entries.get(already..).unwrap_or_default().to_vec()
    }
}

impl<T: Debug> Log<T> {
    /// Waits until `find` finds something in the list.
    ///
    /// # Panics
    /// After [`DEADLINE`] or when the list has ended, with `what` and the last entries.
    pub fn wait<R>(&self, what: &str, find: impl FnMut(&[T]) -> Option<R>) -> R {
        self.wait_within(DEADLINE, what, find)
    }

    /// As [`Log::wait`], with a deadline of its own.
    ///
    /// # Panics
    /// After `limit` or when the list has ended, with `what` and the last entries.
    pub fn wait_within<R>(&self, limit: Duration, what: &str, mut find: impl FnMut(&[T]) -> Option<R>) -> R {
        let begin = Instant::now();
        let mut state = self.state();
        loop {
            if let Some(found) = find(&state.entries) {
                return found;
            }
            let left = limit.checked_sub(begin.elapsed()).unwrap_or_default();
            if left.is_zero() || state.ended {
                let why = if state.ended { "nothing more will come" } else { "the deadline passed" };
                let from = state.entries.len().saturating_sub(SHOWN);
                let seen = format!("{:#?}", &state.entries[from..]);
                let count = state.entries.len();
                drop(state);
                panic!("waited in vain for {what}: {why}; the last of {count} seen:\n{seen}");
            }
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken_by_what_comes() {
        let log = Log::default();
        let other = log.clone();
        let thread = std::thread::spawn(move || (0..5).for_each(|n| other.push(n)));
        assert_eq!(log.wait("the number 4", |seen| seen.iter().copied().find(|n| *n == 4)), 4);
        thread.join().unwrap();
        assert_eq!(log.all(), [0, 1, 2, 3, 4]);
        assert_eq!(log.after(3), [3, 4]);
    }

    #[test]
    #[should_panic(expected = "nothing more will come")]
    fn an_ended_list_keeps_nobody_waiting() {
        let log = Log::default();
        log.push(1);
        log.end();
        log.wait("a second entry", |seen| seen.get(1).copied());
    }
}
