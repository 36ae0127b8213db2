//! What the relay answers by itself: the only place where errors become HTTP.
//!
//! Each answer has a short JSON body, `{"error": CODE, "message": SENTENCE}`, for whoever reads the sender's log. None is ever a redirect.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
    SERVER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use tunnel_delivery::{DeliveryId, TunnelName};
use tunnel_protocol::AnswerFailure;
use tunnel_spool::SpoolError;

use crate::http::head::Refusal;
use crate::metrics::Outcome;
use crate::page::{PAGE, POLICY};

/// The body type of every answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Names the delivery in the answer to its sender, so that both sides' logs can be matched.
pub(crate) const DELIVERY_HEADER: HeaderName = HeaderName::from_static("healthie-tunnel-delivery");

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The head was refused before routing.
    Head(Refusal),
    /// No such tunnel, page or endpoint. The same for a name that never was and for one that is somebody else's.
    NotFound,
    /// The body is longer than the limit.
    TooLarge {
        /// In bytes.
        limit: u64,
        /// Whose limit it is.
        of: Whose,
    },
    /// The body did not come in time.
    BodyTimeout,
    /// The body broke off or is not framed rightly.
    BadBody,
    /// The token is missing, unknown, revoked or of another tunnel.
    Unauthorized,
    /// The token opens all of these and it was not said which is meant. Only whoever has it is told.
    WhichTunnel(Vec<TunnelName>),
    /// Too many wrong tokens came from there; so many seconds to wait.
    TooManyAttempts { seconds: u32 },
    /// A session can only be opened by a WebSocket upgrade.
    UpgradeRequired,
    /// Only other methods are answered here: these.
    Method(Cow<'static, str>),
    /// The tunnel takes no deliveries from where this one comes.
    Source,
    /// Too many in a second, of this address or for this tunnel; when there may be one more.
    TooMany {
        /// What they are too many of.
        of: Many,
        /// In seconds.
        retry_after: u32,
    },
    /// The relay holds as many bytes of bodies as it may.
    Overloaded,
    /// There are as many agents as there may be.
    TooManyAgents,
    /// The spool cannot take the delivery now.
    Spool { temporary: bool },
    /// The tunnel's deliveries are sealed, and no device that they are for has told a key.
    NoKey,
    /// Sealing failed.
    NotSealed,
    /// Passthrough, and no agent is connected.
    NoAgent,
    /// Passthrough, and the agent has more on its hands than it takes.
    AgentBusy,
    /// Passthrough, and the handler did not answer in time.
    Timeout,
    /// Passthrough, and the agent went away before the answer.
    AgentGone,
    /// Passthrough, and the agent tells why there is no answer.
    Handler(AnswerFailure),
    /// The relay is stopping.
    Stopping,
    /// The figures could not be gathered in time.
    NoFigures,
}

/// Whose limit was hit: whoever sends must know whom to ask for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The relay's, for all tunnels.
    Relay,
    /// The tunnel's own.
    Tunnel,
}

/// What there may be too many deliveries of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Many {
    /// From one address.
    Address,
    /// For one tunnel.
    Tunnel,
}

/// How many tunnels of its own a token's bearer is told by name.
const SHOWN: usize = 20;

struct Said {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn of_spool(error: &SpoolError) -> Problem {
        match error {
            // What the spool takes at most is a tunnel's share of it.
            SpoolError::TooLarge { limit, .. } => Problem::TooLarge { limit: *limit, of: Whose::Tunnel },
            other => Problem::Spool { temporary: other.is_temporary() },
        }
    }

