//! Whether forwarding is paused: one switch that the intake, the backlog and the commands share.
//!
//! It lives as long as the process: an agent that starts forwards. What waits meanwhile is the archive's to know, not this file's.

use std::sync::Arc;

use tokio::sync::watch;

/// The switch; clones are the same one.
#[derive(Clone, Debug)]
pub struct Pause(Arc<watch::Sender<bool>>);

impl Default for Pause {
    /// Not paused.
    fn default() -> Pause {
        Pause(Arc::new(watch::Sender::new(false)))
    }
}

impl Pause {
    /// Pauses, or goes on; whether it was otherwise before.
    pub fn set(&self, paused: bool) -> bool {
        self.0.send_if_modified(|now| std::mem::replace(now, paused) != paused)
    }

    /// Whether it is paused.
    pub fn is_on(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it is not paused.
    pub(crate) async fn over(&self) {
        // Fails only where the sender is gone, and this holds it.
        let _ = self.0.subscribe().wait_for(|paused| !*paused).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_the_end_of_a_pause_is_let_go_then() {
        let pause = Pause::default();
        pause.over().await;
        assert!(pause.set(true) && !pause.set(true) && pause.is_on());
        let waits = pause.clone();
        let waiting = tokio::spawn(async move { waits.over().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(pause.set(false));
        tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }
}
