//! A filter's mistake below the filter: a mark at its place and the sentence, wholly, on as many lines as that takes. Pure.

use tui_input::Input;

use super::text::{Run, Tone, wrap};
use crate::query::QueryError;
use crate::safe_text::pieces;

/// The filter's label, before what is written.
pub(crate) const LABEL: &str = " filter ";
/// A mark is at most so long.
const MARK: usize = 20;

/// The mark's column and the lines, of which the first begins there; all others begin at the left.
pub(crate) fn rows(error: &QueryError, input: &Input, width: u16) -> (usize, Vec<Run>) {
    let columns = |range| pieces(input.value().get(range).unwrap_or("")).map(|p| p.columns).sum::<usize>();
    let room = width.saturating_sub(LABEL.len() as u16);
    let before = columns(0..error.at.start).saturating_sub(scrolled(input, room));
    let marked = columns(error.at.clone()).clamp(1, MARK);
    let at = LABEL.len() + before.min(usize::from(room) / 2);
    let mark = "^".repeat(marked);
    let beside = wrap(&format!("{mark} {}", error.why), usize::from(width).saturating_sub(at));
    let lines = match beside.len() {
        1 => beside,
        // Below the mark there is the whole width.
        _ => {
            let mark = Run::cut(Tone::Bad, &mark, usize::from(width).saturating_sub(at));
            let sentence = wrap(&format!(" {}", error.why), usize::from(width));
            std::iter::once(mark).chain(sentence).collect()
        }
    };
    (at, lines.into_iter().map(|line| line.toned(Tone::Bad)).collect())
}

/// The columns of the text before the cursor that are scrolled out.
pub(crate) fn scrolled(input: &Input, width: u16) -> usize {
    let cursor: usize =
        pieces(&input.value().chars().take(input.cursor()).collect::<String>()).map(|p| p.columns).sum();
    cursor.saturating_sub(usize::from(width).saturating_sub(1))
}
