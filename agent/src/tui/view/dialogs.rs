//! What stands above the panes: help, a line that is asked for, a question, a menu.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget as _};

use super::super::copy::CHOICES;
use super::super::keys::{ACTIONS, Group};
use super::super::message::FixtureTo;
use super::super::model::{Dialog, Model, Prompt};
use super::super::text::{Row, Run, Tone, row, wrap};
use super::super::update::dialog::{events, wanted};
use super::{bars, fill, put};
use crate::query::WORDS;

pub(super) fn draw(m: &Model, screen: Rect, buffer: &mut Buffer) -> Option<(u16, u16)> {
    match m.dialog.as_ref()? {
        Dialog::Help { top } => {
            let rows = help_rows(m);
            let inner = boxed(m, screen, screen.height - 2, screen.width, "Help", buffer);
            draw_rows(m, &rows[(*top).min(rows.len())..], inner, buffer);
            None
        }
        Dialog::Confirm { question, .. } => {
            let width = screen.width.min(76);
            let rows = wrap(question, usize::from(width.saturating_sub(4)));
            let inner = boxed(m, screen, rows.len() as u16 + 4, width, "Sure?", buffer);
            let mut rows: Vec<Row> = rows.into_iter().map(|run| vec![run]).collect();
            rows.push(Row::new());
            rows.push(row([(Tone::Strong, "y"), (Tone::Plain, " yes   "), (Tone::Strong, "n"), (Tone::Plain, " no")]));
            draw_rows(m, &rows, inner, buffer);
            None
        }
        Dialog::Copy => {
            let rows: Vec<Row> = CHOICES
                .iter()
                .map(|(key, _, what)| {
                    row([(Tone::Strong, &*key.to_string()), (Tone::Plain, "  "), (Tone::Plain, what)])
                })
                .collect();
            let inner = boxed(m, screen, rows.len() as u16 + 2, screen.width.min(56), "Copy", buffer);
            draw_rows(m, &rows, inner, buffer);
            None
        }
        Dialog::Prompt(prompt) => Some(draw_prompt(m, prompt, screen, buffer)),
        Dialog::Trigger { input, selected } => {
            let found = events(&wanted(m, input.value()).0);
            let height = (found.len() as u16 + 5).clamp(8, screen.height.saturating_sub(2)).min(screen.height);
            let inner = boxed(m, screen, height, screen.width.min(64), "Send a synthetic event", buffer);
            let cursor = bars::line(m, input, Rect { height: 1, ..inner }, buffer);
            let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(2), ..inner };
            let (_, path) = wanted(m, input.value());
            let path = [
                Run::new(Tone::Name, "to "),
                Run::new(Tone::Plain, &path),
                Run::new(Tone::Dim, "  (or write another /path)"),
            ];
            put(buffer, inner.x, inner.bottom() - 1, inner.width, &path, m.theme, Style::new());
            let from = selected.saturating_sub(usize::from(list.height).saturating_sub(1));
            for (i, event) in found.iter().enumerate().skip(from).take(usize::from(list.height)) {
                let y = list.y + (i - from) as u16;
                let base = if i == *selected { m.theme.selected(true) } else { Style::new() };
                let kind = format!("  {}", event.resource_type.name());
                let dim = if i == *selected { Tone::Plain } else { Tone::Dim };
                let runs = [Run::new(Tone::Plain, event.name), Run::new(dim, &kind)];
                put(buffer, list.x, y, list.width, &runs, m.theme, base);
                if i == *selected {
                    fill(buffer, Rect::new(list.x, y, list.width, 1), base);
                }
            }
            if found.is_empty() {
                let none = Run::new(Tone::Dim, "no event of the catalogue has all these words");
                put(buffer, list.x, list.y, list.width, &[none], m.theme, Style::new());
            }
            Some(cursor)
        }
        Dialog::Filters { selected } => {
            draw_filters(m, *selected, screen, buffer);
            None
        }
        Dialog::Fixture { to, .. } => {
            let what = match to {
                FixtureTo::Clipboard => "copied".to_owned(),
                FixtureTo::File(path) => format!("saved as {}", path.display()),
            };
            let width = screen.width.min(76);
            let text = format!("This delivery is from production and may be about patients. It is to be {what}.");
            let mut rows: Vec<Row> =
                wrap(&text, usize::from(width.saturating_sub(4))).into_iter().map(|run| vec![run]).collect();
            rows.push(Row::new());
            rows.push(row([
                (Tone::Strong, "s"),
                (Tone::Plain, "    with pseudonyms, signed with the fixtures' secret"),
            ]));
            rows.push(row([(Tone::Strong, "a"), (Tone::Plain, "    as it is: you are allowed to keep it there")]));
            rows.push(row([(Tone::Strong, "esc"), (Tone::Plain, "  not at all")]));
            let inner = boxed(m, screen, rows.len() as u16 + 2, width, "A fixture of people's data?", buffer);
            draw_rows(m, &rows, inner, buffer);
            None
        }
        Dialog::Edited { draft, .. } => {
            let size = super::super::text::size(draft.text.len() as u64);
            let rows = [
                row([
                    (Tone::Plain, "The changed copy has "),
                    (Tone::Plain, &*size),
                    (Tone::Plain, " and is not sent yet."),
                ]),
                Row::new(),
                row([(Tone::Strong, "s"), (Tone::Plain, "    sign it anew and send it")]),
                row([(Tone::Strong, "u"), (Tone::Plain, "    send it with the signature that stands in it")]),
                row([(Tone::Strong, "e"), (Tone::Plain, "    edit it again")]),
                row([(Tone::Strong, "esc"), (Tone::Plain, "  throw it away")]),
            ];
            let inner = boxed(m, screen, rows.len() as u16 + 2, screen.width.min(60), "Send the changed copy?", buffer);
            draw_rows(m, &rows, inner, buffer);
            None
        }
    }
}

