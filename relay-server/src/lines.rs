//! The lines of the relay's log that others can have written as often as they like: senders, agents, and faults that each delivery meets again. Each kind is
//! written in full at first; of what follows within a minute there is one line with how many there were. So nobody fills the operator's disk, or hides something in the flood.
//!
//! `--log-requests` is not bounded by this: a line for each request is what it is for.

use tracing::{info, warn};
use tunnel_delivery::Timestamp;

use crate::recurring::{LeftOut, Measure, Recurring};

/// A line, as it is told apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    /// A tunnel has as much in the spool as it may.
    TunnelFull,
    /// The disk has too little room.
    DiskFull,
    /// The spool cannot take a delivery for another reason.
    NotSpooled,
    /// A delivery could not be sealed.
    NotSealed,
    /// An agent's session began.
    AgentConnected,
    /// It ended.
    AgentGone,
    /// It could not begin.
    AgentNotSeated,
    /// An agent is told of what it misses.
    Gap,
    /// A spooled delivery cannot be sent to an agent.
    PassedOver,
    /// The spool cannot be read for an agent.
    NotRead,
    /// A device has another key, or its first one.
    DeviceKey,
    /// An agent changed how its tunnel answers.
    AnswerChanged,
    /// The registry cannot be read, or what it says cannot be brought into force; unknown names have it looked at.
    Registry,
    /// The system did not let a connection be accepted.
    NotAccepted,
    /// A proxy did not say for whom it speaks.
    Proxy,
}

impl Line {
    /// What the log says of those that were left out.
    fn as_str(self) -> &'static str {
        match self {
            Line::TunnelFull => "deliveries that could not be spooled: the tunnel is full",
            Line::DiskFull => "deliveries that could not be spooled: the disk is nearly full",
            Line::NotSpooled => "deliveries that could not be spooled",
            Line::NotSealed => "deliveries that could not be sealed",
            Line::AgentConnected => "agents that connected",
            Line::AgentGone => "agents that went",
            Line::AgentNotSeated => "agents that could not be seated",
            Line::Gap => "agents that were told of a gap",
            Line::PassedOver => "spooled deliveries that were passed over",
            Line::NotRead => "agents that the spool could not be read for",
            Line::DeviceKey => "devices that told a key",
            Line::AnswerChanged => "changes by agents of how their tunnel answers",
            Line::Registry => "looks at tunnels and tokens that failed",
            Line::NotAccepted => "connections that could not be accepted",
            Line::Proxy => "connections of a proxy that did not say who connects",
        }
    }

    /// How many are written in full: one of what is a state, and of what agents do as many as a team's after a restart.
    fn measure(self) -> Measure {
        let at_once = match self {
            Line::TunnelFull | Line::DiskFull | Line::NotSpooled | Line::NotSealed | Line::Registry => 1,
            Line::NotAccepted | Line::Proxy | Line::NotRead => 4,
            Line::AgentNotSeated | Line::PassedOver => 8,
            Line::AgentConnected | Line::AgentGone | Line::Gap | Line::DeviceKey | Line::AnswerChanged => 32,
        };
        Measure { at_once, again: None }
    }
}

/// What was written lately.
#[derive(Debug, Default)]
pub(crate) struct Lines(Recurring<(Line, String)>);

impl Lines {
    /// Whether such a line is to be written now. `of` says whom it is about: a tunnel, or a token where agents choose the rest of it.
    pub(crate) fn tells(&self, line: Line, of: String, now: Timestamp) -> bool {
        self.0.happened(&(line, of), line.measure(), now)
    }

    /// Writes how many were left out since the last time. To be called every minute.
    pub(crate) fn sum_up(&self, now: Timestamp) {
        for LeftOut { kind, times, .. } in self.0.left_out(now) {
            match kind {
                Some((line, of)) if times > 0 => {
                    warn!(of, times, "left out of the log within the last minute: {}", line.as_str());
                }
                Some((line, of)) => info!(of, "no more of what was left out of the log: {}", line.as_str()),
                None => {
                    warn!(times, "left out of the log within the last minute: lines of too many kinds to tell apart");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_once_and_what_agents_do_as_often_as_a_team_does_it() {
        let lines = Lines::default();
        let at = |minute: i64| Timestamp::from_micros(minute * 60_000_000);
        let told = |line, of: &str, minute| (0..1000).filter(|_| lines.tells(line, of.to_owned(), at(minute))).count();
        assert_eq!((told(Line::TunnelFull, "team", 0), told(Line::TunnelFull, "other", 0)), (1, 1), "each for itself");
        assert_eq!((told(Line::DiskFull, "team", 0), told(Line::Registry, "team", 0)), (1, 1), "and each kind");
        assert_eq!((told(Line::Proxy, "192.0.2.1", 0), told(Line::AgentConnected, "0123456789ab", 0)), (4, 32));
        lines.sum_up(at(1));
        assert_eq!(told(Line::TunnelFull, "team", 1), 0, "it still is as it was");
        lines.sum_up(at(2));
        lines.sum_up(at(3));
        assert_eq!((told(Line::TunnelFull, "team", 3), told(Line::AgentConnected, "0123456789ab", 3)), (1, 32));
    }
}
