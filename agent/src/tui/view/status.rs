//! The line above: where the tunnel is, how the connection and the handler are, and how much came.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::keys::Action;
use super::super::model::Model;
use super::super::standing::{Standing, Whose};
use super::super::text::{Run, Tone, age, count, size};
use super::put;
use crate::notice::Connection;

pub(super) fn draw(m: &Model, area: Rect, buffer: &mut Buffer) {
    let s = &m.standing;
    // The address is what one looks for; all else gives way to it.
    let wide = area.width >= 110;
    let mut first = vec![Run::new(Tone::Strong, if wide { " healthie-tunnel  " } else { " " })];
    let (tone, text) = connection(m, wide);
    let url = s.urls.first().map(|url| Run::new(Tone::Strong, url));
    let looks = if s.read_only { ", read-only" } else { "" };
    let answer = s.answer.map(|answer| Run::new(Tone::Dim, &format!("  {answer}{looks}")));
    let beside = url.as_ref().map_or(0, |url| url.columns() + 2) + answer.as_ref().map_or(0, Run::columns);
    let room = usize::from(area.width).saturating_sub(first[0].columns() + beside);
    first.push(Run::cut(tone, &text, room.max(12)));
    if let Some(url) = url {
        first.push(Run::new(Tone::Plain, "  "));
        first.push(url);
    } else if let Some(tunnel) = &s.tunnel {
        first.push(Run::new(Tone::Plain, &format!("  tunnel {tunnel}")));
    }
    first.extend(answer);
    let figures = figures(s);
    if area.height > 1 {
        put(buffer, area.x, area.y, area.width, &first, m.theme, Style::new());
        let mut second = vec![Run::new(Tone::Plain, " ")];
        if let Some(Connection::Waiting { reason, .. }) = &s.connection {
            second.push(Run::new(Tone::Bad, reason));
        } else {
            second.extend(paused(m));
            second.extend(target(s));
            // A figure that is cut off would be another figure.
            let mut used: usize = second.iter().map(Run::columns).sum();
            second.extend(figures.into_iter().take_while(|run| {
                used += run.columns();
                used <= usize::from(area.width)
            }));
        }
        put(buffer, area.x, area.y + 1, area.width, &second, m.theme, Style::new());
    } else {
        let mut one = first;
        one.push(Run::new(Tone::Plain, "  "));
        one.extend(paused(m));
        one.extend(target(s));
        put(buffer, area.x, area.y, area.width, &one, m.theme, Style::new());
    }
}

fn connection(m: &Model, wide: bool) -> (Tone, String) {
    let s = &m.standing;
    let since = |at: Option<tunnel_delivery::Timestamp>| at.map(|at| age(m.now.since(at))).unwrap_or_default();
    if let (Some(why), Whose::Ours | Whose::Others) = (&s.silent, s.whose) {
        return (Tone::Bad, format!("✗ {why}"));
    }
    let agent = match (s.whose, s.pid) {
        (Whose::Others, Some(pid)) if wide => format!("process {pid}, "),
        _ => String::new(),
    };
    match (&s.connection, s.whose) {
        (_, Whose::Store) => (Tone::Dim, "■ a store that no agent has open".into()),
        (None, Whose::Others) => (Tone::Dim, format!("● {agent}a running agent's")),
        (None, Whose::Ours) => (Tone::Dim, "○ starting".into()),
        (Some(Connection::Connected), _) => {
            let heard = match (s.heard, wide) {
                (None, _) => String::new(),
                (_, true) => format!(", heard {} ago", since(s.heard)),
                (_, false) => format!(", ♥ {}", since(s.heard)),
            };
            let answers = match (s.round_trip, wide) {
                (None, _) => String::new(),
                (Some(ms), true) => format!(", answers in {}", millis(ms)),
                (Some(ms), false) => format!(" ⇄ {}", millis(ms)),
            };
            (Tone::Good, format!("● {agent}connected {}{heard}{answers}", since(s.since)))
        }
        (Some(Connection::Connecting { attempt }), _) => {
            (Tone::Doubtful, format!("○ {agent}connecting, try {attempt}"))
        }
        (Some(Connection::Waiting { .. }), _) => (Tone::Bad, format!("○ {agent}no connection for {}", since(s.since))),
        (Some(Connection::Refused { reason }), _) => (Tone::Bad, format!("✗ {agent}refused: {reason}")),
        (Some(Connection::Closed), _) => (Tone::Dim, format!("○ {agent}closed")),
    }
}

/// `0.4 ms`, `12 ms`.
fn millis(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// That nothing is forwarded, before everything else: it is easily forgotten.
fn paused(m: &Model) -> Option<Run> {
    let key = m.keys.first(Action::Pause).map_or_else(String::new, |key| format!(", {key} goes on"));
    m.standing.paused.then(|| Run::new(Tone::Bad, &format!("‖ paused{key}  ")))
}

fn target(s: &Standing) -> Vec<Run> {
    let mut out = Vec::new();
    if s.whose == Whose::Ours {
        match &s.target {
            Some(target) => out.push(Run::new(Tone::Plain, &format!("→ {target} "))),
            None if s.urls.is_empty() => {}
            None if s.forwards_nothing => out.push(Run::new(Tone::Doubtful, "nothing is forwarded ")),
            None => out.push(Run::new(Tone::Doubtful, "→ forwarded nowhere by default ")),
        }
    }
    if let Some(health) = &s.health {
        let (tone, mark) = if health.ok { (Tone::Good, "✓") } else { (Tone::Bad, "✗") };
        let text = format!("{mark} {} {} in a row  ", health.last, count(health.in_a_row));
        out.push(Run::new(tone, &text));
    } else if !out.is_empty() {
        out.push(Run::new(Tone::Plain, " "));
    }
    out
}

fn figures(s: &Standing) -> Vec<Run> {
    let mut out = Vec::new();
    // What never comes and what waits is what one must know; the rest gives way to it.
    if s.missed > 0 {
        out.push(Run::new(Tone::Bad, &format!("{} never came  ", count(s.missed))));
    }
    if s.queued > 0 {
        let more = if s.queued_more { "+" } else { "" };
        out.push(Run::new(Tone::Doubtful, &format!("{}{more} to forward  ", count(s.queued))));
    }
    if s.at_relay > 0 {
        out.push(Run::new(Tone::Doubtful, &format!("{} at the relay  ", count(s.at_relay))));
    }
    if s.whose == Whose::Ours {
        out.push(Run::new(Tone::Plain, &format!("{} came ", count(s.came))));
        // Attempts are no deliveries: one delivery may have many, at several targets.
        if s.succeeded + s.failed > 0 {
            out.push(Run::new(Tone::Plain, " attempts "));
            out.push(Run::new(Tone::Good, &format!("✓{} ", count(s.succeeded))));
            out.push(Run::new(if s.failed > 0 { Tone::Bad } else { Tone::Dim }, &format!("✗{} ", count(s.failed))));
        }
        if s.left_out > 0 {
            out.push(Run::new(Tone::Dim, &format!("({} not counted) ", count(s.left_out))));
        }
    }
    if let Some(totals) = s.totals {
        out.push(Run::new(Tone::Dim, &format!(" {} stored", count(totals.deliveries))));
        out.push(Run::new(Tone::Dim, &format!(", {}", size(totals.disk_bytes))));
    }
    out
}
