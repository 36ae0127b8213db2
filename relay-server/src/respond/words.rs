//! What is said of each problem: the status, a code for programs, a sentence for people, and when to come again. Nothing of it depends on what was sent.

use hyper::StatusCode;
use tunnel_delivery::TunnelName;
use tunnel_protocol::AnswerFailure;

use super::problem::{Many, Problem, Whose};
use crate::http::head::Refusal;

/// How many tunnels of its own a token's bearer is told by name.
const SHOWN: usize = 20;

/// What is said of a problem.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// In seconds, where trying again is right.
    pub(super) retry_after: Option<u32>,
}

impl Problem {
    pub(super) fn said(&self) -> Said {
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
