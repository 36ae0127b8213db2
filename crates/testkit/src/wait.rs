//! Waiting for a condition with a deadline. It owns the deadline of all stories; what is waited for is the caller's.

use std::time::{Duration, Instant};

/// How long a story waits for anything before it gives up: far longer than anything takes, so that a busy machine fails no story.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition that nobody announces is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `look` finds something; for what cannot announce itself (a file, a port). What can, is waited for with
/// [`Log::wait`](crate::Log::wait).
///
/// # Panics
/// After [`DEADLINE`], with `what`.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, look)
}

/// As [`eventually`], with a deadline of its own.
///
/// # Panics
/// After `limit`, with `what`.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Lets time pass. Only for stories in which time itself is what happens: a moment that dice chose, an outage of that length. Never to wait
/// for something.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_was_found() {
        let mut looks = 0;
        let found = eventually("three looks", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "in vain for a train")]
    fn gives_up_and_says_what_it_waited_for() {
        within(Duration::from_millis(1), "a train", || None::<()>);
    }
}
