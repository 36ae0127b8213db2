//! How far a replay is, on one line of a terminal; nothing where stderr is none.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The line.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Shown or not, for so many requests if that is known.
    pub(super) fn new(shown: bool, requests: Option<u64>) -> Bar {
        // A few times a second: drawing must not be what takes the time.
        let target = if shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(requests, target);
        let bar = Bar(bar);
        bar.style(requests.is_some());
        bar
    }

    fn style(&self, known: bool) {
        let template = if known {
            "{bar:28} {human_pos} of {human_len}  {msg}  {per_sec}  {eta} left"
        } else {
            "{spinner} {human_pos} sent  {msg}  {per_sec}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style.progress_chars("━╸ "));
        }
    }

    /// It is known how many there are.
    pub(super) fn counted(&self, requests: u64) {
        self.0.set_length(requests);
        self.style(true);
    }

    /// One more is done; what came of all of them so far.
    pub(super) fn done(&self, ok: u64, failed: u64) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_message(if failed == 0 { format!("{ok} ok") } else { format!("{ok} ok, {failed} failed") });
        self.0.inc(1);
    }

    /// Prints while the line is out of the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
