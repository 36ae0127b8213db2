//! The details: the tabs' titles and what the open one shows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::super::layout;
use super::super::model::{Focus, Model, Tab};
use super::super::text::{Row, Run, Tone};
use super::{fill, list, put};

pub(super) fn draw(m: &Model, area: Rect, rows: Rect, buffer: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let focused = m.focus == Focus::Detail;
    titles(m, Rect { height: 1, ..area }, usize::from(rows.height), focused, buffer);
    let Some(detail) = &m.detail else { return };
    let height = usize::from(rows.height);
    if m.tab == Tab::Body && detail.failed.is_none() {
        let Some(doc) = &detail.doc else {
            let run = Run::new(Tone::Dim, "setting the body out …");
            put(buffer, rows.x, rows.y, rows.width, &[run], m.theme, Style::new());
            return;
        };
        if detail.stored.as_ref().is_some_and(|stored| stored.delivery.body.is_empty()) {
            let run = Run::new(Tone::Dim, "the body is empty");
            put(buffer, rows.x, rows.y, rows.width, &[run], m.theme, Style::new());
            return;
        }
        let mut row = detail.top;
        for i in 0..height {
            let y = rows.y + i as u16;
            let runs = doc.draw(row, &detail.folded, usize::from(rows.width));
            let at_cursor = row == detail.cursor && focused;
            let base = if at_cursor { m.theme.selected(true) } else { Style::new() };
            let runs: Row = if at_cursor { runs.into_iter().map(|run| run.toned(Tone::Plain)).collect() } else { runs };
            put(buffer, rows.x, y, rows.width, &runs, m.theme, base);
            if at_cursor {
                fill(buffer, Rect::new(rows.x, y, rows.width, 1), base);
            }
            let next = doc.below(row, 1, &detail.folded);
            if next == row {
                break;
            }
            row = next;
        }
        return;
    }
    for (i, row) in detail.rows.iter().skip(detail.top).take(height).enumerate() {
        put(buffer, rows.x, rows.y + i as u16, rows.width, row, m.theme, Style::new());
    }
}

fn titles(m: &Model, area: Rect, shown: usize, focused: bool, buffer: &mut Buffer) {
    let line = Style::new().add_modifier(Modifier::UNDERLINED);
    fill(buffer, area, line);
    let mut used = area.x;
    for (i, (tab, range)) in layout::tabs().enumerate() {
        if area.x + range.end > area.right() {
            break;
        }
        let style = match (tab == m.tab, focused) {
            (true, true) => m.theme.selected(true),
            (true, false) => line.add_modifier(Modifier::BOLD),
            (false, _) => line,
        };
        let runs = [
            Run::new(if tab == m.tab { Tone::Plain } else { Tone::Dim }, &format!(" {} ", i + 1)),
            Run::new(Tone::Plain, &format!("{} ", tab.title())),
        ];
        used = put(buffer, area.x + range.start, area.y, range.end - range.start, &runs, m.theme, style);
    }
    let Some(detail) = &m.detail else { return };
    let total = match (&detail.doc, m.tab) {
        (Some(doc), Tab::Body) => doc.len(),
        _ => detail.rows.len(),
    };
    let mut place = String::new();
    if m.tab == Tab::Body
        && let Some(doc) = &detail.doc
    {
        place = format!("{} {}/{}", doc.form.as_str(), detail.cursor + 1, total);
        if let Some(remark) = doc.remark {
            place = format!("{remark}, {place}");
        }
    } else if total > shown {
        let side = |arrow, n: usize| if n > 0 { format!("{arrow}{n}") } else { String::new() };
        let (above, below) = (side('↑', detail.top), side('↓', total.saturating_sub(detail.top + shown)));
        place = format!("{above} {below}").trim().to_owned();
    }
    let room = usize::from(area.right().saturating_sub(used + 1));
    if m.zoomed {
        let event = detail.stored.as_ref().and_then(|s| s.event.as_ref()).map(|e| e.event_type.as_str());
        let at = detail.stored.as_ref().map(|s| s.delivery.received_at);
        let name = at.map(|at| list::name(event, at)).unwrap_or_default();
        let both = format!("{name}  {place}");
        if Run::new(Tone::Dim, &both).columns() <= room || place.is_empty() {
            place = both.trim_end().to_owned();
        }
    }
    if m.tab == Tab::Body && place.chars().count() > room {
        place = format!("{}/{total}", detail.cursor + 1);
    }
    let run = Run::cut(Tone::Dim, &place, room);
    let x = area.right().saturating_sub(run.columns() as u16);
    put(buffer, x, area.y, area.width, &[run], m.theme, line);
}