    /// What a delivery that is answered so is counted as.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Problem::Head(_) | Problem::UpgradeRequired => Outcome::BadHead,
            // Agents only; no delivery is answered so.
            // Or the operator.
            Problem::NotFound
            | Problem::Unauthorized
            | Problem::WhichTunnel(_)
            | Problem::TooManyAttempts { .. }
            | Problem::NoFigures => Outcome::NotFound,
            Problem::TooLarge { .. } => Outcome::BodyTooLarge,
            Problem::BodyTimeout => Outcome::BodyTimeout,
            Problem::BadBody => Outcome::BadBody,
            Problem::Method(_) => Outcome::Method,
            Problem::Source => Outcome::Source,
            Problem::TooMany { .. } => Outcome::RateLimited,
            Problem::Overloaded | Problem::TooManyAgents => Outcome::Overloaded,
            Problem::Spool { temporary: true } => Outcome::SpoolFull,
            Problem::Spool { temporary: false } => Outcome::SpoolFailed,
            Problem::NoKey => Outcome::NoKey,
            Problem::NotSealed => Outcome::NotSealed,
            Problem::NoAgent => Outcome::NoAgent,
            Problem::AgentBusy => Outcome::AgentBusy,
            Problem::Timeout | Problem::Handler(AnswerFailure::Timeout) => Outcome::HandlerTimeout,
            Problem::AgentGone => Outcome::AgentGone,
            Problem::Handler(AnswerFailure::Unreachable) => Outcome::HandlerUnreachable,
            Problem::Handler(AnswerFailure::Broken) => Outcome::HandlerBroken,
            Problem::Handler(AnswerFailure::NotStored) => Outcome::AgentNotStored,
            Problem::Handler(AnswerFailure::NotForwarded) => Outcome::NotForwarded,
            Problem::Handler(AnswerFailure::Paused) => Outcome::AgentPaused,
            Problem::Handler(AnswerFailure::TooLarge) => Outcome::AnswerTooLarge,
            Problem::Handler(AnswerFailure::Other(_)) => Outcome::AgentError,
            Problem::Stopping => Outcome::Stopping,
        }
    }

    fn said(&self) -> Said {
        use StatusCode as S;
        let say = |status, code, message: &str| Said { status, code, message: message.to_owned(), retry_after: None };
        let again = |after, said: Said| Said { retry_after: Some(after), ..said };
        match self {
            Problem::Head(Refusal::TooLarge) => say(
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                "The request's head is longer, or has more lines, than this relay takes.",
            ),
            Problem::Head(Refusal::Version) => {
                say(S::HTTP_VERSION_NOT_SUPPORTED, "http-version", "This is neither HTTP/1.1 nor HTTP/1.0.")
            }
            Problem::Head(Refusal::Misdirected) => say(
                S::MISDIRECTED_REQUEST,
                "misdirected",
                "The Host header names somebody else. If it is a name of this relay, its operator must say so (--host).",
            ),
            Problem::Head(Refusal::Malformed(why)) => say(S::BAD_REQUEST, "malformed-request", why),
            Problem::NotFound => say(
                S::NOT_FOUND,
                "not-found",
                "There is nothing here. If this was meant for a tunnel: there is none of that name.",
            ),
            Problem::TooLarge { limit, of } => {
                let who = match of {
                    Whose::Relay => "this relay",
                    Whose::Tunnel => "this tunnel",
                };
                let message = format!("The body is longer than the {limit} bytes that {who} takes.");
                say(S::PAYLOAD_TOO_LARGE, "body-too-large", &message)
            }
            Problem::BodyTimeout => say(S::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time."),
            Problem::BadBody => say(S::BAD_REQUEST, "bad-body", "The body broke off or its framing is wrong."),
            Problem::Unauthorized => {
                say(S::UNAUTHORIZED, "bad-token", "The token is missing, unknown, revoked, or not for this tunnel.")
            }
            Problem::WhichTunnel(names) => {
                let shown: Vec<&str> = names.iter().take(SHOWN).map(TunnelName::as_str).collect();
                let more = names.len().saturating_sub(SHOWN);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let message =
                    format!("The token opens {}{more}; say which of them with --tunnel NAME.", shown.join(", "));
                say(S::BAD_REQUEST, "which-tunnel", &message)
            }
            Problem::TooManyAttempts { seconds } => again(
                *seconds,
                say(
                    S::TOO_MANY_REQUESTS,
                    "too-many-attempts",
                    "Too many wrong tokens came from this address; try again later. A good token is not held up.",
                ),
            ),
            Problem::UpgradeRequired => {
                say(S::UPGRADE_REQUIRED, "websocket-only", "Agents connect here by WebSocket (version 13).")
            }
            Problem::Method(allowed) => {
                let are = if allowed.contains(',') { "are" } else { "is" };
                say(
                    S::METHOD_NOT_ALLOWED,
                    "method",
                    &format!("Only {} {are} answered here.", allowed.replace(", ", " and ")),
                )
            }
            Problem::Source => say(
                S::FORBIDDEN,
                "source",
                "This tunnel takes no deliveries from the address that this one comes from; its owner decides from which it does.",
            ),
            Problem::TooMany { of, retry_after } => again(
                *retry_after,
                say(
                    S::TOO_MANY_REQUESTS,
                    "too-many-requests",
                    match of {
                        Many::Address => "This address sends more than the relay takes from one; send it again later.",
                        Many::Tunnel => "This tunnel gets more deliveries than it takes; send it again later.",
                    },
                ),
            ),
            Problem::Overloaded => again(
                5,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "The relay has as much in hand as it takes; send it again in a moment.",
                ),
            ),
            Problem::TooManyAgents => again(
                60,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "too-many-agents",
                    "As many agents are connected as this relay allows, of this tunnel or in all; its operator can raise it.",
                ),
            ),
            Problem::Spool { temporary: true } => again(
                30,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "spool-full",
                    "The relay cannot store the delivery just now; send it again later.",
                ),
            ),
            Problem::Spool { temporary: false } => again(
                60,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "spool-failed",
                    "The relay cannot store deliveries; its operator must look at it. Send it again later.",
                ),
            ),
            Problem::NoKey => again(
                60,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "no-key",
                    "This tunnel's deliveries are sealed to the keys of its agents with full access, and it has no such agent at present; send it again later.",
                ),
            ),
            Problem::NotSealed => again(
                30,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "not-sealed",
                    "The delivery could not be sealed and was not stored; send it again later.",
                ),
            ),
            Problem::NoAgent => again(
                30,
                say(S::SERVICE_UNAVAILABLE, "no-agent", "No agent is connected to this tunnel; send it again later."),
            ),
            Problem::AgentBusy => again(
                5,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "agent-busy",
                    "The tunnel's agent has more to do than it takes; send it again later.",
                ),
            ),
            Problem::Timeout => {
                say(S::GATEWAY_TIMEOUT, "handler-timeout", "The handler behind the tunnel did not answer in time.")
            }
            Problem::AgentGone => {
                say(S::BAD_GATEWAY, "agent-gone", "The tunnel's agent went away before the handler's answer came.")
            }
            Problem::Handler(AnswerFailure::Unreachable) => {
                say(S::BAD_GATEWAY, "handler-unreachable", "Nothing accepts connections where the agent forwards to.")
            }
            Problem::Handler(AnswerFailure::Timeout) => {
                say(S::GATEWAY_TIMEOUT, "handler-timeout", "The handler behind the tunnel did not answer in time.")
            }
            Problem::Handler(AnswerFailure::Broken) => say(
                S::BAD_GATEWAY,
                "handler-broken",
                "The handler behind the tunnel closed the connection or did not answer in HTTP.",
            ),
            Problem::Handler(AnswerFailure::NotStored) => again(
                30,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "agent-not-stored",
                    "The tunnel's agent could not store the delivery; send it again later.",
                ),
            ),
            Problem::Handler(AnswerFailure::NotForwarded) => say(
                S::BAD_GATEWAY,
                "not-forwarded",
                "The tunnel's agent is told not to forward this delivery; it was stored.",
            ),
            Problem::Handler(AnswerFailure::Paused) => again(
                30,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "agent-paused",
                    "Forwarding is paused at the tunnel's agent; send it again later.",
                ),
            ),
            Problem::Handler(AnswerFailure::TooLarge) => say(
                S::BAD_GATEWAY,
                "answer-too-large",
                "The handler's answer is longer than what is carried back; the delivery was stored.",
            ),
            Problem::Handler(AnswerFailure::Other(_)) => {
                say(S::BAD_GATEWAY, "agent-error", "The tunnel's agent reports an error that this relay does not know.")
            }
            Problem::NoFigures => again(
                5,
                say(
                    S::SERVICE_UNAVAILABLE,
                    "no-figures",
                    "The figures could not be gathered in time; ask again. Deliveries are another matter: see /readyz.",
                ),
            ),
            Problem::Stopping => {
                again(5, say(S::SERVICE_UNAVAILABLE, "stopping", "The relay is restarting; send it again in a moment."))
            }
        }
    }

    /// The answer to the sender. `id` is the delivery's, where it got one.
    pub(crate) fn answer(&self, id: Option<DeliveryId>) -> Answer {
        let said = self.said();
        let mut answer = json(said.status, &serde_json::json!({ "error": said.code, "message": said.message }), id);
        if let Some(seconds) = said.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Problem::Method(allowed) = self
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            answer.headers_mut().insert(ALLOW, allowed);
        }
        if matches!(self, Problem::UpgradeRequired) {
            answer.headers_mut().insert(hyper::header::UPGRADE, HeaderValue::from_static("websocket"));
            answer.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        }
        // What could not be read to its end cannot be followed by another request.
        if matches!(
            self,
            Problem::Head(_) | Problem::TooLarge { .. } | Problem::BodyTimeout | Problem::BadBody | Problem::Overloaded
        ) {
            answer.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// A small JSON answer.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value, id: Option<DeliveryId>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    name_delivery(answer.headers_mut(), id);
    answer
}

