//! Many callers at once, each making its next call when the last has returned. What they call is the caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::figures::micros;

/// The most calls in one turn, whatever the time: it bounds disk and memory on a machine that is quicker than expected.
pub(crate) const MOST: u64 = 20_000;

/// What a crowd did.
#[derive(Default)]
pub(crate) struct Crowd {
    /// Calls made.
    pub(crate) done: u64,
    /// From the first call's beginning to the last one's end.
    pub(crate) took: Duration,
    /// How long each call took, in microseconds, in no order.
    pub(crate) micros: Vec<u32>,
}

impl Crowd {
    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }
}

/// Lets `at_once` callers call for about `limit`, each at least once, [`MOST`] calls at most. Each call gets the next of `numbers`.
pub(crate) async fn crowd<F>(
    at_once: usize,
    limit: Duration,
    numbers: &Arc<AtomicU64>,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Result<Crowd, BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let start = Instant::now();
    let end = numbers.load(Ordering::Relaxed) + MOST;
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let (numbers, call) = (Arc::clone(numbers), call.clone());
        callers.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    break;
                }
                let began = Instant::now();
                call(number).await?;
                took.push(micros(began.elapsed()));
                if start.elapsed() >= limit {
                    break;
                }
            }
            Ok::<_, BenchError>(took)
        });
    }
    let mut crowd = Crowd::default();
    while let Some(caller) = callers.join_next().await {
        let took = caller.map_err(|gone| BenchError::Wrong(format!("a caller ended early: {gone}")))??;
        crowd.done += took.len() as u64;
        crowd.micros.extend(took);
    }
    crowd.took = start.elapsed();
    Ok(crowd)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn every_call_has_a_number_of_its_own() {
        let (numbers, seen) = (Arc::new(AtomicU64::new(7)), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&seen);
        let called = crowd(3, Duration::from_millis(5), &numbers, move |n| {
            log.lock().unwrap().push(n);
            async {
                tokio::task::yield_now().await;
                Ok(())
            }
        })
        .await
        .unwrap();
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (7..7 + called.done).collect::<Vec<_>>());
        assert_eq!(called.micros.len() as u64, called.done);
        assert!(called.done >= 3 && called.rate() > 0.0 && called.took >= Duration::from_millis(5));
    }

    #[tokio::test]
    async fn the_first_error_ends_it() {
        let numbers = Arc::new(AtomicU64::new(0));
        let failing = |_| async { Err(BenchError::Interrupted) };
        assert!(crowd(2, Duration::from_secs(600), &numbers, failing).await.is_err());
    }
}
