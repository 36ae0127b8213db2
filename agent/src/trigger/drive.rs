//! Keeps to a schedule: starts each delivery when it is due and tells what came of it. Knows nothing of what a delivery is.

use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until};

use super::schedule::Planned;

/// How many deliveries may be under way where a pace is asked for: the pace must not be that of the slowest answer.
pub const AT_ONCE: usize = 32;

/// A time that does not come.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// Sends all in their order, at most `at_once` at a time, each not before it is due. `told` hears of each as it is answered and may end it.
pub async fn drive<T, R, F: Future<Output = R>>(
    planned: Vec<Planned<T>>,
    at_once: usize,
    send: impl Fn(Planned<T>) -> F,
    mut told: impl FnMut(R) -> ControlFlow<()>,
) {
    let start = Instant::now();
    let mut running = FuturesUnordered::new();
    for one in planned {
        // What waits for an answer waits for all of them.
        let most = if one.after.is_zero() { at_once.max(1) - 1 } else { 0 };
        while running.len() > most {
            if let Some(done) = running.next().await
                && told(done).is_break()
            {
                return;
            }
        }
        if !one.after.is_zero() {
            sleep(one.after).await;
        }
        let mut due = std::pin::pin!(sleep_until(start + one.at.min(NEVER)));
        loop {
            tokio::select! {
                biased;
                // Polled while waiting, or those under way would stand still.
                Some(done) = running.next(), if !running.is_empty() => {
                    if told(done).is_break() {
                        return;
                    }
                }
                () = &mut due => break,
            }
        }
        running.push(send(one));
    }
    while let Some(done) = running.next().await {
        if told(done).is_break() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn planned(all: &[(u32, u64, u64)]) -> Vec<Planned<u32>> {
        let ms = Duration::from_millis;
        all.iter()
            .map(|(what, at, after)| Planned { what: *what, repeat: false, at: ms(*at), after: ms(*after) })
            .collect()
    }

    /// When each was started, in milliseconds, where an answer takes 100 ms; and the order of the answers.
    async fn run(all: &[(u32, u64, u64)], at_once: usize, most: usize) -> (Vec<(u32, u128)>, Vec<u32>) {
        let start = Instant::now();
        let started = RefCell::new(Vec::new());
        let mut answered = Vec::new();
        let send = |one: Planned<u32>| {
            started.borrow_mut().push((one.what, start.elapsed().as_millis()));
            async move {
                sleep(Duration::from_millis(100)).await;
                one.what
            }
        };
        drive(planned(all), at_once, send, |what| {
            answered.push(what);
            if answered.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await;
        (started.into_inner(), answered)
    }

    #[tokio::test(start_paused = true)]
    async fn one_after_the_other_unless_more_may_be_under_way() {
        let all = [(1, 0, 0), (2, 10, 0), (3, 20, 0)];
        assert_eq!(run(&all, 1, 9).await, (vec![(1, 0), (2, 100), (3, 200)], vec![1, 2, 3]));
        assert_eq!(run(&all, 2, 9).await, (vec![(1, 0), (2, 10), (3, 100)], vec![1, 2, 3]));
        assert_eq!(run(&all, 9, 9).await, (vec![(1, 0), (2, 10), (3, 20)], vec![1, 2, 3]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_begins_with_the_last_answer() {
        assert_eq!(run(&[(1, 0, 0), (2, 0, 50)], 9, 9).await.0, [(1, 0), (2, 150)]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_it_is_told_to() {
        assert_eq!(run(&[(1, 0, 0), (2, 0, 0), (3, 0, 0)], 1, 1).await, (vec![(1, 0)], vec![1]));
    }
}