fn draw_filters(m: &Model, selected: usize, screen: Rect, buffer: &mut Buffer) {
    let height = (m.saved.len() as u16).saturating_add(3).clamp(6, screen.height.saturating_sub(2).max(6));
    let inner = boxed(m, screen, height, screen.width.min(90), "Saved filters", buffer);
    let list = Rect { height: inner.height.saturating_sub(1), ..inner };
    let names = m.saved.iter().map(|(name, _)| name.len()).max().unwrap_or(0).min(24);
    let from = selected.saturating_sub(usize::from(list.height).saturating_sub(1));
    for (i, (name, query)) in m.saved.iter().enumerate().skip(from).take(usize::from(list.height)) {
        let y = list.y + (i - from) as u16;
        let base = if i == selected { m.theme.selected(true) } else { Style::new() };
        let name = Run::column(Tone::Strong, &format!("@{name}"), names + 1);
        let room = usize::from(list.width).saturating_sub(name.columns() + 2);
        let runs = [name, Run::new(Tone::Plain, "  "), Run::cut(Tone::Plain, query, room)];
        put(buffer, list.x, y, list.width, &runs, m.theme, base);
        if i == selected {
            fill(buffer, Rect::new(list.x, y, list.width, 1), base);
        }
    }
    let keys = row([
        (Tone::Strong, "enter"),
        (Tone::Dim, " uses it   "),
        (Tone::Strong, "x"),
        (Tone::Dim, " removes it   "),
        (Tone::Strong, "esc"),
        (Tone::Dim, " back"),
    ]);
    if inner.height > 1 {
        put(buffer, inner.x, inner.bottom() - 1, inner.width, &keys, m.theme, Style::new());
    }
}

fn draw_prompt(m: &Model, prompt: &Prompt, screen: Rect, buffer: &mut Buffer) -> (u16, u16) {
    let width = screen.width.min(80);
    let title = wrap(&prompt.about, usize::from(width.saturating_sub(4)));
    let problem = prompt.problem.as_deref().map(|p| wrap(p, usize::from(width.saturating_sub(4)))).unwrap_or_default();
    let inner = boxed(m, screen, (title.len() + 1 + problem.len()) as u16 + 2, width, "", buffer);
    // On a small screen the line that is written and what is wrong with it come before what stands above.
    let kept = usize::from(inner.height).saturating_sub(1 + problem.len().min(3));
    let titles: Vec<Row> = title.into_iter().take(kept).map(|run| vec![run.toned(Tone::Strong)]).collect();
    draw_rows(m, &titles, inner, buffer);
    let y = inner.y + titles.len() as u16;
    let cursor = bars::line(m, &prompt.input, Rect { y, height: 1, ..inner }, buffer);
    let problems: Vec<Row> = problem.into_iter().map(|run| vec![run.toned(Tone::Bad)]).collect();
    let below = (y + 1).min(inner.bottom());
    draw_rows(m, &problems, Rect { y: below, height: inner.bottom() - below, ..inner }, buffer);
    cursor
}

