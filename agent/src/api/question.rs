//! What is asked: parameters and JSON bodies, read strictly. What is not known is refused by name, so that a slip does not pass for an answer.

use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tunnel_delivery::Timestamp;

use super::problem::Problem;
use crate::control::Kind;

/// The longest body of a question that has no request in it.
pub(super) const SHORT: usize = 1024 * 1024;
/// The longest of one that has: a request's body, which JSON may make six times as long (`\u0000`) and base64 a third longer.
pub(super) const LONG: usize = 64 * 1024 * 1024;
/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The parameters of a question.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Params<T>, Problem> {
        let refused = |e: QueryRejection| Problem::bad_request(format!("a parameter is wrong: {}", e.body_text()));
        let Query(params) = Query::from_request_parts(head, state).await.map_err(refused)?;
        Ok(Params(params))
    }
}

/// The id in the path: `latest`, an id or a part of one.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Id, Problem> {
        let refused = |e: PathRejection| Problem::bad_request(format!("the id cannot be read: {}", e.body_text()));
        let Path(id) = Path::<String>::from_request_parts(head, state).await.map_err(refused)?;
        Ok(Id(id))
    }
}

/// A JSON body of at most so many bytes. A page cannot send one without asking the browser's leave first, which is never given: its content type
/// is none of those that a form may have.
pub(super) struct Asked<T, const MOST: usize = SHORT>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync, const MOST: usize> FromRequest<S> for Asked<T, MOST> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Asked<T, MOST>, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let essence = content_type.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let why = "the body must be JSON and say so: Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::Usage, why));
        }
        let too_long = || {
            let why = format!("the body has more than {MOST} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::Usage, why)
        };
        // What says beforehand that it is too long is not read.
        if request.body().size_hint().lower() > MOST as u64 {
            return Err(too_long());
        }
        let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), MOST).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(e)) if e.is::<LengthLimitError>() => return Err(too_long()),
            Ok(Err(e)) => return Err(Problem::bad_request(format!("the body breaks off: {e}"))),
            Err(_) => {
                let why = format!("the body did not come within {} seconds", PATIENCE.as_secs());
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, Kind::Usage, why));
            }
        };
        // Where fields have names, a list of values without them would do for serde.
        let read = match body.trim_ascii_start() {
            [b'[', ..] => Err(serde::de::Error::custom("it is a list and not an object")),
            _ => serde_json::from_slice(&body),
        };
        read.map(Asked).map_err(|e: serde_json::Error| {
            Problem::bad_request(format!("the body is not what is asked for here: {e}")).hint(
                "`healthie-tunnel api --openapi` describes it; an agent of another version may ask for other things",
            )
        })
    }
}

/// Now.
pub(super) fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}
