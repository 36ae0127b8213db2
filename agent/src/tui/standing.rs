//! How things stand, for the line above: where the tunnel is, the connection, the handler, and what came since the inspector opened.

use tunnel_delivery::{AnswerClass, Cause, Timestamp};

use crate::control::Totals;
use crate::notice::{Connection, Notice};

/// Whose deliveries are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of the agent in this process.
    #[default]
    Ours,
    /// Those of an agent in another one.
    Others,
    /// Those in a store that no agent has open.
    Store,
}

/// All that the line above says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) whose: Whose,
    pub(crate) tunnel: Option<String>,
    pub(crate) urls: Vec<String>,
    /// `ack` or `passthrough`.
    pub(crate) answer: Option<&'static str>,
    /// Where deliveries are forwarded to.
    pub(crate) target: Option<String>,
    pub(crate) connection: Option<Connection>,
    /// Since when the connection is as it is.
    pub(crate) since: Option<Timestamp>,
    /// When the relay was last heard of: a delivery or a change of the connection.
    pub(crate) heard: Option<Timestamp>,
    /// How many waited at the relay when the session began.
    pub(crate) at_relay: u64,
    pub(crate) came: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// How many wait for the handler.
    pub(crate) queued: u64,
    /// How many attempts in a row came to the same, and what the last one came to.
    pub(crate) health: Option<Health>,
    pub(crate) totals: Option<Totals>,
    /// Lines that were left out because there were too many.
    pub(crate) left_out: u64,
}

/// How the handler is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) ok: bool,
    pub(crate) in_a_row: u64,
    /// A status, or what kept it from answering.
    pub(crate) last: String,
}

impl Standing {
    /// Takes a notice in. Gives what the user must read, if anything.
    pub(crate) fn hear(&mut self, notice: &Notice, now: Timestamp) -> Option<String> {
        match notice {
            Notice::Ready(r) => {
                self.tunnel = Some(r.tunnel.to_string());
                self.urls.clone_from(&r.public_urls);
                self.answer = Some(r.answer);
                self.at_relay = r.waiting;
                self.target.clone_from(&r.target);
                self.heard = Some(now);
            }
            Notice::AnswerMode { answer } => self.answer = Some(answer),
            Notice::Connection(c) => {
                self.connection = Some(c.clone());
                self.since = Some(now);
                if *c == Connection::Connected {
                    self.heard = Some(now);
                }
                if let Connection::Refused { reason } = c {
                    return Some(format!("the relay refuses this agent: {reason}"));
                }
            }
            Notice::Delivery(s) => {
                self.heard = Some(now);
                self.came += 1;
                self.at_relay = self.at_relay.saturating_sub(1);
                self.queued += u64::from(s.answer.class == AnswerClass::Queued);
            }
            Notice::Attempt(t) => {
                let ok = t.summary.answer.class == AnswerClass::Success;
                if ok {
                    self.succeeded += 1;
                } else {
                    self.failed += 1;
                }
                if t.cause == Cause::Forward {
                    self.queued = self.queued.saturating_sub(1);
                }
                let last = match (&t.error, t.status) {
                    (Some(e), _) => e.kind.as_str().to_owned(),
                    (None, Some(status)) => status.to_string(),
                    (None, None) => "nothing".to_owned(),
                };
                let before = self.health.take().filter(|h| h.ok == ok).map_or(0, |h| h.in_a_row);
                self.health = Some(Health { ok, in_a_row: before + 1, last });
            }
            Notice::Gap { count, reason } => {
                return Some(match count {
                    1 => format!("1 delivery is gone from the relay before it could come ({reason})"),
                    n => format!("{n} deliveries are gone from the relay before they could come ({reason})"),
                });
            }
            Notice::Warning { message } => return Some(message.clone()),
            Notice::Stopped { reason: Some(reason) } => return Some(format!("the agent ended: {reason}")),
            _ => {}
        }
        None
    }
}