/// The answer to a delivery that is durably spooled.
pub(crate) fn accepted(id: DeliveryId) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"received\":true}")));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    name_delivery(answer.headers_mut(), Some(id));
    answer
}

fn name_delivery(headers: &mut HeaderMap, id: Option<DeliveryId>) {
    if let Some(id) = id
        && let Ok(value) = HeaderValue::from_str(&id.to_string())
    {
        headers.insert(DELIVERY_HEADER, value);
    }
}

/// The handler's own answer, which was made harmless.
pub(crate) fn handlers(mut answer: Answer, id: DeliveryId) -> Answer {
    name_delivery(answer.headers_mut(), Some(id));
    answer
}

/// The page for those who come with a browser, instead of an answer that says the same to a program. Its lines are kept.
pub(crate) fn as_page(mut answer: Answer) -> Answer {
    *answer.body_mut() = Full::from(PAGE);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

/// What every answer says to browsers, whoever made it: that it is what it says it is, that nothing in it may run, and that nobody keeps it. It does not say
/// what program answers.
pub(crate) fn sealed(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.remove(SERVER);
    answer
}

/// The relay's figures.
pub(crate) fn figures(text: String, content_type: &'static str) -> Answer {
    let mut out = Response::new(Full::from(text));
    out.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    out
}

/// The text that an ACME server looks for. It is nothing that a browser would show.
pub(crate) fn acme(text: String) -> Answer {
    let mut out = Response::new(Full::from(text));
    out.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_of_ours_is_a_redirect_and_all_can_be_read_by_programs() {
        let all = [
            Problem::Head(Refusal::TooLarge),
            Problem::Head(Refusal::Version),
            Problem::Head(Refusal::Misdirected),
            Problem::Head(Refusal::Malformed("x")),
            Problem::NotFound,
            Problem::TooLarge { limit: 1, of: Whose::Relay },
            Problem::TooLarge { limit: 1, of: Whose::Tunnel },
            Problem::BodyTimeout,
            Problem::BadBody,
            Problem::Unauthorized,
            Problem::WhichTunnel(vec!["a".parse().unwrap(); 30]),
            Problem::TooManyAttempts { seconds: 3 },
            Problem::UpgradeRequired,
            Problem::Method("GET".into()),
            Problem::Source,
            Problem::TooMany { of: Many::Address, retry_after: 1 },
            Problem::TooMany { of: Many::Tunnel, retry_after: 1 },
            Problem::Overloaded,
            Problem::TooManyAgents,
            Problem::Spool { temporary: true },
            Problem::Spool { temporary: false },
            Problem::NoAgent,
            Problem::AgentBusy,
            Problem::Timeout,
            Problem::AgentGone,
            Problem::Handler(AnswerFailure::Paused),
            Problem::Handler(AnswerFailure::Other(9)),
            Problem::Stopping,
            Problem::NoFigures,
        ];
        for problem in all {
            let answer = problem.answer(None);
            assert!(answer.status().is_client_error() || answer.status().is_server_error(), "{problem:?}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
            // Healthie tries again after a 5xx; where that is right it is told when.
            let temporary = matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), temporary, "{problem:?}");
        }
    }

    #[test]
    fn a_body_that_is_too_long_is_told_for_whom() {
        for (of, who) in [(Whose::Relay, "this relay"), (Whose::Tunnel, "this tunnel")] {
            let said = Problem::TooLarge { limit: 1024, of }.said();
            assert_eq!(said.message, format!("The body is longer than the 1024 bytes that {who} takes."));
        }
    }

    #[test]
    fn methods_are_told_in_a_sentence() {
        let told = |methods: &'static str| Problem::Method(methods.into()).said().message;
        assert_eq!(told("POST"), "Only POST is answered here.");
        assert_eq!(told("POST, PUT"), "Only POST and PUT are answered here.");
    }

    #[test]
    fn a_page_keeps_the_status_and_the_lines_of_what_it_stands_for() {
        let page = sealed(as_page(Problem::Method("POST, PUT".into()).answer(None)));
        assert_eq!(
            (page.status(), &page.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST, PUT".parse().unwrap())
        );
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
    }
}
