//! A flag that is raised once and stays up. Whoever waits for it is woken in the order of waiting, so that a simulation comes to pass the same way twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A flag; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<Inner>);

#[derive(Default)]
struct Inner {
    up: AtomicBool,
    waiting: Notify,
}

impl Flag {
    /// Raises it.
    pub(crate) fn raise(&self) {
        self.0.up.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }

    /// Whether it is up.
    pub(crate) fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Acquire)
    }

    /// Returns once it is up.
    pub(crate) async fn raised(&self) {
        // In line before the flag is looked at, so that raising it between the two is not missed.
        let mut in_line = std::pin::pin!(self.0.waiting.notified());
        in_line.as_mut().enable();
        if !self.is_up() {
            in_line.await;
        }
    }
}

/// Raises its flag at the latest when it is dropped.
pub(crate) struct Raiser(pub(crate) Flag);

impl Drop for Raiser {
    fn drop(&mut self) {
        self.0.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_in_order_and_whoever_comes_later_at_once() {
        let (flag, order) = (Flag::default(), Arc::new(std::sync::Mutex::new(Vec::new())));
        let wait = |n: u32| {
            let (flag, order) = (flag.clone(), Arc::clone(&order));
            async move {
                flag.raised().await;
                order.lock().unwrap().push(n);
            }
        };
        let tasks: Vec<_> = (0..50).map(|n| tokio::spawn(wait(n))).collect();
        tokio::task::yield_now().await;
        assert!(!flag.is_up() && order.lock().unwrap().is_empty());
        drop(Raiser(flag.clone()));
        for task in tasks {
            task.await.unwrap();
        }
        wait(50).await;
        assert_eq!(*order.lock().unwrap(), (0..=50).collect::<Vec<_>>());
    }
}
