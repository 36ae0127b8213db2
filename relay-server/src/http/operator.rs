//! What the operator asks: is the process alive, is it at work, what are its figures. Who may ask is decided before.

use std::sync::Arc;

use hyper::StatusCode;

use super::head::Head;
use crate::metrics::scrape;
use crate::respond::{self, Answer, Problem};
use crate::shared::Shared;
use crate::tls::certificates::Standing;

/// Answers a question of the operator's; anything else is not there.
pub(crate) async fn answer(head: &Head, shared: &Arc<Shared>) -> Answer {
    let path = head.target.path();
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return Problem::NotFound.answer(None);
    }
    if !matches!(head.method.as_str(), "GET" | "HEAD") {
        return Problem::Method("GET, HEAD".into()).answer(None);
    }
    match path {
        "/healthz" => respond::json(StatusCode::OK, &serde_json::json!({ "status": "alive" }), None),
        "/readyz" => ready(shared),
        _ => scrape::answer(shared, head.headers.get("accept")).await,
    }
}

fn ready(shared: &Shared) -> Answer {
    let certificates = shared.tls.as_ref().map(|tls| tls.standing(&shared.clock)).unwrap_or_default();
    let usable = certificates.is_empty() || certificates.iter().any(Standing::is_usable);
    let problem = match shared.spool.usable() {
        _ if shared.is_stopping() => Some("stopping".to_owned()),
        Err(e) => Some(e.to_string()),
        Ok(()) if !usable => Some("there is no certificate for HTTPS that is valid now".to_owned()),
        Ok(()) => None,
    };
    let (status, mut said) = match problem {
        None => (StatusCode::OK, serde_json::json!({ "status": "ready" })),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "status": "not ready", "message": why })),
    };
    if !certificates.is_empty() {
        said["certificates"] = serde_json::json!(certificates);
    }
    respond::json(status, &said, None)
}