fn draw_rows(m: &Model, rows: &[Row], area: Rect, buffer: &mut Buffer) {
    for (i, row) in rows.iter().take(usize::from(area.height)).enumerate() {
        put(buffer, area.x, area.y + i as u16, area.width, row, m.theme, Style::new());
    }
}

/// An empty box in the middle of the screen; gives its inside.
fn boxed(m: &Model, screen: Rect, height: u16, width: u16, title: &str, buffer: &mut Buffer) -> Rect {
    let (width, height) = (width.min(screen.width), height.min(screen.height));
    let area = Rect::new((screen.width - width) / 2, (screen.height - height) / 2, width, height);
    Clear.render(area, buffer);
    let inside = usize::from(width.saturating_sub(2));
    let title = if title.is_empty() { String::new() } else { format!(" {title} ") };
    let above = format!("┌{title}{}┐", "─".repeat(inside.saturating_sub(title.chars().count())));
    let below = format!("└{}┘", "─".repeat(inside));
    put(buffer, area.x, area.y, width, &[Run::new(Tone::Plain, &above)], m.theme, Style::new());
    put(buffer, area.x, area.bottom() - 1, width, &[Run::new(Tone::Plain, &below)], m.theme, Style::new());
    for y in area.y + 1..area.bottom() - 1 {
        put(buffer, area.x, y, 1, &[Run::new(Tone::Plain, "│")], m.theme, Style::new());
        put(buffer, area.right() - 1, y, 1, &[Run::new(Tone::Plain, "│")], m.theme, Style::new());
    }
    Rect::new(area.x + 2, area.y + 1, width.saturating_sub(4), height.saturating_sub(2))
}

/// Help, from the key map and the words of the query language.
pub(crate) fn help_rows(m: &Model) -> Vec<Row> {
    let width = usize::from(m.size.0.saturating_sub(4)).max(20);
    // Two columns where there is room would have to be read twice; one is scrolled.
    let mut out = Vec::new();
    let mut entry = |keys: &str, name: &str, about: &str| {
        let before = Run::column(Tone::Strong, keys, 25);
        let name =
            if width >= 70 && !name.is_empty() { Run::column(Tone::Dim, name, 18) } else { Run::new(Tone::Dim, "") };
        let room = width.saturating_sub(before.columns() + name.columns());
        for (i, run) in wrap(about, room).into_iter().enumerate() {
            match i {
                0 => out.push(vec![before.clone(), name.clone(), run]),
                _ => out.push(vec![Run::column(Tone::Plain, "", before.columns() + name.columns()), run]),
            }
        }
    };
    for group in Group::ALL {
        entry(group.title(), if group == Group::Move { "name in [keys]" } else { "" }, "");
        for known in ACTIONS.iter().filter(|k| k.group == group) {
            entry(&format!("  {}", m.keys.all(known.action)), known.name, known.about);
        }
    }
    entry(
        "Filter",
        "",
        "all words must hold; event:a|b for alternatives, - before what must not be, quotes around blanks",
    );
    for word in WORDS {
        entry(&format!("  {}:", word.name), "", &format!("{}: {}", word.values, word.about));
    }
    entry("  @name", "", "a saved filter; with ctrl-s while writing a filter it is saved");
    entry("Mouse", "", "selects, scrolls, opens tabs; with shift held most terminals select text instead");
    entry("Marks", "", "");
    for (mark, about) in [
        ("✓ ✗ – ?", "the signature: valid, invalid, unsigned, not checked"),
        ("s P ·", "from Healthie's staging, production, or neither"),
        ("↻ ×3", "seems to be an earlier one again; seems to have come three times"),
        ("★ ◆ ✎", "pinned; marked for the diff; an attempt with a changed copy"),
    ] {
        entry(&format!("  {mark}"), "", about);
    }
    out
}
