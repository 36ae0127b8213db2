//! `listen --ui log`: a line for each notice, for people. It remembers how long the connection has been away and what was said about it, so that a
//! relay that stays away fills no screen. The JSON form leaves nothing out.

use std::time::Duration;

use tunnel_delivery::{Cause, Summary, Timestamp};

use super::style::{Style, Tone, clock, deliveries, duration, resource, short_id, span};
use crate::notice::{Connection, Notice, Ready, Tried};
use crate::safe_text::SafeText;
use crate::settings::show_size;

/// So many tries in a row that fail for reasons that were told already are told each, in short.
const TOLD_EACH: u32 = 4;
/// After that one in this time.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// How many reasons of one outage are remembered.
const REASONS: usize = 8;

/// The lines.
pub(super) struct Log {
    style: Style,
    outage: Option<Outage>,
}

/// A time without a connection.
struct Outage {
    since: Timestamp,
    tries: u32,
    /// What was told, in full.
    reasons: Vec<String>,
    /// When it was last told of.
    told: Timestamp,
}

impl Log {
    pub(super) fn new(style: Style) -> Log {
        Log { style, outage: None }
    }

    /// The line for a notice, where it is to be told; the times are UTC.
    pub(super) fn line(&mut self, notice: &Notice, now: Timestamp) -> Option<String> {
        let style = self.style;
        let at = |t| style.paint(Tone::Dim, clock(t));
        Some(match notice {
            Notice::Ready(r) => ready(r, now, style),
            Notice::Connection(c) => {
                let (tone, text) = self.connection(c, now)?;
                format!("{} {}", at(now), style.paint(tone, text))
            }
            Notice::Delivery(s) => delivery(s, style),
            Notice::Attempt(t) => attempt(t, now, style),
            Notice::Forwarding { paused } => {
                let text = match paused {
                    true => "forwarding is paused: what comes is stored and waits until `healthie-tunnel resume`",
                    false => "forwarding goes on",
                };
                format!("{} {}", at(now), style.paint(if *paused { Tone::Doubtful } else { Tone::Good }, text))
            }
            Notice::AnswerMode { answer } => {
                let text = format!("the tunnel answers in {answer} from now on");
                format!("{} {}", at(now), style.paint(Tone::Strong, text))
            }
            Notice::Gap { count, reason } => {
                let (what, they) = if *count == 1 { ("is", "it") } else { ("are", "they") };
                let text =
                    format!("{} {what} gone from the relay before {they} could come ({reason})", deliveries(*count));
                format!("{} {}", at(now), style.paint(Tone::Bad, text))
            }
            Notice::Unopened { id, reason, kept } => {
                let then = if *kept { "; it is stored as it came" } else { "; its sender is told to send it again" };
                let text = format!("{id} came sealed and cannot be opened: {}{then}", SafeText::new(reason));
                format!("{} {}", at(now), style.paint(Tone::Bad, text))
            }
            Notice::Removed { count, reason, bytes } => {
                let why = match *reason {
                    "age" => "older than is kept",
                    "count" => "more than are kept",
                    _ => "larger together than is kept",
                };
                let text = format!("removed {}, the oldest, {}: {why}", deliveries(*count), show_size(*bytes));
                format!("{} {}", at(now), style.paint(Tone::Dim, text))
            }
            Notice::Compacted { before, after } => {
                let text = format!("the store's file shrank from {} to {}", show_size(*before), show_size(*after));
                format!("{} {}", at(now), style.paint(Tone::Dim, text))
            }
            Notice::Warning { message } => {
                format!("{} {}", at(now), style.paint(Tone::Doubtful, format!("warning: {}", SafeText::new(message))))
            }
            Notice::LeftOut { count } => {
                let text = format!("{count} lines left out; everything is stored");
                format!("{} {}", at(now), style.paint(Tone::Doubtful, text))
            }
            Notice::Stopped { reason: None } => format!("{} stopped", at(now)),
            // The command says it on stderr.
            Notice::Stopped { reason: Some(_) } => return None,
        })
    }

