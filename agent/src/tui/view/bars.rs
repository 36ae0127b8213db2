//! The lines that are not panes: the filter, what is told, and the keys below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use tui_input::Input;

use super::super::keys::{ACTIONS, Action, Known};
use super::super::mistake;
use super::super::model::Model;
use super::super::text::{Run, Tone, count, wrap};
use super::{fill, put};
use crate::safe_text::pieces;

/// The filter and, below it, what is wrong with it.
pub(super) fn filter(m: &Model, area: Rect, buffer: &mut Buffer) -> Option<(u16, u16)> {
    if area.height == 0 {
        return None;
    }
    let label = Run::new(Tone::Name, mistake::LABEL);
    let x = put(buffer, area.x, area.y, area.width, &[label], m.theme, Style::new());
    let room = Rect::new(x, area.y, area.right().saturating_sub(x), 1);
    let Some(input) = &m.filter.input else {
        let keys = m.keys.first(Action::Back).map_or_else(String::new, |k| format!("  ({k} shows all)"));
        let runs = [Run::new(Tone::Strong, &m.filter.text), Run::new(Tone::Dim, &keys)];
        put(buffer, room.x, room.y, room.width, &runs, m.theme, Style::new());
        return None;
    };
    let cursor = line(m, input, room, buffer);
    if let Some(error) = &m.filter.error {
        let (at, rows) = mistake::rows(error, input, area.width);
        for (i, row) in rows.into_iter().take(usize::from(area.height) - 1).enumerate() {
            let at = if i == 0 { at as u16 } else { 0 };
            put(buffer, area.x + at, area.y + 1 + i as u16, area.width - at, &[row], m.theme, Style::new());
        }
    }
    Some(cursor)
}

/// A line that is written; gives the place of its cursor.
pub(super) fn line(m: &Model, input: &Input, area: Rect, buffer: &mut Buffer) -> (u16, u16) {
    let skip = mistake::scrolled(input, area.width);
    let before: String = input.value().chars().take(input.cursor()).collect();
    let cursor: usize = pieces(&before).map(|p| p.columns).sum();
    let mut left_out = 0;
    let rest: String = input
        .value()
        .chars()
        .skip_while(|c| {
            let wide = pieces(c.encode_utf8(&mut [0; 4])).map(|p| p.columns).sum::<usize>();
            let out = left_out < skip;
            left_out += if out { wide } else { 0 };
            out
        })
        .collect();
    put(buffer, area.x, area.y, area.width, &[Run::new(Tone::Strong, &rest)], m.theme, Style::new());
    let x = area.x + (cursor.saturating_sub(left_out) as u16).min(area.width.saturating_sub(1));
    (x, area.y)
}

/// What is told, on as many lines as it was given.
pub(super) fn told(m: &Model, area: Rect, buffer: &mut Buffer) {
    let Some(told) = &m.told else { return };
    for (i, run) in wrap(&told.text, usize::from(area.width)).into_iter().take(area.height.into()).enumerate() {
        let run = run.toned(told.tone);
        put(buffer, area.x, area.y + i as u16, area.width, &[run], m.theme, Style::new());
    }
}

/// What goes on, and the keys that are used most.
pub(super) fn footer(m: &Model, area: Rect, buffer: &mut Buffer) {
    let bar = m.theme.bar();
    fill(buffer, area, bar);
    let mut runs = Vec::new();
    let busy = match m.batch {
        Some(batch) => {
            let stop = m.keys.first(Action::Stop).map_or_else(String::new, |k| format!(", {k} stops"));
            let of = batch.all.map_or_else(String::new, |all| format!(" of {}", count(all)));
            Some(format!(" replaying: {} ✓ {} ✗{of}{stop} ", count(batch.ok), count(batch.failed)))
        }
        None => m.busy.as_ref().map(|busy| format!(" {busy} ")),
    };
    if let Some(busy) = busy {
        runs.push(Run::new(Tone::Strong, &busy));
        runs.push(Run::new(Tone::Plain, "│"));
    }
    if m.told.as_ref().is_some_and(|t| t.ticks.is_none())
        && let Some(key) = m.keys.first(Action::Back)
    {
        runs.push(Run::new(Tone::Strong, &format!(" {key}")));
        runs.push(Run::new(Tone::Plain, " dismiss "));
    }
    let entry = |known: &Known| {
        let key = m.keys.first(known.action).filter(|_| !known.short.is_empty())?;
        Some([Run::new(Tone::Strong, &format!(" {key}")), Run::new(Tone::Plain, &format!(" {}", known.short))])
    };
    let columns = |runs: &[Run]| runs.iter().map(Run::columns).sum::<usize>();
    // Whoever knows no key must see these two; of the others those that fit.
    let (last, others): (Vec<_>, Vec<_>) =
        ACTIONS.iter().partition(|known| matches!(known.action, Action::Help | Action::Quit));
    let last: Vec<Run> = last.into_iter().filter_map(entry).flatten().collect();
    for runs_of in others.into_iter().filter_map(entry) {
        if columns(&runs) + columns(&runs_of) + columns(&last) <= usize::from(area.width) {
            runs.extend(runs_of);
        }
    }
    runs.extend(last);
    // Tones with colour would not be readable on a bar.
    put(buffer, area.x, area.y, area.width, &runs, m.theme, bar);
}
