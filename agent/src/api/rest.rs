//! What is not about stored deliveries one by one: who is there, how things are, synthetic deliveries, signatures of requests from elsewhere, and
//! the store as a whole.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deliveries::Answer;
use super::problem::Problem;
use super::question::{Asked, LONG};
use super::{OPENAPI, Shared, VERSION};
use crate::control::{Checked, Examine, Explained, Hello, Shrunk, Status, Totals, Trigger, Triggered};
use crate::forward::TargetUrl;
use crate::request_text::Written;
use crate::trigger::forge::Tamper;

/// Touches nothing that could make it wait: whoever asks only wants to know who is there.
pub(super) async fn hello() -> Json<Hello> {
    Json(Hello { pid: std::process::id(), software: crate::listen::SOFTWARE.to_owned(), api: VERSION })
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Answer<Status> {
    Ok(Json(shared.ops.status().await?))
}

pub(super) async fn totals(State(shared): State<Arc<Shared>>) -> Json<Totals> {
    Json(shared.ops.totals())
}

/// Whether deliveries wait instead of being forwarded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForwardingBody {
    paused: bool,
}

/// The same, and whether it was otherwise before.
#[derive(Serialize, Deserialize)]
pub(crate) struct Forwarding {
    paused: bool,
    pub(crate) changed: bool,
}

pub(super) async fn forwarding(
    State(shared): State<Arc<Shared>>,
    Asked(ForwardingBody { paused }): Asked<ForwardingBody>,
) -> Answer<Forwarding> {
    Ok(Json(Forwarding { paused, changed: shared.ops.pause(paused).await? }))
}

/// How the tunnel answers its senders.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    pub(crate) mode: String,
}

pub(super) async fn answer(State(shared): State<Arc<Shared>>, Asked(asked): Asked<AnswerBody>) -> Answer<AnswerBody> {
    let mode = asked.mode.parse().map_err(|e: String| Problem::bad_request(e))?;
    shared.ops.answer(mode).await.map_err(|e| Problem::from(e).conflict())?;
    Ok(Json(asked))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TriggerBody {
    event: String,
    #[serde(default = "guide")]
    reading: String,
    #[serde(default)]
    set: Vec<(String, Value)>,
    direct: Option<TargetUrl>,
    url: Option<String>,
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    secrets: Vec<String>,
    seed: Option<u64>,
    payload: Option<Value>,
    tamper: Option<Tamper>,
    #[serde(default)]
    unsigned: bool,
}

fn guide() -> String {
    "guide".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

pub(super) async fn trigger(
    State(shared): State<Arc<Shared>>,
    Asked(asked): Asked<TriggerBody, LONG>,
) -> Answer<Triggered> {
    let TriggerBody { event, reading, set, direct, url, path, secrets, seed, payload, tamper, unsigned } = asked;
    let seed = seed.unwrap_or_else(|| getrandom::u32().map_or(0, u64::from));
    let trigger = Trigger { event, reading, set, direct, url, path, secrets, seed, payload, tamper, unsigned };
    Ok(Json(shared.ops.trigger(&trigger).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExamineBody {
    request: Written,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    others: Vec<(String, String)>,
}

pub(super) async fn examine(
    State(shared): State<Arc<Shared>>,
    Asked(ExamineBody { request, secrets, others }): Asked<ExamineBody, LONG>,
) -> Answer<Explained> {
    Ok(Json(shared.ops.examine(Examine { request, secrets, others }).await?))
}

pub(super) async fn check(State(shared): State<Arc<Shared>>) -> Answer<Checked> {
    Ok(Json(shared.ops.check().await?))
}

pub(super) async fn compact(State(shared): State<Arc<Shared>>) -> Answer<Shrunk> {
    Ok(Json(shared.ops.compact().await?))
}

pub(super) async fn unknown() -> Problem {
    Problem::new(axum::http::StatusCode::NOT_FOUND, crate::control::Kind::Usage, "there is nothing at this path")
        .hint("`healthie-tunnel api --openapi` has all paths; an agent of another version may have others")
}

pub(super) async fn other_method() -> Problem {
    let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, crate::control::Kind::Usage, "this path has no such method")
        .hint("the line Allow says which it has")
}
