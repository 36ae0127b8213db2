//! The screen: draws the model, a pane per file. Pure but for the buffer; lays out nothing that is not visible.

mod bars;
mod details;
mod dialogs;
mod list;
mod status;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::layout::{self, LEAST};
use super::model::Model;
use super::text::{Run, Tone};
use super::theme::Theme;

pub(crate) use dialogs::help_rows;

/// Draws everything. Gives the place of the text cursor, where there is one.
pub(crate) fn view(m: &Model, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let area = *buffer.area();
    if layout::too_small((area.width, area.height)) {
        too_small(m.theme, area, buffer);
        return None;
    }
    let areas = layout::areas(m);
    status::draw(m, areas.status, buffer);
    let filter = bars::filter(m, areas.filter, buffer);
    list::draw(m, areas.list, areas.list_rows, buffer);
    details::draw(m, areas.detail, areas.detail_rows, buffer);
    if areas.detail.x > 0 && areas.detail.width > 0 {
        for y in areas.detail.y..areas.detail.bottom() {
            put(buffer, areas.detail.x - 1, y, 1, &[Run::new(Tone::Dim, "│")], m.theme, Style::new());
        }
    }
    bars::told(m, areas.told, buffer);
    bars::footer(m, areas.footer, buffer);
    let dialog = dialogs::draw(m, area, buffer);
    if m.dialog.is_some() { dialog } else { filter }
}

fn too_small(theme: Theme, area: Rect, buffer: &mut Buffer) {
    let text = format!("{}x{} is too small, {}x{} is needed", area.width, area.height, LEAST.0, LEAST.1);
    for (y, run) in super::text::wrap(&text, usize::from(area.width)).into_iter().take(area.height.into()).enumerate() {
        put(buffer, area.x, area.y + y as u16, area.width, &[run], theme, Style::new());
    }
}

/// Draws runs from a place on, at most `width` columns, over a style that the whole row has. Gives the column behind them.
fn put(buffer: &mut Buffer, x: u16, y: u16, width: u16, runs: &[Run], theme: Theme, base: Style) -> u16 {
    let end = x.saturating_add(width);
    let mut at = x;
    for run in runs {
        if at >= end {
            break;
        }
        let style = base.patch(theme.style(run.tone));
        at = buffer.set_stringn(at, y, run.text(), usize::from(end - at), style).0;
    }
    at
}

/// A row that is filled to its end with its style.
fn fill(buffer: &mut Buffer, area: Rect, style: Style) {
    buffer.set_style(area, style);
}
