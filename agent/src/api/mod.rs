//! The local interface of a running agent: the operations of `control` as a REST API on loopback, for commands in other terminals and whatever
//! else a developer lets at it. `openapi.json` describes it, and a test compares the two.
//!
//! Owns paths, statuses and who is let in (`admit`); it does not own what is done. What another part of the program adds goes into [`paths`]
//! and into the file.

mod admit;
mod deliveries;
pub(crate) mod problem;
mod question;
mod rest;
mod socket;
pub(crate) mod sse;
mod stream;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::audit::{asked_by, program, still_asked_by};
use crate::control::{ControlError, Kind, Operations};
use admit::Door;
pub(crate) use deliveries::MOST_LINES;
pub(crate) use rest::{AnswerBody, Forwarding};

/// The version of this interface: it grows where what was there is gone or means something else.
pub const VERSION: u32 = 1;

/// What describes it: OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../../openapi.json");

struct Shared {
    ops: Arc<Operations>,
    door: Door,
    seats: Arc<Semaphore>,
    /// What is carried to its end; it ends with the interface.
    work: Mutex<JoinSet<()>>,
}

impl Shared {
    /// Carries work to its end though whoever asked for it may go away meanwhile: what has been sent to a handler must be recorded.
    async fn carry<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) -> Result<T, ControlError> {
        let (done, doing) = oneshot::channel();
        {
            let mut all = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            while all.try_join_next().is_some() {}
            all.spawn(still_asked_by(async move { drop(done.send(work.await)) }));
        }
        doing.await.unwrap_or_else(|_| Err(ControlError::new(Kind::Unreachable, "the agent ends")))
    }
}

/// One method of one path, and what answers it.
type Entry = (&'static str, &'static str, MethodRouter<Arc<Shared>>);

fn entries() -> Vec<Entry> {
    use {deliveries as d, rest as r, stream as s};
    vec![
        ("/v1/hello", "get", get(r::hello)),
        ("/v1/openapi.json", "get", get(r::openapi)),
        ("/v1/status", "get", get(r::status)),
        ("/v1/totals", "get", get(r::totals)),
        ("/v1/forwarding", "put", put(r::forwarding)),
        ("/v1/answer", "put", put(r::answer)),
        ("/v1/deliveries", "get", get(d::list)),
        ("/v1/deliveries", "post", post(d::load)),
        ("/v1/deliveries/{id}", "get", get(d::get)),
        ("/v1/deliveries/{id}", "patch", patch(d::change)),
        ("/v1/deliveries/{id}", "delete", delete(d::remove)),
        ("/v1/deliveries/{id}/body", "get", get(d::body)),
        ("/v1/deliveries/{id}/attempts", "get", get(d::attempts)),
        ("/v1/deliveries/{id}/signature", "get", get(d::signature)),
        ("/v1/deliveries/{id}/signature", "post", post(d::verify)),
        ("/v1/deliveries/{id}/copy", "post", post(d::copy)),
        ("/v1/deliveries/{id}/replays", "post", post(d::replay)),
        ("/v1/deliveries/{id}/replays/dry-run", "post", post(d::aim)),
        ("/v1/deliveries/{id}/edited-replays", "post", post(d::edited)),
        ("/v1/groups", "get", get(d::groups)),
        ("/v1/stats", "get", get(d::stats)),
        ("/v1/removals", "post", post(d::removals)),
        ("/v1/purges", "post", post(d::purges)),
        ("/v1/signatures", "post", post(r::examine)),
        ("/v1/triggers", "post", post(r::trigger)),
        ("/v1/events", "get", get(s::events)),
        ("/v1/wait", "get", get(s::wait)),
        ("/v1/store/check", "post", post(r::check)),
        ("/v1/store/compact", "post", post(r::compact)),
        ("/v1/store/export", "get", get(s::export)),
    ]
}

/// Every path with a method that it has, in lower case. Whatever has `get` has HEAD too.
pub fn paths() -> Vec<(&'static str, &'static str)> {
    entries().into_iter().map(|(path, method, _)| (path, method)).collect()
}

/// Serves until `stop`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    token: &str,
    ops: Arc<Operations>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let door = Door::new(listener.local_addr()?, token);
    let seats = Arc::new(Semaphore::new(stream::STREAMS));
    let shared = Arc::new(Shared { ops, door, seats, work: Mutex::default() });
    let router = entries().into_iter().fold(Router::new(), |router, (path, _, method)| router.route(path, method));
    let router = router
        .fallback(rest::unknown)
        .method_not_allowed_fallback(rest::other_method)
        // `question` has limits of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), admit))
        .with_state(Arc::clone(&shared));
    let served = socket::serve(listener, router, stop).await;
    let mut work = std::mem::take(&mut *shared.work.lock().unwrap_or_else(PoisonError::into_inner));
    work.shutdown().await;
    served
}

async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut response = match shared.door.admit(&head) {
        Ok(()) => {
            let who = head.headers.get(header::USER_AGENT).and_then(|who| who.to_str().ok()).unwrap_or_default();
            asked_by(program(who), next.run(Request::from_parts(head, body))).await
        }
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    let lines: [(HeaderName, &str); 4] = [
        // What is about patients is not for a cache, and nothing of it is a page, a script, or another page's image.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in lines {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
