//! What the operator asks: is the process alive, is it at work, what are its figures. Who may ask is decided before; at the public door anybody may ask
//! whether the relay is at work, and is not told why not as far as that names paths or speaks of the disk.

use std::sync::Arc;

use hyper::StatusCode;
use tunnel_spool::SpoolError;

use super::head::Head;
use crate::metrics::{Listener, scrape};
use crate::respond::{self, Answer, Problem};
use crate::shared::Shared;
use crate::tls::certificates::Standing;

/// Answers a question of the operator's, which came in by that door; anything else is not there.
pub(crate) async fn answer(head: &Head, shared: &Arc<Shared>, door: Listener) -> Answer {
    let path = head.target.path();
    if !matches!(path, "/healthz" | "/readyz" | "/metrics") {
        return Problem::NotFound.answer(None);
    }
    if !matches!(head.method.as_str(), "GET" | "HEAD") {
        return Problem::Method("GET, HEAD".into()).answer(None);
    }
    match path {
        "/healthz" => respond::json(StatusCode::OK, &serde_json::json!({ "status": "alive" }), None),
        "/readyz" => ready(shared, door),
        _ => scrape::answer(shared, head.headers.get("accept")).await,
    }
}

fn ready(shared: &Shared, door: Listener) -> Answer {
    let certificates = shared.tls.as_ref().map(|tls| tls.standing(&shared.clock)).unwrap_or_default();
    let usable = certificates.is_empty() || certificates.iter().any(Standing::is_usable);
    let problem = problem(shared.is_stopping(), shared.spool.accepts(), usable, door);
    let (status, mut said) = match problem {
        None => (StatusCode::OK, serde_json::json!({ "status": "ready" })),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "status": "not ready", "message": why })),
    };
    if !certificates.is_empty() {
        said["certificates"] = serde_json::json!(certificates);
    }
    respond::json(status, &said, None)
}

/// Why no deliveries are taken, as far as it may be told at that door.
fn problem(stopping: bool, spool: Result<(), SpoolError>, certificate: bool, door: Listener) -> Option<String> {
    match spool {
        _ if stopping => Some("stopping".to_owned()),
        Err(e) if door == Listener::Admin => Some(e.to_string()),
        Err(_) => Some("deliveries cannot be stored; the relay's log says why".to_owned()),
        Ok(()) if !certificate => Some("there is no certificate for HTTPS that is valid now".to_owned()),
        Ok(()) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_the_spool_has_stopped_is_the_operator_s_business() {
        let failed = || Err(SpoolError::Failed { reason: "/var/lib/secret/spool.redb: I/O error".into() });
        let told = |door| problem(false, failed(), true, door).unwrap();
        let full = || Err(SpoolError::DiskFull { free: 7, reserve: 128 });
        assert!(problem(false, full(), true, Listener::Admin).unwrap().contains("only 7 bytes are free"));
        assert!(told(Listener::Admin).contains("/var/lib/secret"));
        for door in [Listener::Http, Listener::Https] {
            assert_eq!(told(door), "deliveries cannot be stored; the relay's log says why");
            assert_eq!(problem(false, full(), true, door).unwrap(), told(door));
            assert_eq!(problem(false, Ok(()), true, door), None);
            assert!(problem(true, Ok(()), true, door).is_some() && problem(false, Ok(()), false, door).is_some());
        }
    }
}
