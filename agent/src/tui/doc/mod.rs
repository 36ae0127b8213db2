//! A body as rows: JSON set out and foldable, text as it came, or bytes in hexadecimal.
//!
//! Nothing is parsed into values: a row is a range of the body's own bytes, so that numbers, escapes and repeated names are shown as they were
//! sent. Rows are found once per width; drawing looks at the visible ones only.

mod set_out;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use bytes::Bytes;

use super::text::{Row, Run, Tone, hex};
use crate::safe_text::bytes_as_text;

/// Bytes of one row in hexadecimal, where there is room for them.
const HEX: usize = 16;
/// No row.
const NONE: u32 = u32::MAX;

/// How a body is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON with one member a row.
    #[default]
    Pretty,
    /// The text as it came.
    Raw,
    /// Offsets, bytes, characters.
    Hex,
}

impl Form {
    /// The one after this.
    pub(crate) fn next(self) -> Form {
        match self {
            Form::Pretty => Form::Raw,
            Form::Raw => Form::Hex,
            Form::Hex => Form::Pretty,
        }
    }

    /// For the pane's title.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Form::Pretty => "pretty",
            Form::Raw => "raw",
            Form::Hex => "hex",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A value in one row.
    Leaf,
    /// The beginning of an object or array.
    Open,
    /// Its end.
    Close,
    /// Text that is shown as it is: raw, or a part of a value that is too long for one row.
    Plain,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// From here, the name included, to `end`.
    start: u32,
    /// Where the name ends; `start` where there is none.
    name_end: u32,
    /// Where the value begins.
    value: u32,
    end: u32,
    /// The row of the object or array that this is in.
    parent: u32,
    /// For `Open`, the row of its end.
    close: u32,
    depth: u16,
    kind: Kind,
    comma: bool,
}

/// A body set out in rows.
#[derive(Debug)]
pub(crate) struct Doc {
    bytes: Bytes,
    /// The form it is in; a body that is no JSON is raw whatever was asked for.
    pub(crate) form: Form,
    parts: Vec<Part>,
    hex_columns: usize,
    /// Why the form is another than was asked for, or what is left out.
    pub(crate) remark: Option<&'static str>,
}

impl Doc {
    /// Sets a body out for rows of `width` columns. Takes some 30 ms for 10 MB: call it where that may be.
    pub(crate) fn new(bytes: Bytes, form: Form, width: usize) -> Doc {
        let width = width.max(16);
        let mut doc = Doc { bytes, form, parts: Vec::new(), hex_columns: HEX, remark: None };
        // Ranges are 32 bits; the protocol's cap on bodies is far below.
        if u32::try_from(doc.bytes.len()).is_err() {
            doc.bytes.truncate(u32::MAX as usize);
            doc.remark = Some("the rest is not shown");
        }
        match form {
            Form::Hex => {
                if width < 10 + HEX * 4 {
                    doc.hex_columns = HEX / 2;
                }
            }
            Form::Pretty => {
                let json = doc.bytes.trim_ascii_start().first().is_some_and(|b| b"{[".contains(b))
                    && serde_json::from_slice::<serde::de::IgnoredAny>(&doc.bytes).is_ok();
                if !json || !doc.set_out(width) {
                    doc.form = Form::Raw;
                    doc.raw(width);
                    doc.remark = match (json, doc.bytes.is_empty()) {
                        (true, _) => Some("too many rows to set out, shown as it came"),
                        (false, true) => Some("no body"),
                        (false, false) => Some("not JSON, shown as it came"),
                    };
                }
            }
            Form::Raw => doc.raw(width),
        }
        doc
    }

    /// How many rows there are, folded ones included.
    pub(crate) fn len(&self) -> usize {
        match self.form {
            Form::Hex => self.bytes.len().div_ceil(self.hex_columns),
            _ => self.parts.len(),
        }
    }

    fn hidden_in(&self, row: usize, folded: &HashSet<usize>) -> usize {
        let mut shown = row;
        let mut up = self.parts.get(row).map_or(NONE, |p| p.parent);
        while up != NONE {
            if folded.contains(&(up as usize)) {
                shown = up as usize;
            }
            up = self.parts[up as usize].parent;
        }
        shown
    }

    /// The visible row that a row is shown by.
    pub(crate) fn shown(&self, row: usize, folded: &HashSet<usize>) -> usize {
        let row = row.min(self.len().saturating_sub(1));
        if folded.is_empty() || self.form == Form::Hex { row } else { self.hidden_in(row, folded) }
    }

