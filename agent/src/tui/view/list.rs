//! The list: a line for each delivery, columns as there is room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use tunnel_delivery::{AnswerClass, Environment, SignatureStatus, Summary, Timestamp};

use super::super::keys::Action;
use super::super::model::{Focus, Model};
use super::super::standing::Whose;
use super::super::text::{Run, Tone, count, span, took};
use super::{fill, put};
use crate::summary::repeat_mark;

/// The columns that a line of this width has.
#[derive(Clone, Copy)]
struct Columns {
    date: bool,
    millis: bool,
    environment: bool,
    took: bool,
    attempts: bool,
    event: usize,
    resource: usize,
}

impl Columns {
    fn of(width: usize) -> Columns {
        let (date, millis) = (width >= 130, width >= 100);
        let (environment, took, attempts) = (width >= 70, width >= 60, width >= 56);
        let fixed = 1
            + if date { 11 } else { 0 }
            + if millis { 13 } else { 9 }
            + if environment { 2 } else { 0 }
            + 2
            + 7
            + if took { 9 } else { 0 }
            + if attempts { 4 } else { 0 }
            + 4;
        let room = width.saturating_sub(fixed + 2);
        let event = (room * 3 / 5).min(44);
        Columns { date, millis, environment, took, attempts, event, resource: room.saturating_sub(event).min(60) }
    }
}

pub(super) fn draw(m: &Model, area: Rect, rows: Rect, buffer: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let focused = m.focus == Focus::List;
    let columns = Columns::of(usize::from(area.width));
    heading(m, columns, Rect { height: 1, ..area }, focused, buffer);
    let (lines, selected) = m.list.shown();
    let mut lines = lines.peekable();
    let mut none = true;
    for i in 0..usize::from(rows.height) {
        let Some(line) = lines.next() else { break };
        none = false;
        let y = rows.y + i as u16;
        let marked = m.marked.as_ref().is_some_and(|marked| marked.stored.delivery.id == line.id);
        // All lines of a timeline are about the same resource.
        let about = if m.filter.before.is_none() {
            resource(line, columns.resource)
        } else {
            let older = lines.peek().map(|older| line.received_at.since(older.received_at));
            older.map_or_else(|| "first".to_owned(), |after| format!("{} later", span(after)))
        };
        let runs = runs(line, &about, columns, marked);
        let base = if i == selected { m.theme.selected(focused) } else { Style::new() };
        // Colours on a reversed line would be backgrounds.
        let runs: Vec<Run> =
            if i == selected && focused { runs.into_iter().map(|run| run.toned(Tone::Plain)).collect() } else { runs };
        put(buffer, rows.x, y, rows.width, &runs, m.theme, base);
        if i == selected {
            fill(buffer, Rect::new(rows.x, y, rows.width, 1), base);
        }
    }
    if none && rows.height > 0 {
        let nothing = nothing_yet(m);
        let text = match (m.ready, m.list.waits(), m.filter.text.is_empty()) {
            (false, ..) => " opening the store …",
            (_, true, _) => " looking …",
            (_, _, false) => " nothing matches the filter",
            _ if m.standing.whose == Whose::Store => " nothing is stored here yet",
            _ => nothing.as_str(),
        };
        for (i, run) in super::super::text::wrap(text, usize::from(rows.width)).into_iter().enumerate() {
            if i < usize::from(rows.height) {
                let run = run.toned(Tone::Dim);
                put(buffer, rows.x, rows.y + i as u16, rows.width, &[run], m.theme, Style::new());
            }
        }
    }
}

fn nothing_yet(m: &Model) -> String {
    let trigger = m.keys.first(Action::Trigger).map(|key| format!(", or send a synthetic event with {key}"));
    format!(" nothing has come yet; give the URL above to Healthie{}", trigger.unwrap_or_default())
}

fn heading(m: &Model, c: Columns, area: Rect, focused: bool, buffer: &mut Buffer) {
    let style =
        Style::new().add_modifier(if focused { Modifier::BOLD | Modifier::UNDERLINED } else { Modifier::UNDERLINED });
    fill(buffer, area, style);
    let mut runs = vec![Run::new(Tone::Plain, " ")];
    if c.date {
        runs.push(Run::column(Tone::Plain, "date", 11));
    }
    runs.push(Run::column(Tone::Plain, "time UTC", if c.millis { 13 } else { 9 }));
    if c.environment {
        runs.push(Run::column(Tone::Plain, "E", 2));
    }
    runs.push(Run::column(Tone::Plain, "S", 2));
    runs.push(Run::column(Tone::Plain, "event", c.event + 1));
    let about = if m.filter.before.is_some() { "timeline" } else { "resource" };
    runs.push(Run::column(Tone::Plain, about, c.resource + 1));
    runs.push(Run::column(Tone::Plain, "answer", 7));
    if c.took {
        runs.push(Run::right(Tone::Plain, "took", 8));
        runs.push(Run::new(Tone::Plain, " "));
    }
    if c.attempts {
        runs.push(Run::column(Tone::Plain, "try", 4));
    }
    let used = put(buffer, area.x, area.y, area.width, &runs, m.theme, style);
    let (newest, oldest) = m.list.ends();
    let (above, below) = m.list.beyond();
    let side = |n: usize, end: bool, arrow: char| match (n, end) {
        (0, true) => String::new(),
        (n, end) => format!("{arrow}{}{}", count(n as u64), if end { "" } else { "+" }),
    };
    let mut place = format!("{} {}", side(above, newest, '↑'), side(below, oldest, '↓'));
    if let Some(n) = m.list.searched.filter(|n| *n > 0) {
        place = format!("looked at {} …", count(n));
    }
    let followed = format!("{place} follows");
    let fits = |text: &str| used + text.trim().chars().count() as u16 <= area.right();
    if m.list.follow && m.list.searched.is_none_or(|n| n == 0) && fits(&followed) {
        place = followed;
    }
    let place = place.trim();
    let width = place.chars().count() as u16;
    if fits(place) {
        let run = Run::new(Tone::Dim, place);
        put(buffer, area.right() - width, area.y, width, &[run], m.theme, style);
    }
}

