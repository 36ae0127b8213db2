//! The signals by which a user ends a command that runs on: the first one ends it in order, the second one at once.

/// Ready at the first SIGINT or SIGTERM since this was called. The next one ends the process, with 128 and the signal's number as shells do.
#[cfg(unix)]
pub(crate) fn end() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    // Here and not when it is first waited for: a signal in between would end the process with its work undone.
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            // Without handlers the signals end the process as they always do.
            return std::future::pending().await;
        };
        let mut next = async move || {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            }
        };
        next().await;
        tokio::spawn(async move { std::process::exit(128 + next().await.as_raw_value()) });
    }
}

/// Returns at the first Ctrl-C; the next one ends the process.
#[cfg(not(unix))]
pub(crate) async fn end() {
    if tokio::signal::ctrl_c().await.is_err() {
        return std::future::pending().await;
    }
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}
