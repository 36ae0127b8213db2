//! `/v1/deliveries`: lists, one delivery and its parts, changes to what is kept about it, and what is sent of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use tunnel_delivery::{Attempt, DeliveryId, Headers, Stored, TunnelName};

use super::Shared;
use super::problem::Problem;
use super::question::{Asked, Id, LONG, Params, now};
use crate::control::{
    Aimed, Copied, CopyOf, Edited, Explained, Filter, Grouped, Kind, Load, Loaded, Marking, PageAsk, PageFound, Purged,
    Remove, RemoveDone, Replay, Replayed, StatsAsk, Verify,
};
use crate::forward::TargetUrl;
use crate::query::Query;
use crate::signing::ForwardAs;
use crate::stats::{By, Stats};

pub(super) type Answer<T> = Result<Json<T>, Problem>;

/// The most lines of one list, and how many there are unless asked otherwise.
pub(crate) const MOST_LINES: usize = 1000;
const LINES: usize = 50;
/// How long is looked for a list's lines unless asked otherwise, and at most.
const PATIENCE_MS: u64 = 2_000;
const MOST_PATIENCE_MS: u64 = 10_000;
/// The longest delivery that is brought: a fixture's text, of which every byte may take two in JSON.
const MOST_LOAD: usize = 2 * tunnel_fixture::limits::MAX_FILE as usize + super::question::SHORT;

/// The order of a list.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    #[default]
    Newest,
    Oldest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    query: String,
    limit: Option<usize>,
    #[serde(default)]
    order: Order,
    cursor: Option<String>,
    patience_ms: Option<u64>,
}

fn within(name: &str, given: Option<usize>, standard: usize, most: usize) -> Result<usize, Problem> {
    match given.unwrap_or(standard) {
        n if (1..=most).contains(&n) => Ok(n),
        _ => Err(Problem::bad_request(format!("{name} is a number from 1 to {most}"))),
    }
}

/// What a query means. It is read again by whoever looks, but only here a mistake has its place.
pub(super) fn meaning(query: String) -> Result<Filter, Problem> {
    Query::read(&query, now())?;
    Ok(Filter { query, ..Filter::default() })
}

