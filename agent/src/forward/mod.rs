//! Handing a delivery to a target: the only HTTP client, and the attempt it makes of what came back.
//!
//! Never verifies and knows no secret: what it sends was prepared by its caller.

mod answer_head;
mod client;
mod head;
mod head_swap;
mod marks;
mod pool;
mod target;

use std::time::Duration;

use bytes::Bytes;
use tunnel_delivery::{Attempt, Cause, ErrorKind, Headers, Timestamp};
use tunnel_protocol::{AnswerBody, AnswerFailure};

pub use client::{Client, Exchange, Interrupt, MAX_ANSWER};
pub use head::{HostHeader, Outgoing, end_to_end};
pub use marks::Marks;
pub use target::{Route, Routes, TargetError, TargetUrl};

/// The most bytes of an answer's body that an attempt keeps.
pub const KEPT_BODY: usize = 256 * 1024;

/// An attempt, and what to tell the sender where the sender waits for the handler's answer.
#[derive(Debug)]
pub struct Attempted {
    /// For the archive.
    pub attempt: Attempt,
    /// For the relay.
    pub answer: Result<AnswerBody, AnswerFailure>,
}

/// What an attempt is made with besides the request.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Why it is made.
    pub cause: Cause,
    /// How long it may take.
    pub limit: Duration,
    /// Whether the sender waits for the answer, so that all of its body is needed.
    pub for_sender: bool,
}

/// Sends `out` to `to`; every outcome is an attempt.
pub async fn attempt(client: &Client, to: &TargetUrl, out: &Outgoing, how: How) -> Attempted {
    let at = Timestamp::from_system(std::time::SystemTime::now());
    let keep = if how.for_sender { MAX_ANSWER } else { KEPT_BODY };
    let exchange = client.exchange(to, out, how.limit, keep).await;
    let kept = if exchange.body.len() > KEPT_BODY {
        // A copy, so that the archive's queue does not hold on to the whole.
        Bytes::copy_from_slice(&exchange.body[..KEPT_BODY])
    } else {
        exchange.body.clone()
    };
    let attempt = Attempt {
        at,
        target: to.url(&out.target),
        cause: how.cause,
        resigned: out.resigned,
        status: exchange.status,
        error: exchange.error.clone(),
        duration: exchange.duration,
        response_headers: exchange.headers.clone(),
        response_truncated: exchange.status.is_some() && (kept.len() < exchange.body.len() || !exchange.complete),
        response_body: kept,
    };
    Attempted { attempt, answer: answer(exchange) }
}

fn answer(exchange: Exchange) -> Result<AnswerBody, AnswerFailure> {
    match (exchange.status, exchange.error) {
        (_, Some(error)) => Err(match error.kind {
            ErrorKind::Connect | ErrorKind::Resolve | ErrorKind::Tls => AnswerFailure::Unreachable,
            ErrorKind::Timeout => AnswerFailure::Timeout,
            _ => AnswerFailure::Broken,
        }),
        (Some(_), None) if !exchange.complete => Err(AnswerFailure::TooLarge),
        (Some(status @ 200..=599), None) => Ok(AnswerBody {
            status,
            headers: end_to_end(&exchange.headers).filter(|l| !l.is("content-length")).cloned().collect::<Headers>(),
            body_len: exchange.body.len() as u64,
            body: exchange.body,
        })
        .and_then(|answer| if answer.fits() { Ok(answer) } else { Err(AnswerFailure::TooLarge) }),
        _ => Err(AnswerFailure::Broken),
    }
}