    fn connection(&mut self, c: &Connection, now: Timestamp) -> Option<(Tone, String)> {
        Some(match c {
            // The line before said when it would be.
            Connection::Connecting { .. } => return None,
            Connection::Connected => match self.outage.take() {
                None => (Tone::Good, "connected".to_owned()),
                Some(o) => {
                    let tries = if o.tries == 1 { "1 try".to_owned() } else { format!("{} tries", o.tries) };
                    (Tone::Good, format!("connected again after {}, {tries}", span(now.since(o.since))))
                }
            },
            Connection::Waiting { delay_ms, reason } => {
                let next = span(Duration::from_millis(*delay_ms));
                let outage = self.outage.get_or_insert(Outage { since: now, tries: 0, reasons: Vec::new(), told: now });
                outage.tries = outage.tries.saturating_add(1);
                let known = outage.reasons.contains(reason);
                if !known && outage.reasons.len() < REASONS {
                    outage.reasons.push(reason.clone());
                } else if outage.tries > TOLD_EACH && now.since(outage.told) < TOLD_EVERY {
                    return None;
                }
                outage.told = now;
                let text = match known {
                    false => format!("no connection: {}; next try in {next}", SafeText::new(reason).cut(500)),
                    true => format!(
                        "still no connection after {}, {} tries; next try in {next}",
                        span(now.since(outage.since)),
                        outage.tries
                    ),
                };
                (Tone::Doubtful, text)
            }
            Connection::Refused { reason } => (Tone::Bad, format!("refused: {}", SafeText::new(reason))),
            Connection::Closed => (Tone::Dim, "connection closed".to_owned()),
        })
    }
}

fn ready(r: &Ready, now: Timestamp, style: Style) -> String {
    let urls: Vec<_> = r.public_urls.iter().map(|u| style.paint(Tone::Strong, SafeText::new(u))).collect();
    let waiting = if r.waiting > 0 { format!(", {} waiting", r.waiting) } else { String::new() };
    let to = match &r.target {
        Some(target) => format!(" → {target}"),
        None if !r.forwards => ", nothing is forwarded".to_owned(),
        // By patterns, or to a command.
        None => String::new(),
    };
    format!(
        "{} ready  {}{to}  (tunnel {}, {}{}{waiting}, device {})",
        style.paint(Tone::Dim, clock(now)),
        urls.join("  "),
        r.tunnel,
        r.answer,
        if r.read_only { ", read-only: this agent answers no sender and changes nothing" } else { "" },
        r.device
    )
}

fn delivery(s: &Summary, style: Style) -> String {
    let event = s.event_type.as_deref().unwrap_or("(no event)");
    let profile = s.profile.as_deref().map_or_else(String::new, |p| format!(" {}", SafeText::new(p)));
    let repeat = match s.duplicate_of {
        Some(first) => {
            style.paint(Tone::Doubtful, format!("  looks like a repeat of {}", short_id(&first.to_string())))
        }
        None => String::new(),
    };
    format!(
        "{} --> {}  {}  {}{profile}  {}{repeat}",
        style.paint(Tone::Dim, clock(s.received_at)),
        SafeText::new(event).cut(60),
        SafeText::new(&resource(s)).cut(60),
        style.signature(s.signature, 0),
        style.paint(Tone::Dim, short_id(&s.id.to_string())),
    )
}

