//! `status`: how the agent and the store are at this moment.

use std::time::Duration;

use super::arguments::{self, Data, Gather};
use super::style::{Style, Tone, counted, date_time, deliveries, span};
use super::{Context, Failure, Output};
use crate::control::Status;
use crate::gaps::Missed;
use crate::pause::Pause;
use crate::safe_text::SafeText;
use crate::settings::{show_age, show_size};
use crate::standing::{ConnectionStatus, State};
use crate::upkeep::Upkept;

/// Show how the agent and the store are now; exit 1 if no agent runs or it has no connection
///
/// The connection to the relay, since when, and the next try where there is none; what the relay had and could not give any more; what waits at the relay and to be forwarded; what is stored, what
/// is kept, and what was removed last.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let control = arguments::local(&settings)?.connect().await?;
    let status = control.status().await;
    control.close().await;
    let mut status = status?;
    // A pause outlives the agent.
    status.paused |= !status.running && Pause::kept_in(&settings.data()?).is_on();
    let out = &mut context.out;
    if args.json {
        out.json(&status)?;
    } else {
        print(&status, arguments::now(), out)?;
    }
    out.flush()?;
    match &status.connection {
        Some(c) if c.state == State::Connected => Ok(()),
        // What was printed says it.
        _ => Err(Failure::negative("")),
    }
}

fn print(s: &Status, now: tunnel_delivery::Timestamp, out: &mut Output) -> Result<(), Failure> {
    let style = out.style;
    for (name, value) in lines(s, now, style) {
        out.line(&format!("{}  {value}", style.paint(Tone::Dim, format!("{name:>10}"))))?;
    }
    Ok(())
}

/// What is printed, by name.
fn lines(s: &Status, now: tunnel_delivery::Timestamp, style: Style) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    match s.pid {
        Some(pid) => all.push(("agent", format!("runs, process {pid}, {}", SafeText::new(&s.software)))),
        None => all.push(("agent", style.paint(Tone::Doubtful, "does not run; `healthie-tunnel listen` starts it"))),
    }
    if let Some(c) = &s.connection {
        all.push(("connection", connection(c, now, style)));
        if let Some(reason) = &c.reason {
            all.push(("", SafeText::new(reason).to_string()));
        }
    }
    for (name, value) in [("relay", &s.relay), ("tunnel", &s.tunnel), ("device", &s.device)] {
        all.extend(value.as_ref().map(|v| (name, SafeText::new(v).to_string())));
    }
    for url in &s.public_urls {
        all.push(("address", SafeText::new(url).to_string()));
    }
    if let Some(answer) = &s.answer {
        all.push(("answers", SafeText::new(answer).to_string()));
    }
    if s.sealed == Some(true) {
        all.push((
            "sealed",
            "at the relay, to the keys of the tunnel's agents (`healthie-tunnel key show`)".to_owned(),
        ));
    }
    if s.read_only {
        let text = "read-only; this agent answers no sender and changes nothing";
        all.push(("access", style.paint(Tone::Doubtful, text)));
    }
    if s.paused {
        let text = match s.running {
            true => "paused, deliveries wait; `healthie-tunnel resume` goes on",
            false => "paused, also when an agent starts; `healthie-tunnel resume` then goes on",
        };
        all.push(("forwarding", style.paint(Tone::Doubtful, text)));
    }
    gaps(&s.gaps, now, style, &mut all);
    if s.running {
        let at_relay = s.waiting.at_relay.map_or_else(|| "unknown without a connection".to_owned(), |n| n.to_string());
        all.push(("waiting", format!("at the relay: {at_relay}")));
    }
    let more = if s.waiting.to_forward_more { "more than " } else { "" };
    all.push((if s.running { "" } else { "waiting" }, format!("to be forwarded: {more}{}", s.waiting.to_forward)));
    if s.waiting.to_retry > 0 {
        all.push(("", format!("to be tried again: {}", s.waiting.to_retry)));
    }
    let a = &s.archive;
    all.push((
        "stored",
        format!(
            "{}, {}, {} of bodies, {} on the disk",
            deliveries(a.deliveries),
            counted(a.attempts, "attempt", "attempts"),
            show_size(a.body_bytes),
            show_size(a.disk_bytes)
        ),
    ));
    if let Some(u) = &s.upkeep {
        upkeep(u, now, &mut all);
    }
    all
}

