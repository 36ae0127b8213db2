//! Answers that go on: what comes, as server-sent events; waiting for it; and everything that is stored, as JSON lines.
//!
//! Each holds one of a few seats. What makes a stream waits for whoever reads it, with bounded channels all the way; a follower that is too slow for
//! that is told by a `missed` event how many it did not get, and one that reads nothing is cut off by `socket`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tunnel_delivery::Summary;

use super::Shared;
use super::deliveries::{Answer, meaning};
use super::problem::Problem;
use super::question::Params;
use super::sse;
use crate::control::{Export, Follow, Kind, Told};

/// Streams at once.
pub(super) const STREAMS: usize = 64;
/// How often something is sent where there is nothing to tell, so that both sides notice when the other is gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// The most deliveries that are waited for at once, and how long.
const MOST_WAITED: u64 = 1000;
const MOST_SECONDS: f64 = 600.0;
const SECONDS: f64 = 30.0;

fn seat(shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&shared.seats).try_acquire_owned().map_err(|_| {
        let why = format!("{STREAMS} streams are open already");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Unreachable, why).hint("close one and try again")
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    #[serde(default)]
    query: String,
}

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Params(asked): Params<Meant>,
) -> Result<Response, Problem> {
    let filter = meaning(asked.query)?;
    let from = match headers.get("last-event-id") {
        None => None,
        Some(id) => Some(id.to_str().ok().and_then(sse::read_place).ok_or_else(|| {
            Problem::bad_request("Last-Event-ID is not the id of an event of this stream")
                .hint("leave it out to begin with what comes from now on")
        })?),
    };
    let seat = seat(&shared)?;
    let state = Telling { lines: shared.ops.follow(Follow { filter, from }), held: None, _seat: seat };
    let stream = futures_util::stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) });
    Ok(([(header::CONTENT_TYPE, sse::CONTENT_TYPE)], Body::from_stream(stream)).into_response())
}

/// A stream of events.
struct Telling {
    lines: mpsc::Receiver<Told>,
    held: Option<Told>,
    _seat: OwnedSemaphorePermit,
}

impl Telling {
    /// The next text to send.
    async fn next(&mut self) -> Option<serde_json::Result<String>> {
        let told = match self.held.take() {
            Some(held) => held,
            None => match timeout(SIGN_OF_LIFE, self.lines.recv()).await {
                Ok(told) => told?,
                Err(_) => return Some(Ok(": still here\n\n".to_owned())),
            },
        };
        Some(sse::write(&self.latest(told)))
    }

    /// Of places that wait one behind the other, the last.
    fn latest(&mut self, mut told: Told) -> Told {
        while matches!(told, Told::At(_)) {
            match self.lines.try_recv() {
                Ok(next @ Told::At(_)) => told = next,
                Ok(other) => {
                    self.held = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        told
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[serde(default)]
    query: String,
    count: Option<u64>,
    timeout: Option<String>,
}

/// What was waited for.
#[derive(Serialize, Deserialize)]
pub(super) struct Waited {
    /// Whether all came that were wanted.
    complete: bool,
    /// What came.
    items: Vec<Summary>,
    /// How many came that are not known any more; some of them may have been meant.
    missed: u64,
}

/// How long to wait, of a number without a unit.
fn seconds(timeout: Option<&str>) -> Result<f64, Problem> {
    let Some(text) = timeout else { return Ok(SECONDS) };
    text.parse().ok().filter(|seconds| (0.0..=MOST_SECONDS).contains(seconds)).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        let why = format!("timeout is a number of seconds from 0 to {MOST_SECONDS}, such as 1.5, and not {shown:?}");
        Problem::bad_request(why)
    })
}

pub(super) async fn wait(State(shared): State<Arc<Shared>>, Params(asked): Params<Wait>) -> Answer<Waited> {
    let filter = meaning(asked.query)?;
    let count = asked.count.unwrap_or(1);
    if !(1..=MOST_WAITED).contains(&count) {
        return Err(Problem::bad_request(format!("count is a number from 1 to {MOST_WAITED}")));
    }
    let seconds = seconds(asked.timeout.as_deref())?;
    let _seat = seat(&shared)?;
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut lines = shared.ops.follow(Follow { filter, from: None });
    let mut waited = Waited { complete: false, items: Vec::new(), missed: 0 };
    while !waited.complete {
        match timeout_at(until, lines.recv()).await {
            Ok(Some(Told::Delivery(line))) => waited.items.push(*line),
            Ok(Some(Told::Missed(n))) => waited.missed += n,
            Ok(Some(Told::At(_))) => {}
            Ok(Some(Told::Failed(e))) => return Err(e.into()),
            // The agent ends, or the time is over.
            Ok(None) | Err(_) => break,
        }
        waited.complete = waited.items.len() as u64 >= count;
    }
    Ok(Json(waited))
}

pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    Params(asked): Params<Meant>,
) -> Result<Response, Problem> {
    let export = Export { filter: meaning(asked.query)? };
    let seat = seat(&shared)?;
    Ok(lines(shared.ops.export(export), seat))
}

/// JSON lines as they come; whoever makes them ends when nobody takes them any more.
fn lines<T: Serialize + Send + 'static>(lines: mpsc::Receiver<T>, seat: OwnedSemaphorePermit) -> Response {
    let stream = futures_util::stream::unfold((lines, seat), |(mut lines, seat)| async move {
        let line = lines.recv().await?;
        Some((serde_json::to_string(&line).map(|json| json + "\n"), (lines, seat)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_in_seconds() {
        assert_eq!(seconds(None).unwrap(), SECONDS);
        assert_eq!((seconds(Some("1.5")).unwrap(), seconds(Some("0")).unwrap()), (1.5, 0.0));
        for wrong in ["1s", "", "-1", "NaN", "inf", "1e9"] {
            let problem = seconds(Some(wrong)).unwrap_err();
            assert!(problem.message().contains("number of seconds"), "{wrong}: {}", problem.message());
        }
    }
}
