//! Where what is on the screen. Pure: of the size and of what is open.

use ratatui::layout::Rect;

use super::model::{Focus, Model, Tab};

/// Smaller than this nothing sensible can be shown.
pub(crate) const LEAST: (u16, u16) = (40, 10);
/// From this width on list and details stand side by side.
const SIDE_BY_SIDE: u16 = 140;

/// The places of the panes; one that is not shown has no height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Areas {
    /// Where things stand: one line, or two where there is room.
    pub(crate) status: Rect,
    /// The filter.
    pub(crate) filter: Rect,
    /// The list with its heading.
    pub(crate) list: Rect,
    /// Its lines.
    pub(crate) list_rows: Rect,
    /// The details with their tabs.
    pub(crate) detail: Rect,
    /// What the tab shows.
    pub(crate) detail_rows: Rect,
    /// What is told.
    pub(crate) told: Rect,
    /// Keys.
    pub(crate) footer: Rect,
}

/// Whether the terminal is too small.
pub(crate) fn too_small(size: (u16, u16)) -> bool {
    size.0 < LEAST.0 || size.1 < LEAST.1
}

/// The places of everything.
pub(crate) fn areas(m: &Model) -> Areas {
    let (width, height) = m.size;
    if too_small(m.size) {
        return Areas::default();
    }
    let line = |y: u16, rows: u16| Rect::new(0, y, width, rows);
    let status = line(0, if height >= 16 { 2 } else { 1 });
    let footer = line(height - 1, 1);
    let told_rows = m.told.as_ref().map_or(0, |t| {
        let rows = super::text::wrap(&t.text, usize::from(width)).len();
        u16::try_from(rows).unwrap_or(u16::MAX).clamp(1, (height / 4).max(1))
    });
    let told = line(height - 1 - told_rows, told_rows);
    let shows_filter = m.filter.input.is_some() || !m.filter.text.is_empty();
    let filter_rows = match (shows_filter, &m.filter.error, &m.filter.input) {
        (false, ..) => 0,
        (true, Some(error), Some(input)) => {
            let rows = super::mistake::rows(error, input, width).1.len();
            1 + u16::try_from(rows).unwrap_or(u16::MAX).min((height / 3).max(1))
        }
        (true, ..) => 1,
    };
    let filter = line(status.height, filter_rows);
    let top = status.height + filter.height;
    let rest = Rect::new(0, top, width, told.y.saturating_sub(top));
    let (list, detail) = if m.zoomed {
        (Rect::new(0, rest.y, 0, 0), rest)
    } else if width >= SIDE_BY_SIDE {
        let left = (u32::from(width) * 46 / 100).min(110) as u16;
        (Rect { width: left, ..rest }, Rect { x: left + 1, width: width - left - 1, ..rest })
    } else if rest.height < 14 {
        // Room for one of the two.
        match m.focus {
            Focus::List => (rest, Rect::new(0, rest.y, 0, 0)),
            Focus::Detail => (Rect::new(0, rest.y, 0, 0), rest),
        }
    } else {
        let above = match m.focus {
            Focus::List => rest.height * 55 / 100,
            Focus::Detail => rest.height * 35 / 100,
        };
        (Rect { height: above, ..rest }, Rect { y: rest.y + above, height: rest.height - above, ..rest })
    };
    let below_heading = |area: Rect| Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    Areas {
        status,
        filter,
        list,
        list_rows: below_heading(list),
        detail,
        detail_rows: below_heading(detail),
        told,
        footer,
    }
}

/// The columns of the tabs' titles, from the left of the details.
pub(crate) fn tabs() -> impl Iterator<Item = (Tab, std::ops::Range<u16>)> {
    let mut x = 0;
    Tab::ALL.into_iter().map(move |tab| {
        // A blank, the digit, a blank, the title, a blank.
        let width = 4 + tab.title().len() as u16;
        let range = x..x + width;
        x += width;
        (tab, range)
    })
}

/// The tab whose title is at that column.
pub(crate) fn tab_at(detail: Rect, column: u16) -> Option<Tab> {
    let x = column.checked_sub(detail.x)?;
    tabs().find(|(_, range)| range.contains(&x)).map(|(tab, _)| tab)
}
