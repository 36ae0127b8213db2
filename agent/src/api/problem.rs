//! Failures as they are told over HTTP: RFC 9457, `application/problem+json`, with the kind that decides a command's exit code and a hint.
//!
//! Owns which failure has which status. It does not own what fails.

use std::ops::Range;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::control::{ControlError, Kind};
use crate::query::QueryError;

/// The content type of a failure.
pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

/// A failure with its status.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    error: ControlError,
    at: Option<Range<usize>>,
}

/// Its JSON. The type is always `about:blank` (RFC 9457, section 4.2.1): the status and the kind say what it is.
#[derive(Serialize, Deserialize)]
struct Json9457 {
    #[serde(rename = "type", default)]
    about: String,
    #[serde(default)]
    title: String,
    status: u16,
    detail: String,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Place>,
}

/// Where a mistake is, in bytes of the text.
#[derive(Serialize, Deserialize)]
struct Place {
    start: usize,
    end: usize,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: Kind, message: impl Into<String>) -> Problem {
        Problem { status, error: ControlError::new(kind, message), at: None }
    }

    /// Asked for wrongly, in a way that is seen before anything is looked for.
    pub(super) fn bad_request(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, Kind::Usage, message)
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.error.hint = Some(hint.into());
        self
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> Kind {
        self.error.kind
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        &self.error.message
    }

    /// With this status where it would be 404: there is such a thing, and the answer is no.
    #[must_use]
    pub(super) fn conflict(mut self) -> Problem {
        if self.error.kind == Kind::Negative {
            self.status = StatusCode::CONFLICT;
        }
        self
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Problem {
        let status = match error.kind {
            Kind::Negative => StatusCode::NOT_FOUND,
            Kind::Usage => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Unreachable | Kind::Damaged => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem { status, error, at: None }
    }
}

impl From<QueryError> for Problem {
    fn from(e: QueryError) -> Problem {
        Problem { at: Some(e.at), ..Problem::bad_request(e.why) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, error, at } = self;
        let json = Json9457 {
            about: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: error.message,
            kind: error.kind,
            hint: error.hint,
            at: at.map(|at| Place { start: at.start, end: at.end }),
        };
        let mut response = (status, Json(json)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 15.5.2 asks for it.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A failure as it was told by an agent; `None` where it is not one of this form.
pub(crate) fn read(json: &[u8]) -> Option<ControlError> {
    let read: Json9457 = serde_json::from_slice(json).ok()?;
    Some(ControlError { kind: read.kind, message: read.detail, hint: read.hint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_failure_comes_back_as_it_went() {
        let error = ControlError::new(Kind::Negative, "there is none").hint("look elsewhere");
        let response = Problem::from(error.clone()).into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let told = read(&body).unwrap();
        assert_eq!((told.kind, &told.message, &told.hint), (error.kind, &error.message, &error.hint));
        assert!(read(b"{}").is_none());
    }
}