fn runs(s: &Summary, about: &str, c: Columns, marked: bool) -> Vec<Run> {
    let at = s.received_at.to_string();
    let mut out = vec![Run::new(Tone::Doubtful, if marked { "◆" } else { " " })];
    if c.date {
        out.push(Run::column(Tone::Dim, at.get(..10).unwrap_or("-"), 11));
    }
    let (clock, width) = if c.millis { (at.get(11..23), 13) } else { (at.get(11..19), 9) };
    out.push(Run::column(Tone::Dim, clock.unwrap_or("-"), width));
    if c.environment {
        let (tone, mark) = match s.environment {
            Environment::Staging => (Tone::Dim, "s"),
            Environment::Production => (Tone::Doubtful, "P"),
            Environment::Unknown => (Tone::Dim, "·"),
        };
        out.push(Run::column(tone, mark, 2));
    }
    let (tone, mark) = signature(s.signature);
    out.push(Run::column(tone, mark, 2));
    let (tone, event) = match s.event_type.as_deref() {
        Some(event) => (Tone::Strong, event),
        None => (Tone::Dim, "(no event)"),
    };
    out.push(Run::column(tone, event, c.event));
    out.push(Run::new(Tone::Plain, " "));
    out.push(Run::column(Tone::Plain, about, c.resource));
    out.push(Run::new(Tone::Plain, " "));
    let (tone, answer) = answer(s);
    out.push(Run::column(tone, &answer, 7));
    let tried = !matches!(s.answer.class, AnswerClass::None | AnswerClass::Queued);
    if c.took {
        out.push(Run::right(Tone::Dim, &if tried { took(s.answer.duration_us) } else { String::new() }, 8));
        out.push(Run::new(Tone::Plain, " "));
    }
    if c.attempts {
        let many = if s.attempts > 1 { count(u64::from(s.attempts)) } else { String::new() };
        out.push(Run::right(Tone::Doubtful, &many, 3));
        out.push(Run::new(Tone::Plain, " "));
    }
    out.push(Run::column(Tone::Doubtful, &repeat_mark(s), 2));
    out.push(Run::new(Tone::Doubtful, if s.pinned { "★" } else { " " }));
    out
}

fn signature(status: SignatureStatus) -> (Tone, &'static str) {
    match status {
        SignatureStatus::Valid => (Tone::Good, "✓"),
        SignatureStatus::Invalid => (Tone::Bad, "✗"),
        SignatureStatus::Unsigned => (Tone::Doubtful, "–"),
        SignatureStatus::NoSecret => (Tone::Doubtful, "?"),
    }
}

fn answer(s: &Summary) -> (Tone, String) {
    match (s.answer.class, s.answer.status) {
        (AnswerClass::None, _) => (Tone::Dim, "-".into()),
        (AnswerClass::Queued, _) => (Tone::Doubtful, "queued".into()),
        (AnswerClass::Error, _) | (_, None) => (Tone::Bad, "error".into()),
        (AnswerClass::Success, Some(status)) => (Tone::Good, status.to_string()),
        (AnswerClass::Redirect, Some(status)) => (Tone::Doubtful, status.to_string()),
        (_, Some(status)) => (Tone::Bad, status.to_string()),
    }
}

/// The resource's type and id. Where there is no room for both the type gives way: the id is what tells two lines apart.
fn resource(s: &Summary, columns: usize) -> String {
    let (kind, id) = match (s.resource_id_type.as_deref(), s.resource_id.as_deref()) {
        (Some(kind), Some(id)) => (kind, id),
        (kind, id) => return kind.or(id).unwrap_or_default().to_owned(),
    };
    let (kind_run, id_run) = (Run::new(Tone::Plain, kind), Run::new(Tone::Plain, id));
    let room = columns.saturating_sub(id_run.columns() + 1);
    if kind_run.columns() > room && room >= 2 {
        return format!("{} {id}", Run::cut(Tone::Plain, kind, room).text());
    }
    format!("{kind} {id}")
}

/// The short name of a delivery in titles: its event and when it came.
pub(super) fn name(event: Option<&str>, at: Timestamp) -> String {
    format!("{}  {}", event.unwrap_or("(no event)"), at.to_string().get(11..19).unwrap_or("-"))
}
