//! What systemd, or whatever else started the relay with `NOTIFY_SOCKET`, is told: that it is ready, reloads, stops, and is alive. Without one,
//! nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior};

/// Tells it. That nobody listens is no reason not to serve.
pub(super) fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// Deliveries are taken.
pub(super) fn ready() -> NotifyState<'static> {
    NotifyState::Ready
}

/// It is about to end.
pub(super) fn stopping() -> NotifyState<'static> {
    NotifyState::Stopping
}

/// It works.
pub(super) fn alive() -> NotifyState<'static> {
    NotifyState::Watchdog
}

/// It reads again what can be read again; `Type=notify-reload` wants to know when that began.
pub(super) fn reloading() -> Vec<NotifyState<'static>> {
    std::iter::once(NotifyState::Reloading).chain(NotifyState::monotonic_usec_now().ok()).collect()
}

/// When to say that the relay works, if that is wanted (`WatchdogSec=`).
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As the environment asks for it: twice in the time in which silence counts as a failure.
    pub(super) fn new() -> Watchdog {
        Watchdog(sd_notify::watchdog_enabled().map(|within| {
            let mut tick = tokio::time::interval((within / 2).max(Duration::from_millis(10)));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick
        }))
    }

    /// Returns when it is time; never where nobody wants it.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(tick) => drop(tick.tick().await),
            None => std::future::pending().await,
        }
    }
}
