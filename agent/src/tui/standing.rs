//! How things stand, for the line above: where the tunnel is, the connection, the handler, and what came since the inspector opened.

use std::time::Duration;

use tunnel_delivery::{AnswerClass, Cause, Summary, Timestamp};

use tunnel_protocol::AnswerMode;

use crate::control::{Figures, Status};
use crate::notice::{Connection, Notice, Tried};
use crate::standing::State;

/// So long the line says that deliveries never came; `status` says it for longer.
const LATELY: Duration = Duration::from_secs(86_400);

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
    /// Whether this agent may only look.
    pub(crate) read_only: bool,
    /// Whether forwarding is paused.
    pub(crate) paused: bool,
    /// Where deliveries are forwarded to.
    pub(crate) target: Option<String>,
    /// It is known that nothing is forwarded at all.
    pub(crate) forwards_nothing: bool,
    pub(crate) connection: Option<Connection>,
    /// Since when the connection is as it is.
    pub(crate) since: Option<Timestamp>,
    /// When the relay was last heard of.
    pub(crate) heard: Option<Timestamp>,
    /// How long it took to answer the last sign of life, in milliseconds.
    pub(crate) round_trip: Option<f64>,
    /// The agent's process, where it is another one.
    pub(crate) pid: Option<u32>,
    /// Why that agent does not answer, if it does not.
    pub(crate) silent: Option<String>,
    /// How many of those that waited at the relay when the session began have not come yet, as the agent said last: it knows what came of them, also
    /// what was stored already and is told to nobody.
    pub(crate) at_relay: u64,
    /// Deliveries since the inspector opened.
    pub(crate) came: u64,
    /// Attempts since then, at whatever target.
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// How many wait for the handler.
    pub(crate) queued: u64,
    /// Whether there are more of them than were counted.
    pub(crate) queued_more: bool,
    /// How many attempts at the target in a row came to the same, and what the last one came to.
    pub(crate) health: Option<Health>,
    pub(crate) totals: Option<Figures>,
    /// How many deliveries the relay had and could not give any more, as it was told in the last day.
    pub(crate) missed: u64,
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
                self.read_only = r.read_only;
                self.at_relay = r.waiting;
                self.target.clone_from(&r.target);
                self.forwards_nothing = !r.forwards;
                self.heard = Some(now);
            }
            Notice::Forwarding { paused } => self.paused = *paused,
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
                if self.is_of_the_handler(t) {
                    let last = match (&t.error, t.status) {
                        (Some(e), _) => e.kind.as_str().to_owned(),
                        (None, Some(status)) => status.to_string(),
                        (None, None) => "nothing".to_owned(),
                    };
                    let before = self.health.take().filter(|h| h.ok == ok).map_or(0, |h| h.in_a_row);
                    self.health = Some(Health { ok, in_a_row: before + 1, last });
                }
            }
            Notice::Gap { count, reason } => {
                return Some(match count {
                    1 => format!("1 delivery is gone from the relay before it could come ({reason})"),
                    n => format!("{n} deliveries are gone from the relay before they could come ({reason})"),
                });
            }
            Notice::Unopened { id, reason, .. } => {
                return Some(format!("{id} came sealed and cannot be opened: {reason}"));
            }
            Notice::Warning { message } => return Some(message.clone()),
            Notice::Stopped { reason: Some(reason) } => return Some(format!("the agent ended: {reason}")),
            _ => {}
        }
        None
    }

    /// Whether an attempt tells how the handler is that the line names: one at another target tells nothing about it. Where none is named,
    /// what was forwarded tells it.
    fn is_of_the_handler(&self, t: &Tried) -> bool {
        let Some(target) = &self.target else { return t.cause == Cause::Forward };
        t.target.strip_prefix(target.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    /// Takes in how the agent says that it is.
    pub(crate) fn take(&mut self, s: &Status, now: Timestamp) {
        self.totals = Some(s.archive);
        (self.queued, self.queued_more) = (s.waiting.to_forward, s.waiting.to_forward_more);
        self.silent = None;
        self.pid = s.pid;
        self.paused = s.paused;
        self.read_only = s.read_only;
        let lately = s.gaps.iter().filter(|gap| now.since(gap.at) < LATELY);
        self.missed = lately.fold(0, |sum, gap| sum.saturating_add(gap.count));
        if let Some(mode) = s.answer.as_ref().and_then(|a| a.parse::<AnswerMode>().ok()) {
            self.answer = Some(mode.as_str());
        }
        if s.tunnel.is_some() {
            self.tunnel.clone_from(&s.tunnel);
            self.urls.clone_from(&s.public_urls);
        }
        let Some(c) = &s.connection else { return };
        self.at_relay = s.waiting.at_relay.unwrap_or(0);
        let reason = || c.reason.clone().unwrap_or_default();
        self.connection = Some(match c.state {
            State::Connecting => Connection::Connecting { attempt: c.attempt },
            State::Connected => Connection::Connected,
            State::Waiting => Connection::Waiting { delay_ms: c.next_try_ms.unwrap_or(0), reason: reason() },
            State::Refused => Connection::Refused { reason: reason() },
            State::Closed => Connection::Closed,
        });
        self.since = c.since;
        self.heard = c.heard_ms_ago.map(|ms| now.earlier(Duration::from_millis(ms)));
        self.round_trip = c.round_trip_ms;
    }

    /// How the handler of an agent elsewhere is, as the newest lines of the list tell.
    pub(crate) fn judge<'a>(&mut self, newest_first: impl Iterator<Item = &'a Summary>) {
        let mut health: Option<Health> = None;
        for line in newest_first {
            if matches!(line.answer.class, AnswerClass::None | AnswerClass::Queued) {
                continue;
            }
            let ok = line.answer.class == AnswerClass::Success;
            match &mut health {
                None => {
                    let last = line.answer.status.map_or_else(|| "error".to_owned(), |status| status.to_string());
                    health = Some(Health { ok, in_a_row: 1, last });
                }
                Some(health) if health.ok == ok => health.in_a_row += 1,
                Some(_) => break,
            }
        }
        self.health = health;
    }
}
