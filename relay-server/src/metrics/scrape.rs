//! Answering who asks for the figures: one at a time, off the async workers, within a time.

use std::sync::Arc;
use std::time::Duration;

use super::standing::gather;
use super::text::{Form, text};
use crate::respond::{self, Answer, Problem};
use crate::shared::Shared;

/// How long one answer may take, waiting for its turn included. Prometheus itself gives up after 10 s.
const WITHIN: Duration = Duration::from_secs(10);

/// The figures, in the form that whoever accepts this wants.
pub(crate) async fn answer(shared: &Arc<Shared>, accept: Option<&[u8]>) -> Answer {
    let form = Form::of(accept);
    match tokio::time::timeout(WITHIN, page(shared, form)).await {
        Ok(Some(text)) => respond::figures(text, form.content_type()),
        Ok(None) | Err(_) => {
            tracing::warn!("the figures could not be gathered in time");
            if shared.is_stopping() { Problem::Stopping.answer(None) } else { Problem::NoFigures.answer(None) }
        }
    }
}

async fn page(shared: &Arc<Shared>, form: Form) -> Option<String> {
    let one_at_a_time = Arc::clone(&shared.metrics.scraping).lock_owned().await;
    let gathering = Arc::clone(shared);
    let gathered = shared.offload.run(move || {
        // What blocks goes on where whoever asked has given up; only then is it the next one's turn.
        let _one_at_a_time = one_at_a_time;
        let standing = gather(&gathering);
        let all: Vec<_> = [&gathering.metrics.registry].into_iter().chain(&standing).collect();
        text(&all, form)
    });
    gathered.await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Relay};
    use http_body_util::BodyExt as _;

    #[tokio::test(start_paused = true)]
    async fn figures_that_take_too_long_are_not_said_to_be_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let relay = Relay::start(Config::loopback(dir.path().to_owned())).await.unwrap();
        let shared = Arc::clone(relay.shared());
        // Somebody else's answer takes for ever.
        let held = shared.metrics.scraping.lock().await;
        let answer = answer(&shared, None).await;
        assert_eq!(answer.status(), 503);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("no-figures") && !text.contains("restart"), "{text}");
        drop(held);
        drop(shared);
        relay.stop().await;
    }
}