pub(super) async fn list(State(shared): State<Arc<Shared>>, Params(asked): Params<List>) -> Answer<PageFound> {
    meaning(asked.query.clone())?;
    let limit = within("limit", asked.limit, LINES, MOST_LINES)?;
    let patience = match asked.patience_ms.unwrap_or(PATIENCE_MS) {
        ms if ms <= MOST_PATIENCE_MS => Duration::from_millis(ms),
        _ => return Err(Problem::bad_request(format!("patience_ms is a number from 0 to {MOST_PATIENCE_MS}"))),
    };
    let began = Instant::now();
    let mut ask =
        PageAsk { query: asked.query, oldest_first: asked.order == Order::Oldest, cursor: asked.cursor, limit };
    let mut found = PageFound::default();
    loop {
        ask.limit = limit - found.items.len();
        let page = shared.ops.page(&ask).await?;
        found.items.extend(page.items);
        found.scanned += page.scanned;
        ask.cursor.clone_from(&page.next);
        found.next = page.next;
        if found.next.is_none() || found.items.len() >= limit || began.elapsed() >= patience {
            return Ok(Json(found));
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Groups {
    #[serde(default)]
    query: String,
    limit: Option<usize>,
    #[serde(default)]
    order: Order,
    cursor: Option<String>,
}

pub(super) async fn groups(State(shared): State<Arc<Shared>>, Params(asked): Params<Groups>) -> Answer<Grouped> {
    let filter = Filter {
        limit: Some(within("limit", asked.limit, LINES, MOST_LINES)?),
        oldest_first: asked.order == Order::Oldest,
        cursor: asked.cursor,
        ..meaning(asked.query)?
    };
    Ok(Json(shared.ops.groups(&filter).await?))
}

pub(super) async fn get(State(shared): State<Arc<Shared>>, Id(id): Id) -> Answer<Stored> {
    Ok(Json(shared.ops.show(&id).await?))
}

/// The body as it was sent. Whatever it is, nobody may take it for a page or a script.
pub(super) async fn body(State(shared): State<Arc<Shared>>, Id(id): Id) -> Result<Response, Problem> {
    let stored = shared.ops.get(&id).await?;
    let name = format!("attachment; filename=\"{}.body\"", stored.delivery.id);
    let head: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        // An id is hexadecimal digits and dashes.
        (header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    Ok((head, stored.delivery.body).into_response())
}

pub(super) async fn attempts(State(shared): State<Arc<Shared>>, Id(id): Id) -> Answer<Vec<Attempt>> {
    Ok(Json(shared.ops.get(&id).await?.attempts))
}

/// What is changed; what is not named stays. A note of `null` or the empty text removes the one there is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pinned: Option<bool>,
    #[serde(default, deserialize_with = "named")]
    note: Option<Option<String>>,
}

/// Tells `null` from what is not there.
fn named<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// What is kept about a delivery besides itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Marked {
    id: DeliveryId,
    pinned: bool,
    note: Option<String>,
}

pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    Id(id): Id,
    Asked(change): Asked<Change>,
) -> Answer<Marked> {
    let id = shared.ops.get(&id).await?.delivery.id;
    let note = change.note.map(Option::unwrap_or_default);
    shared.ops.mark(&Marking { id, pinned: change.pinned, note }).await?;
    let stored = shared.ops.get(&id.to_string()).await?;
    Ok(Json(Marked { id, pinned: stored.pinned, note: stored.note }))
}

/// Only by its whole id: `latest` may be another by the time that this is read. What somebody may still need stays.
pub(super) async fn remove(State(shared): State<Arc<Shared>>, Id(id): Id) -> Result<StatusCode, Problem> {
    let whole: DeliveryId = id.parse().map_err(|_| {
        Problem::bad_request(format!("{id:?} is not a whole id")).hint("a delivery is removed by its whole id only")
    })?;
    let done = shared.ops.remove(&Remove { ids: vec![whole.to_string()], ..Remove::default() }).await?;
    let why = match done {
        RemoveDone { removed: 1.., .. } => return Ok(StatusCode::NO_CONTENT),
        RemoveDone { pinned: 1.., .. } => "it is pinned",
        RemoveDone { queued: 1.., .. } => "it waits to be forwarded",
        RemoveDone { .. } => "it came within the last minute, and the relay may send it again",
    };
    let hint = "a POST to /v1/removals removes it all the same where that says so";
    Err(Problem::new(StatusCode::CONFLICT, Kind::Negative, why).hint(hint))
}

/// What is to be removed: these, and all that the query means. An empty one is refused: what was to fill it may be missing by a slip.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveBody {
    #[serde(default)]
    ids: Vec<String>,
    query: Option<String>,
    #[serde(default)]
    pinned: bool,
    #[serde(default)]
    queued: bool,
    #[serde(default)]
    recent: bool,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn removals(State(shared): State<Arc<Shared>>, Asked(asked): Asked<RemoveBody>) -> Answer<RemoveDone> {
    let RemoveBody { ids, query, pinned, queued, recent, dry_run } = asked;
    if query.as_deref().is_some_and(|query| query.trim().is_empty()) {
        return Err(Problem::bad_request("the query is empty; since:beginning means all"));
    }
    let filter = query.map(meaning).transpose()?;
    if ids.is_empty() && filter.is_none() {
        return Err(Problem::bad_request("neither ids nor a query says what is to be removed"));
    }
    let (ops, remove) = (Arc::clone(&shared.ops), Remove { ids, filter, pinned, queued, recent, dry_run });
    if remove.dry_run {
        return Ok(Json(ops.remove(&remove).await?));
    }
    // How much went is noted at the end of it: it comes to that where whoever asked goes away.
    Ok(Json(shared.carry(async move { ops.remove(&remove).await }).await?))
}

/// The tunnel of which nothing is to stay.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeBody {
    tunnel: TunnelName,
}

