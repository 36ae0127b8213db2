//! The local interface of a running agent: the operations of `control` over HTTP on loopback, for commands in other terminals.
//!
//! Whoever asks must show the token from `agent.json` and name the interface by a loopback name; a request that a web page made (it has an
//! Origin) is refused, so that neither DNS rebinding nor a cross-site request gets in.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::control::{
    ControlError, CopyOf, Examine, Export, Follow, Hello, Kind, Load, Operations, Replay, Status, Trigger, Verify,
};

/// The longest question.
const MOST_QUESTION: usize = 1024 * 1024;
/// The longest one that has a request in it: its body is in base64.
const MOST_REQUEST: usize = 2 * crate::request_text::MAX_TEXT;
/// The longest delivery that is brought: a fixture's text, of which every byte may take two in JSON.
const MOST_LOAD: usize = 2 * tunnel_fixture::limits::MAX_FILE as usize + MOST_QUESTION;
/// The longest question that has a body in it.
const MOST_EDITED: usize = 64 * 1024 * 1024;

struct Shared {
    ops: Arc<Operations>,
    token: [u8; 32],
    addr: SocketAddr,
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
    let addr = listener.local_addr()?;
    let shared = Arc::new(Shared { ops, token: tunnel_signature::sha256(token.as_bytes()), addr });
    let router = Router::new()
        .route("/v1/hello", post(hello))
        .route("/v1/status", post(status))
        .route("/v1/get", post(get))
        .route("/v1/list", post(list))
        .route("/v1/groups", post(groups))
        .route("/v1/follow", post(follow))
        .route("/v1/replay", post(replay))
        .route("/v1/aim", post(aim))
        .route("/v1/verify", post(verify))
        .route("/v1/examine", post(examine).layer(DefaultBodyLimit::max(MOST_REQUEST)))
        .route("/v1/copy", post(copy))
        .route("/v1/trigger", post(trigger))
        .route("/v1/load", post(load).layer(DefaultBodyLimit::max(MOST_LOAD)))
        .route("/v1/check", post(check))
        .route("/v1/compact", post(compact))
        .route("/v1/export", post(export))
        .route("/v1/page", post(page))
        .route("/v1/totals", post(totals))
        .route("/v1/mark", post(mark))
        .route("/v1/remove", post(remove))
        .route("/v1/stats", post(stats))
        .route("/v1/pause", post(pause))
        .route("/v1/answer", post(answer))
        .route("/v1/edited", post(edited).layer(DefaultBodyLimit::max(MOST_EDITED)))
        .layer(DefaultBodyLimit::max(MOST_QUESTION))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), admit))
        .with_state(shared);
    tokio::select! {
        served = axum::serve(listener, router) => served,
        // Open streams would hold a graceful end up for ever.
        () = stop => Ok(()),
    }
}

async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match admitted(&shared, request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, why)) => (status, Json(ControlError::new(Kind::Unreachable, why))).into_response(),
    }
}

fn admitted(shared: &Shared, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let port = shared.addr.port();
    if ![format!("127.0.0.1:{port}"), format!("localhost:{port}"), shared.addr.to_string()].iter().any(|h| h == host) {
        return Err((StatusCode::FORBIDDEN, "this interface is only for names of this machine"));
    }
    if headers.contains_key(header::ORIGIN) {
        return Err((StatusCode::FORBIDDEN, "this interface is not for web pages"));
    }
    let shown =
        headers.get(header::AUTHORIZATION).and_then(|h| h.to_str().ok()).and_then(|h| h.strip_prefix("Bearer "));
    // Hashes are compared, so that the time it takes says nothing about the token.
    match shown {
        Some(shown) if tunnel_signature::sha256(shown.as_bytes()) == shared.token => Ok(()),
        _ => Err((StatusCode::UNAUTHORIZED, "show the token that is in agent.json")),
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self.kind {
            Kind::Negative => StatusCode::NOT_FOUND,
            Kind::Usage => StatusCode::BAD_REQUEST,
            Kind::Unreachable | Kind::Damaged => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self)).into_response()
    }
}