fn attempt(t: &Tried, now: Timestamp, style: Style) -> String {
    let took = (t.duration_ms * 1000.0) as u64;
    let answer = style.answer(&t.summary.answer, 0);
    let event = t.event_type.as_deref().unwrap_or("(no event)");
    let mut marks = String::new();
    if t.cause == Cause::Replay {
        marks.push_str("  replay");
    }
    if t.resigned {
        marks.push_str("  signed again");
    }
    if let Some(e) = &t.error {
        marks.push_str(&format!("  {}", SafeText::new(&e.message).cut(300)));
    }
    if let Some(ms) = t.again_in_ms {
        marks.push_str(&format!("  again in {}", span(Duration::from_millis(ms))));
    }
    format!(
        "{} <-- {}  {}  {answer}  {}{}  {}",
        style.paint(Tone::Dim, clock(now)),
        SafeText::new(event).cut(60),
        SafeText::new(&resource(&t.summary)).cut(60),
        duration(took),
        marks,
        style.paint(Tone::Dim, short_id(&t.delivery.to_string())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn waiting(delay_ms: u64, reason: &str) -> Notice {
        Notice::Connection(Connection::Waiting { delay_ms, reason: reason.into() })
    }

    #[test]
    fn the_log_shows_what_a_peer_says_and_does_not_obey_it() {
        let mut log = Log::new(Style { colour: false });
        let line = log.line(&waiting(250, "gone\u{1b}[2J"), at(0)).unwrap();
        assert_eq!(line, "00:00:00.000 no connection: gone\\u{1b}[2J; next try in 250 ms");
    }

    #[test]
    fn the_ready_line_says_where_deliveries_go_or_that_they_go_nowhere() {
        let mut log = Log::new(Style { colour: false });
        let mut line = |target: Option<&str>, forwards| {
            let ready = Ready {
                relay: "https://relay.test".into(),
                tunnel: "team".parse().unwrap(),
                device: "laptop".parse().unwrap(),
                public_urls: vec!["https://relay.test/t/team".into()],
                answer: "ack",
                read_only: false,
                waiting: 0,
                target: target.map(str::to_owned),
                forwards,
                control: String::new(),
                pid: 1,
            };
            log.line(&Notice::Ready(ready), at(0)).unwrap()
        };
        let told = line(Some("http://localhost:3000"), true);
        assert!(told.contains("/t/team → http://localhost:3000  (") && !told.contains("nothing"), "{told}");
        let told = line(None, false);
        assert!(told.contains("/t/team, nothing is forwarded  (") && !told.contains('→'), "{told}");
        let told = line(None, true);
        assert!(told.contains("/t/team  (") && !told.contains("nothing"), "{told}");
    }

    #[test]
    fn a_relay_that_stays_away_fills_no_screen() {
        let mut log = Log::new(Style { colour: false });
        let connecting = |attempt| Notice::Connection(Connection::Connecting { attempt });
        assert_eq!(log.line(&connecting(1), at(0)), None);
        assert!(log.line(&Notice::Connection(Connection::Connected), at(0)).unwrap().ends_with(" connected"));
        // An hour with a try every ten seconds.
        let mut lines = Vec::new();
        for n in 0..360 {
            lines.extend(log.line(&waiting(10_000, "nobody listens there"), at(10 * n)));
            lines.extend(log.line(&connecting(2), at(10 * n + 9)));
        }
        assert_eq!(lines[0], "00:00:00.000 no connection: nobody listens there; next try in 10.0 s");
        assert_eq!(lines[1], "00:00:10.000 still no connection after 10.0 s, 2 tries; next try in 10.0 s");
        assert!(lines.len() > 50 && lines.len() < 70, "{}: {lines:#?}", lines.len());
        // Another reason is news at once, and the first one told again is not.
        let news = log.line(&waiting(10_000, "503"), at(3601)).unwrap();
        assert!(news.contains("no connection: 503"), "{news}");
        assert_eq!(log.line(&waiting(10_000, "nobody listens there"), at(3611)), None);
        let again = log.line(&Notice::Connection(Connection::Connected), at(3660)).unwrap();
        assert_eq!(again, "01:01:00.000 connected again after 61 min, 362 tries");
        // The next outage begins anew.
        assert!(log.line(&waiting(100, "503"), at(4000)).unwrap().contains("no connection: 503"));
    }

    #[test]
    fn reasons_that_always_differ_do_not_fill_the_memory_nor_the_screen() {
        let mut log = Log::new(Style { colour: false });
        let told = (0..1000).filter_map(|n| log.line(&waiting(10, &n.to_string()), at(n / 10))).count();
        assert!(told < 15, "{told}");
        assert!(log.outage.unwrap().reasons.len() <= REASONS);
    }
}