pub(super) async fn purges(State(shared): State<Arc<Shared>>, Asked(asked): Asked<PurgeBody>) -> Answer<Purged> {
    let ops = Arc::clone(&shared.ops);
    // Half of it done would leave the bytes on the disk: it goes on where whoever asked goes away.
    Ok(Json(shared.carry(async move { ops.purge(&asked.tunnel).await }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatsParams {
    #[serde(default)]
    query: String,
    by: Option<By>,
    buckets: Option<usize>,
}

pub(super) async fn stats(State(shared): State<Arc<Shared>>, Params(asked): Params<StatsParams>) -> Answer<Stats> {
    let buckets = within("buckets", asked.buckets, 24, 1000)?;
    let filter = meaning(asked.query)?;
    Ok(Json(shared.ops.stats(&StatsAsk { filter, by: asked.by, buckets }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayBody {
    to: Option<TargetUrl>,
    forward_as: Option<ForwardAs>,
    #[serde(default)]
    resign: bool,
    #[serde(default)]
    allow_production: bool,
}

impl ReplayBody {
    fn of(self, id: String) -> Replay {
        let ReplayBody { to, forward_as, resign, allow_production } = self;
        Replay { id, to, forward_as, resign, allow_production }
    }
}

pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    Id(id): Id,
    Asked(asked): Asked<ReplayBody>,
) -> Answer<Replayed> {
    let (ops, replay) = (Arc::clone(&shared.ops), asked.of(id));
    Ok(Json(shared.carry(async move { ops.replay(&replay).await }).await?))
}

/// Where it would go, and whether it may.
pub(super) async fn aim(
    State(shared): State<Arc<Shared>>,
    Id(id): Id,
    Asked(asked): Asked<ReplayBody>,
) -> Answer<Aimed> {
    Ok(Json(shared.ops.aim(&asked.of(id)).await?))
}

/// A body in JSON: as text, or in base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    Text(String),
    Base64(String),
}

/// A changed copy; what is not named is as it was sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditedBody {
    to: Option<TargetUrl>,
    method: Option<String>,
    target: Option<String>,
    headers: Option<Headers>,
    body: Option<Content>,
    #[serde(default = "yes")]
    sign: bool,
    #[serde(default)]
    allow_production: bool,
}

fn yes() -> bool {
    true
}

pub(super) async fn edited(
    State(shared): State<Arc<Shared>>,
    Id(id): Id,
    Asked(asked): Asked<EditedBody, LONG>,
) -> Answer<Replayed> {
    let sent = Edited::of(&shared.ops.get(&id).await?);
    let edited = Edited {
        id: sent.id,
        to: asked.to,
        method: asked.method.unwrap_or(sent.method),
        target: asked.target.unwrap_or(sent.target),
        headers: asked.headers.unwrap_or(sent.headers),
        body: match asked.body {
            Some(Content::Base64(body)) => body,
            Some(Content::Text(text)) => Edited::encode(text.as_bytes()),
            None => sent.body,
        },
        sign: asked.sign,
        allow_production: asked.allow_production,
    };
    let ops = Arc::clone(&shared.ops);
    Ok(Json(shared.carry(async move { ops.edited(&edited).await }).await?))
}

pub(super) async fn signature(State(shared): State<Arc<Shared>>, Id(id): Id) -> Answer<Explained> {
    Ok(Json(shared.ops.verify(&Verify { id, ..Verify::default() }).await?))
}

/// Secrets stand in a body, never in an address: addresses are logged and remembered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyBody {
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    others: Vec<(String, String)>,
}

pub(super) async fn verify(
    State(shared): State<Arc<Shared>>,
    Id(id): Id,
    Asked(VerifyBody { secrets, others }): Asked<VerifyBody>,
) -> Answer<Explained> {
    Ok(Json(shared.ops.verify(&Verify { id, secrets, others }).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CopyBody {
    to: Option<TargetUrl>,
    #[serde(default)]
    resign: bool,
    #[serde(default)]
    secrets: Vec<String>,
}

pub(super) async fn copy(
    State(shared): State<Arc<Shared>>,
    Id(id): Id,
    Asked(CopyBody { to, resign, secrets }): Asked<CopyBody>,
) -> Answer<Copied> {
    // Found first: what is refused after that is another kind of no.
    let id = shared.ops.get(&id).await?.delivery.id.to_string();
    let copied = shared.ops.copy(&CopyOf { id, to, resign, secrets }).await;
    copied.map(Json).map_err(|e| Problem::from(e).conflict())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadBody {
    fixture: String,
    tunnel: TunnelName,
    note: Option<String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    nth: u16,
}

pub(super) async fn load(
    State(shared): State<Arc<Shared>>,
    Asked(LoadBody { fixture, tunnel, note, secrets, nth }): Asked<LoadBody, MOST_LOAD>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Loaded>), Problem> {
    let loaded = shared.ops.load(Load { fixture, tunnel, note, secrets, nth }).await?;
    let place = format!("/v1/deliveries/{}", loaded.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(loaded)))
}
