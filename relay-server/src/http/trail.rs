//! What each request leaves behind: an id of ours, in its answer and in every line of the log about it; a line of its own; and counts.
//!
//! The line never has more of what the sender chose than the method's name: no path, no query, no header, no body.

use std::future::Future;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, field, info, info_span};
use tunnel_delivery::DeliveryId;

use super::connection::Connection;
use crate::respond::Answer;
use crate::shared::Shared;

/// Names the request in its answer. Whatever a sender sends under this name is a line like any other.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Says with an answer which delivery it answers.
pub(crate) fn of_delivery(mut answer: Answer, id: DeliveryId) -> Answer {
    answer.extensions_mut().insert(OfDelivery(id));
    answer
}

/// Says with an answer what was asked for, in one of a few words.
pub(crate) fn was_for(mut answer: Answer, route: &'static str) -> Answer {
    answer.extensions_mut().insert(WasFor(route));
    answer
}

// They go with the answer as far as here and are not sent.
#[derive(Clone, Copy)]
struct OfDelivery(DeliveryId);
#[derive(Clone, Copy)]
struct WasFor(&'static str);

/// Notes the id in all lines of the log about this request from here on.
pub(crate) fn name(id: DeliveryId) {
    Span::current().record("id", field::display(id));
}

/// Has a request answered, and sees to what it leaves behind.
pub(crate) async fn follow(answering: impl Future<Output = Answer>, connection: &Connection) -> Answer {
    let began = Instant::now();
    let span = info_span!("request", id = field::Empty);
    let mut answer = answering.instrument(span.clone()).await;
    let shared = &connection.shared;
    let id = match answer.extensions_mut().remove() {
        Some(OfDelivery(id)) => id,
        None => shared.ids.next(shared.now()),
    };
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    let WasFor(route) = answer.extensions_mut().remove().unwrap_or(WasFor("refused"));
    shared.metrics.request(route, answer.status().as_u16());
    tell(shared, connection, id, route, answer.status().as_u16(), began.elapsed());
    answer
}

fn tell(shared: &Shared, connection: &Connection, id: DeliveryId, route: &str, status: u16, took: Duration) {
    let (source, listener, us) = (connection.source_ip, connection.listener.as_str(), took.as_micros());
    if shared.config.log_requests {
        info!(%id, %source, listener, route, status, us, "request");
    } else {
        debug!(%id, %source, listener, route, status, us, "request");
    }
}
