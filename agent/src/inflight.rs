//! Counts what is under way, so that the end can wait for it.

use std::convert::Infallible;

use tokio::sync::mpsc;

/// Held by whatever is under way.
#[derive(Clone, Debug)]
pub(crate) struct Inflight(
    #[allow(dead_code, reason = "held, not used: its drop is what counts")] mpsc::Sender<Infallible>,
);

/// Waits until nothing is under way.
#[derive(Debug)]
pub(crate) struct Idle(mpsc::Receiver<Infallible>);

/// A pair of both.
pub(crate) fn pair() -> (Inflight, Idle) {
    let (tx, rx) = mpsc::channel(1);
    (Inflight(tx), Idle(rx))
}

impl Idle {
    /// Returns when every [`Inflight`] is gone.
    pub(crate) async fn wait(mut self) {
        // Nothing is ever sent, so this is the channel's end.
        let _ = self.0.recv().await;
    }
}
