//! Compares what came of each delivery with what should have. Pure.

use std::time::Duration;

use serde::Serialize;
use tunnel_delivery::Stored;

use super::deliveries::Planned;

/// What happened to one delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The event.
    pub event_type: String,
    /// Its resource.
    pub resource_type: String,
    /// What it shows, beyond the ordinary.
    pub case: String,
    /// What should have happened.
    pub expected: String,
    /// What did.
    pub outcome: String,
    /// Whether they are the same.
    pub ok: bool,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every delivery came out as it should.
    pub ok: bool,
    /// Each delivery.
    pub deliveries: Vec<Line>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The whole in a few sentences.
    pub summary: Vec<String>,
}

pub(super) fn compare(planned: &[Planned], stored: &[Stored], took: Duration) -> Report {
    let lines: Vec<Line> = planned.iter().zip(stored).map(|(p, s)| line(p, s)).collect();
    let good = lines.iter().filter(|l| l.ok).count();
    let ok = good == planned.len() && stored.len() == planned.len();
    let valid = planned.iter().filter(|p| p.profile.is_some()).count();
    let again = planned.iter().filter(|p| p.resigned).count();
    let secs = took.as_secs_f64();
    Report {
        ok,
        summary: vec![
            format!("{good} of {} deliveries came out as they should, in {secs:.1} s.", planned.len()),
            format!(
                "{valid} validly signed in three profiles; {again} of them reached the relay by its /t/NAME address and were signed again for \
                 the path that the handler sees."
            ),
            "Each went to a relay on this machine, was durably spooled there, came down a WebSocket, was stored as sent, verified, and \
             handed to a handler that verifies too."
                .into(),
            "Next: `healthie-tunnel listen 3000 --relay URL --token TOKEN --secret SECRET`.".into(),
        ],
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        deliveries: lines,
    }
}

fn line(p: &Planned, s: &Stored) -> Line {
    let expected = describe(p.signature.as_str(), p.profile, p.repeats, &p.answers, p.resigned);
    let answers: Vec<u16> = s.attempts.iter().map(|a| a.status.unwrap_or(0)).collect();
    let profile = s.signature.profile.as_deref();
    let resigned = s.attempts.iter().any(|a| a.resigned);
    let mut outcome = describe(s.signature.status.as_str(), profile, s.duplicate_of.is_some(), &answers, resigned);
    // The lines as sent, and every byte of the body.
    if s.delivery.body != p.body || s.delivery.headers != p.headers || s.delivery.target.as_str() != p.target {
        outcome.push_str(", not stored as it was sent");
    }
    Line {
        event_type: p.event_type.clone(),
        resource_type: p.resource_type.clone(),
        case: p.case.to_owned(),
        ok: outcome == expected,
        expected,
        outcome,
    }
}

fn describe(signature: &str, profile: Option<&str>, repeats: bool, answers: &[u16], resigned: bool) -> String {
    let profile = profile.map_or_else(String::new, |p| format!(" ({p})"));
    let repeats = if repeats { ", a repeat" } else { "" };
    let resigned = if resigned { ", signed again" } else { "" };
    let answers: Vec<String> = answers
        .iter()
        .map(|status| if *status == 0 { "no answer".to_owned() } else { format!("handler {status}") })
        .collect();
    format!("{signature}{profile}{repeats}{resigned}, {}", answers.join(", then "))
}