/// What never came, the newest first, a line each; of many the last ones.
fn gaps(gaps: &[Missed], now: tunnel_delivery::Timestamp, style: Style, all: &mut Vec<(&'static str, String)>) {
    const LINES: usize = 3;
    let name = |n| if n == 0 { "gaps" } else { "" };
    for (n, gap) in gaps.iter().rev().take(LINES).enumerate() {
        let lost = format!("{} of {} never came", deliveries(gap.count), SafeText::new(gap.tunnel.as_str()));
        let why = match &*gap.reason {
            "age" => "older than what the relay keeps",
            "size" => "more than the relay keeps for the tunnel",
            "removed" => "removed at the relay",
            "unreadable" => "unreadable at the relay",
            _ => "gone from the relay",
        };
        let (ago, at) = (span(now.since(gap.at)), date_time(gap.at));
        all.push((name(n), format!("{}: {why}; told {ago} ago ({at} UTC)", style.paint(Tone::Bad, lost))));
    }
    let before = gaps.iter().rev().skip(LINES);
    let (lines, count) = before.fold((0, 0_u64), |(lines, count), gap| (lines + 1, count.saturating_add(gap.count)));
    if lines > 0 {
        all.push(("", format!("and before that {} in the last 30 days (--json has all)", deliveries(count))));
    }
}

fn connection(c: &ConnectionStatus, now: tunnel_delivery::Timestamp, style: Style) -> String {
    let since =
        c.since.map_or_else(String::new, |at| format!(" for {} (since {} UTC)", span(now.since(at)), date_time(at)));
    match c.state {
        State::Connected => {
            let heard = c.heard_ms_ago.map_or_else(String::new, |ms| {
                format!(", the relay was heard {} ago", span(Duration::from_millis(ms)))
            });
            let answers = c.round_trip_ms.map_or_else(String::new, |ms| format!(" and answers in {ms:.1} ms"));
            format!("{}{since}{heard}{answers}", style.paint(Tone::Good, "connected"))
        }
        State::Waiting => {
            let next = c
                .next_try_ms
                .map_or_else(String::new, |ms| format!(", next one in {}", span(Duration::from_millis(ms))));
            format!("{}{since}; try {} failed{next}", style.paint(Tone::Bad, "none"), c.attempt)
        }
        State::Connecting => format!("{}{since}; try {} is under way", style.paint(Tone::Doubtful, "none"), c.attempt),
        State::Refused => format!("{}{since}", style.paint(Tone::Bad, "refused")),
        State::Closed => format!("closed{since}"),
    }
}

fn upkeep(u: &Upkept, now: tunnel_delivery::Timestamp, all: &mut Vec<(&'static str, String)>) {
    let bounds = [
        u.keep_seconds.map(|s| show_age(Duration::from_secs(s))),
        u.keep_count.map(deliveries),
        u.keep_bytes.map(|n| format!("{} ({} now)", show_size(n), show_size(u.record_bytes))),
    ];
    let bounds: Vec<_> = bounds.into_iter().flatten().collect();
    all.push(("kept", if bounds.is_empty() { "everything".to_owned() } else { bounds.join(", ") }));
    if let Some(last) = &u.last {
        let ago = span(now.since(last.at));
        let spared =
            if last.spared > 0 { format!("; {} stay although they are over it", last.spared) } else { String::new() };
        let removed = match last.removed {
            0 => "nothing".to_owned(),
            n => format!("{}, {},", deliveries(n), show_size(last.bytes)),
        };
        all.push(("removed", format!("{removed} when it was last looked, {ago} ago{spared}")));
        if let Some(e) = &last.error {
            all.push(("", SafeText::new(e).to_string()));
        }
    }
    if let Some(c) = &u.compaction {
        let (before, after) = (show_size(c.before), show_size(c.after));
        all.push(("compacted", format!("from {before} to {after} {} ago", span(now.since(c.at)))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Figures, Waiting};
    use crate::upkeep::Retention;
    use tunnel_delivery::Timestamp;

    fn text(s: &Status) -> String {
        let now = Timestamp::from_micros(1_763_714_000_000_000);
        let lines = lines(s, now, Style { colour: false });
        lines.iter().map(|(name, value)| format!("{name:>10}  {value}\n")).collect()
    }

    #[test]
    fn what_is_said() {
        let now = Timestamp::from_micros(1_763_714_000_000_000);
        let mut s = Status {
            running: true,
            pid: Some(42),
            software: "healthie-tunnel/0".into(),
            relay: Some("https://relay.example.com".into()),
            tunnel: Some("team".into()),
            device: Some("agent-1".into()),
            public_urls: vec!["https://team.relay.example.com/\u{1b}".into()],
            answer: Some("ack".into()),
            sealed: Some(true),
            read_only: true,
            paused: true,
            connection: Some(ConnectionStatus {
                round_trip_ms: Some(12.4),
                state: State::Waiting,
                since: Some(now.earlier(Duration::from_secs(90 * 60))),
                heard_ms_ago: Some(5000),
                attempt: 7,
                next_try_ms: Some(9500),
                reason: Some("nobody listens there".into()),
                at_relay: None,
            }),
            waiting: Waiting { at_relay: None, to_forward: 10_000, to_forward_more: true, to_retry: 3 },
            archive: Figures { deliveries: 3, attempts: 4, body_bytes: 2048, disk_bytes: 1 << 20 },
            upkeep: Some(Upkept {
                keep_seconds: Some(30 * 86_400),
                keep_bytes: Some(4 << 30),
                record_bytes: 5000,
                last: Some(Retention {
                    at: now.earlier(Duration::from_secs(61)),
                    removed: 9,
                    bytes: 900,
                    spared: 2,
                    error: None,
                }),
                ..Upkept::default()
            }),
            gaps: Vec::new(),
        };
        insta::assert_snapshot!("away", text(&s));
        s.connection = Some(ConnectionStatus {
            round_trip_ms: None,
            state: State::Connected,
            attempt: 0,
            next_try_ms: None,
            reason: None,
            ..s.connection.unwrap()
        });
        s.waiting = Waiting { at_relay: Some(12), to_forward: 0, to_forward_more: false, to_retry: 0 };
        s.upkeep = Some(Upkept::default());
        s.read_only = false;
        let gap = |hours: u64, count, reason: &str| Missed {
            at: now.earlier(Duration::from_secs(hours * 3600)),
            tunnel: "team".parse().unwrap(),
            count,
            reason: reason.into(),
        };
        s.gaps = vec![gap(30, 4, "age")];
        insta::assert_snapshot!("connected", text(&s));
        s = Status {
            running: false,
            pid: None,
            connection: None,
            upkeep: None,
            relay: None,
            device: None,
            tunnel: None,
            public_urls: vec![],
            answer: None,
            sealed: None,
            paused: false,
            gaps: vec![
                gap(90, 1, "other"),
                gap(70, 1000, "age"),
                gap(50, 2, "size"),
                gap(30, 1, "unreadable"),
                gap(2, 9, "\u{1b}[2J"),
            ],
            ..s
        };
        insta::assert_snapshot!("no_agent", text(&s));
    }
}
