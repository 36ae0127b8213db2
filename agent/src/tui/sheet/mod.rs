//! What the tabs say, as rows of safe text: one file per tab. Pure; the body is `doc`'s.

mod attempts;
mod diff;
mod event;
mod headers;
mod resource;
mod signature;

use super::model::{Detail, Model, Tab};
use super::text::{Row, Tone, row, wrap};

/// The rows of a tab, `width` columns wide.
pub(crate) fn rows(m: &Model, detail: &Detail, tab: Tab, width: usize) -> Vec<Row> {
    let width = width.max(16);
    if let Some(why) = &detail.failed {
        return paragraph(Tone::Bad, why, width);
    }
    let Some(stored) = &detail.stored else { return vec![row([(Tone::Dim, "reading …")])] };
    match tab {
        Tab::Event => event::rows(stored, width),
        Tab::Headers => headers::rows(stored, width),
        Tab::Body => Vec::new(),
        Tab::Signature => signature::rows(stored, detail.explained.as_ref(), width),
        Tab::Attempts => attempts::rows(stored, detail.attempt, width),
        Tab::Resource => resource::rows(stored, &m.keys, width),
        Tab::Diff => diff::rows(stored, m.marked.as_ref(), detail.attempt, &m.keys, width),
    }
}

/// Text over several rows.
fn paragraph(tone: Tone, text: &str, width: usize) -> Vec<Row> {
    wrap(text, width).into_iter().map(|run| vec![run.toned(tone)]).collect()
}
