//! Turns: work that goes on in many tasks at once and whose ends are to come in the order in which it began.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Gives turns out. What one turn waits for is the one that was given before it, so nothing is kept for turns that are over.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Option<oneshot::Receiver<()>>>);

impl Turns {
    /// The next turn. While it is neither over nor dropped, all later ones wait.
    pub(crate) fn next(&self) -> Turn {
        let (over, next) = oneshot::channel();
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(next);
        Turn { before, over }
    }
}

/// A turn that was given.
#[derive(Debug)]
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    over: oneshot::Sender<()>,
}

/// Held by the one whose turn it is; the next one's comes when it is dropped.
#[derive(Debug)]
pub(crate) struct Mine {
    /// Never sent on: that it goes is what is waited for.
    _over: oneshot::Sender<()>,
}

impl Turn {
    /// Waits until all earlier turns are over.
    pub(crate) async fn come(self) -> Mine {
        if let Some(before) = self.before {
            // An error is what is waited for: the other end is gone.
            let _ = before.await;
        }
        Mine { _over: self.over }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn ends_come_in_the_order_of_beginnings() {
        let (turns, ended) = (Turns::default(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = Vec::new();
        for n in 0..500_u32 {
            let (turn, ended) = (turns.next(), Arc::clone(&ended));
            tasks.push(tokio::spawn(async move {
                for _ in 0..(n * 7919) % 23 {
                    tokio::task::yield_now().await;
                }
                let mine = turn.come().await;
                ended.lock().unwrap().push(n);
                drop(mine);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*ended.lock().unwrap(), (0..500).collect::<Vec<_>>());
    }
}
