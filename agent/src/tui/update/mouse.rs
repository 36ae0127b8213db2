//! The mouse: a click selects, the wheel scrolls what it is over.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::super::layout;
use super::super::message::Effect;
use super::super::model::{Dialog, Focus, Model, Tab};
use super::details;

/// Rows that one notch of the wheel scrolls.
const NOTCH: usize = 3;

pub(super) fn on(m: &mut Model, event: MouseEvent, effects: &mut Vec<Effect>) {
    let at = Position::new(event.column, event.row);
    let down = match event.kind {
        MouseEventKind::ScrollDown => Some(true),
        MouseEventKind::ScrollUp => Some(false),
        MouseEventKind::Down(MouseButton::Left) => None,
        _ => return,
    };
    if let Some(dialog) = &mut m.dialog {
        if let (Dialog::Help { top }, Some(down)) = (dialog, down) {
            *top = if down { *top + NOTCH } else { top.saturating_sub(NOTCH) };
        }
        return;
    }
    let areas = layout::areas(m);
    if areas.list.contains(at) {
        let ask = match down {
            Some(down) => m.list.scroll(down, NOTCH),
            None => {
                m.focus = Focus::List;
                let row = event.row.checked_sub(areas.list_rows.y);
                row.and_then(|row| m.list.at_row(usize::from(row)))
            }
        };
        effects.extend(ask.map(Effect::Page));
    } else if areas.detail.contains(at) {
        match down {
            Some(down) => details::scroll(m, down, NOTCH),
            None => {
                m.focus = Focus::Detail;
                if event.row == areas.detail.y {
                    if let Some(tab) = layout::tab_at(areas.detail, event.column) {
                        details::open_tab(m, tab);
                    }
                } else if m.tab == Tab::Body {
                    let row = usize::from(event.row - areas.detail_rows.y);
                    if let Some(detail) = &mut m.detail
                        && let Some(doc) = &detail.doc
                    {
                        detail.cursor = doc.below(detail.top, row, &detail.folded);
                    }
                }
            }
        }
    } else if areas.told.contains(at) && down.is_none() {
        m.told = None;
    }
}
