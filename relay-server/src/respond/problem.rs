//! Why a request is not taken, and what a delivery that is not is counted as. What is said of it is `words`'s.

use std::borrow::Cow;

use tunnel_delivery::TunnelName;
use tunnel_protocol::AnswerFailure;
use tunnel_spool::SpoolError;

use crate::http::head::Refusal;
use crate::metrics::Outcome;

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
}