    /// The visible row `by` rows below.
    pub(crate) fn below(&self, mut row: usize, by: usize, folded: &HashSet<usize>) -> usize {
        if folded.is_empty() || self.form != Form::Pretty {
            return (row + by).min(self.len().saturating_sub(1));
        }
        for _ in 0..by {
            let next = if folded.contains(&row) { self.parts[row].close as usize + 1 } else { row + 1 };
            if next >= self.parts.len() {
                break;
            }
            row = next;
        }
        row
    }

    /// The visible row `by` rows above.
    pub(crate) fn above(&self, mut row: usize, by: usize, folded: &HashSet<usize>) -> usize {
        if folded.is_empty() || self.form != Form::Pretty {
            return row.saturating_sub(by);
        }
        for _ in 0..by {
            if row == 0 {
                break;
            }
            row = self.hidden_in(row - 1, folded);
        }
        row
    }

    /// The row that folds where the cursor is at `row`: itself, or what it is in.
    pub(crate) fn foldable(&self, row: usize) -> Option<usize> {
        let part = self.parts.get(row)?;
        match part.kind {
            Kind::Open => Some(row),
            _ if part.parent != NONE => Some(part.parent as usize),
            _ => None,
        }
    }

    /// Every row that can be folded but the outermost.
    pub(crate) fn all_foldable(&self) -> HashSet<usize> {
        self.parts.iter().enumerate().filter(|(_, p)| p.kind == Kind::Open && p.depth > 0).map(|(i, _)| i).collect()
    }

    /// One row as it is drawn.
    pub(crate) fn draw(&self, row: usize, folded: &HashSet<usize>, width: usize) -> Row {
        if self.form == Form::Hex {
            return self.draw_hex(row);
        }
        let Some(part) = self.parts.get(row) else { return Row::new() };
        let slice = |from: u32, to: u32| self.bytes.get(from as usize..to as usize).unwrap_or_default();
        let mut out = Row::new();
        let space = indent(part.depth, width);
        if space > 0 {
            out.push(Run::new(Tone::Plain, &" ".repeat(space)));
        }
        if part.name_end > part.start {
            // A name may be megabytes long.
            let name = slice(part.start, part.name_end.min(part.start + 4096));
            out.push(Run::cut(Tone::Name, &bytes_as_text(name), width));
            out.push(Run::new(Tone::Dim, ": "));
        }
        let value = slice(part.value, part.end);
        let tone = match (part.kind, value.first()) {
            (Kind::Plain, _) => Tone::Plain,
            (Kind::Open | Kind::Close, _) | (_, Some(b'{' | b'[')) => Tone::Dim,
            (_, Some(b'"')) => Tone::Text,
            _ => Tone::Number,
        };
        let mut comma = part.comma;
        if part.kind == Kind::Open && folded.contains(&row) {
            let close = self.parts.get(part.close as usize);
            let hidden = self.members(row);
            let ends = if value == b"{" { "}" } else { "]" };
            out.push(Run::bytes(Tone::Dim, value));
            out.push(Run::new(Tone::Doubtful, &format!(" … {hidden} ")));
            out.push(Run::new(Tone::Dim, ends));
            comma = close.is_some_and(|c| c.comma);
        } else if (part.kind, part.kind == Kind::Leaf && tone == Tone::Dim) == (Kind::Leaf, true) {
            out.push(Run::new(Tone::Dim, if value.starts_with(b"{") { "{}" } else { "[]" }));
        } else {
            out.push(Run::bytes(tone, value));
        }
        if comma {
            out.push(Run::new(Tone::Dim, ","));
        }
        out
    }

    /// How many members an object or array has.
    fn members(&self, open: usize) -> usize {
        let close = self.parts.get(open).map_or(0, |p| p.close as usize);
        let (mut n, mut row) = (0, open + 1);
        while row < close {
            let part = &self.parts[row];
            // Parts of one long value count once.
            n += usize::from(part.kind != Kind::Plain || part.depth == self.parts[open].depth + 1);
            row = if part.kind == Kind::Open { part.close as usize + 1 } else { row + 1 };
        }
        n
    }

    fn draw_hex(&self, row: usize) -> Row {
        let start = row * self.hex_columns;
        let bytes = &self.bytes[start.min(self.bytes.len())..(start + self.hex_columns).min(self.bytes.len())];
        let shown: String =
            bytes.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { *b as char } else { '·' }).collect();
        vec![
            Run::new(Tone::Dim, &format!("{start:08x}  ")),
            Run::column(Tone::Number, &hex(bytes, " "), self.hex_columns * 3 + 1),
            Run::new(Tone::Plain, &shown),
        ]
    }
}

/// Deep values must not leave the screen.
fn indent(depth: u16, width: usize) -> usize {
    (usize::from(depth) * 2).min(width / 2)
}