type Answer<T> = Result<Json<T>, ControlError>;

fn question<T: DeserializeOwned>(body: &Bytes) -> Result<T, ControlError> {
    serde_json::from_slice(body).map_err(|e| {
        ControlError::new(Kind::Usage, format!("the running agent does not understand this question: {e}"))
            .hint("the agent may be of another version than this program; start it again")
    })
}

/// Touches nothing that could make it wait: whoever asks only wants to know who is there.
async fn hello() -> Json<Hello> {
    Json(Hello { pid: std::process::id(), software: crate::listen::SOFTWARE.to_owned() })
}

async fn status(State(shared): State<Arc<Shared>>) -> Answer<Status> {
    Ok(Json(shared.ops.status().await?))
}

async fn get(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<tunnel_delivery::Stored> {
    Ok(Json(shared.ops.show(&question::<String>(&body)?).await?))
}

async fn list(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Found> {
    Ok(Json(shared.ops.list(&question(&body)?).await?))
}

async fn groups(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Grouped> {
    Ok(Json(shared.ops.groups(&question(&body)?).await?))
}

async fn replay(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Replayed> {
    Ok(Json(shared.ops.replay(&question::<Replay>(&body)?).await?))
}

async fn aim(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Aimed> {
    Ok(Json(shared.ops.aim(&question::<Replay>(&body)?).await?))
}

async fn verify(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Explained> {
    Ok(Json(shared.ops.verify(&question::<Verify>(&body)?).await?))
}

async fn examine(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Explained> {
    Ok(Json(shared.ops.examine(question::<Examine>(&body)?).await?))
}

async fn copy(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Copied> {
    Ok(Json(shared.ops.copy(&question::<CopyOf>(&body)?).await?))
}

async fn trigger(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Triggered> {
    Ok(Json(shared.ops.trigger(&question::<Trigger>(&body)?).await?))
}

async fn load(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Loaded> {
    Ok(Json(shared.ops.load(question::<Load>(&body)?).await?))
}

async fn check(State(shared): State<Arc<Shared>>) -> Answer<crate::control::Checked> {
    Ok(Json(shared.ops.check().await?))
}

async fn compact(State(shared): State<Arc<Shared>>) -> Answer<crate::control::Shrunk> {
    Ok(Json(shared.ops.compact().await?))
}

async fn export(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Response, ControlError> {
    Ok(lines(shared.ops.export(question::<Export>(&body)?)))
}

async fn page(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::PageFound> {
    Ok(Json(shared.ops.page(&question(&body)?).await?))
}

async fn totals(State(shared): State<Arc<Shared>>) -> Json<crate::control::Totals> {
    Json(shared.ops.totals())
}

async fn mark(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<()> {
    Ok(Json(shared.ops.mark(&question(&body)?).await?))
}

async fn remove(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::RemoveDone> {
    Ok(Json(shared.ops.remove(&question(&body)?).await?))
}

async fn stats(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::stats::Stats> {
    Ok(Json(shared.ops.stats(&question(&body)?).await?))
}

async fn edited(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<crate::control::Replayed> {
    Ok(Json(shared.ops.edited(&question(&body)?).await?))
}

async fn pause(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<bool> {
    Ok(Json(shared.ops.pause(question(&body)?)?))
}

async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer<()> {
    let mode = question::<String>(&body)?.parse().map_err(|e: String| ControlError::new(Kind::Usage, e))?;
    Ok(Json(shared.ops.answer(mode).await?))
}

async fn follow(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Response, ControlError> {
    Ok(lines(shared.ops.follow(question::<Follow>(&body)?)))
}

/// JSON lines as they come; whoever makes them ends when nobody takes them any more.
fn lines<T: Serialize + Send + 'static>(lines: mpsc::Receiver<T>) -> Response {
    let stream = futures_util::stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((serde_json::to_string(&line).map(|json| json + "\n"), lines))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}
