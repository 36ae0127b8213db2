//! What can come of a delivery, by name.

/// Defines [`Outcome`] so that no variant can be missing from the list of all.
macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// What came of a delivery, as its sender was told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        // Each belongs to whoever refuses for that reason.
        #[allow(dead_code)]
        pub(crate) enum Outcome { $($(#[$doc])* $name,)* }

        impl Outcome {
            /// All there are.
            pub(crate) const ALL: &[Outcome] = &[$(Outcome::$name,)*];

            /// Its name in figures and logs.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Outcome::$name => $label,)* }
            }
        }
    };
}

outcomes! {
    /// Durably spooled, and answered 200.
    Accepted => "accepted",
    /// The handler answered, whatever it said.
    Answered => "answered",
    /// The head was not taken.
    BadHead => "bad_head",
    /// There is no such tunnel.
    NotFound => "not_found",
    /// The tunnel does not answer this method.
    Method => "method",
    /// The tunnel does not take deliveries from this address.
    Source => "source",
    /// Too many in a second.
    RateLimited => "rate_limited",
    /// The relay has as much in hand as it takes.
    Overloaded => "overloaded",
    /// The body is too long.
    BodyTooLarge => "body_too_large",
    /// The body did not come in time.
    BodyTimeout => "body_timeout",
    /// The body broke off or is not framed rightly.
    BadBody => "bad_body",
    /// The spool has no room just now.
    SpoolFull => "spool_full",
    /// The spool has failed.
    SpoolFailed => "spool_failed",
    /// It is to be sealed, and no device has told a key.
    NoKey => "no_key",
    /// It could not be sealed.
    NotSealed => "not_sealed",
    /// No agent is connected.
    NoAgent => "no_agent",
    /// The agents have too much to do.
    AgentBusy => "agent_busy",
    /// The agent went before the answer came.
    AgentGone => "agent_gone",
    /// The agent could not store it.
    AgentNotStored => "agent_not_stored",
    /// The agent is told not to forward it.
    NotForwarded => "not_forwarded",
    /// Forwarding is paused.
    AgentPaused => "agent_paused",
    /// The agent reports something that is not known here.
    AgentError => "agent_error",
    /// The handler did not answer in time.
    HandlerTimeout => "handler_timeout",
    /// Nothing listens where the agent forwards to.
    HandlerUnreachable => "handler_unreachable",
    /// The handler did not answer in HTTP.
    HandlerBroken => "handler_broken",
    /// The handler's answer is too long.
    AnswerTooLarge => "answer_too_large",
    /// The relay is stopping.
    Stopping => "stopping",
    /// The sender went before it could be answered.
    SenderGone => "sender_gone",
}

impl Outcome {
    /// Its place in [`Outcome::ALL`].
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_a_name_of_its_own_that_is_a_label() {
        for (i, outcome) in Outcome::ALL.iter().enumerate() {
            let name = outcome.as_str();
            assert_eq!(outcome.index(), i);
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(Outcome::ALL[..i].iter().all(|other| other.as_str() != name), "{name} is there twice");
        }
    }
}
