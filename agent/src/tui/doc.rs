//! A body as rows: JSON set out and foldable, text as it came, or bytes in hexadecimal.
//!
//! Nothing is parsed into values: a row is a range of the body's own bytes, so that numbers, escapes and repeated names are shown as they were
//! sent. Rows are found once per width; drawing looks at the visible ones only.

use std::collections::HashSet;

use bytes::Bytes;

use super::text::{Row, Run, Tone, hex};
use crate::safe_text::{bytes_as_text, pieces};

/// More rows than these are not set out; a million rows take some 30 MB.
const MOST_ROWS: usize = 1_000_000;
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

    fn raw(&mut self, width: usize) {
        self.parts.clear();
        let bytes = self.bytes.clone();
        let mut start = 0;
        for line in bytes.split(|b| *b == b'\n') {
            // The break at the very end begins no line.
            if start < bytes.len() || start == 0 {
                self.broken(start, start + line.len(), 0, NONE, width);
            }
            start += line.len() + 1;
            if self.parts.len() > MOST_ROWS {
                self.parts.truncate(MOST_ROWS);
                self.remark = Some("too many lines; the rest is not shown");
                return;
            }
        }
    }

    /// Rows of at most `width` columns for a range.
    fn broken(&mut self, start: usize, end: usize, depth: u16, parent: u32, width: usize) {
        let bytes = self.bytes.clone();
        let mut push = |from: usize, to: usize| {
            let (from, to) = (from as u32, to as u32);
            let kind = Kind::Plain;
            self.parts.push(Part {
                start: from,
                name_end: from,
                value: from,
                end: to,
                parent,
                close: NONE,
                depth,
                kind,
                comma: false,
            });
        };
        let (mut from, mut at, mut columns) = (start, start, 0);
        for chunk in bytes[start..end].utf8_chunks() {
            let mut take = |len: usize, wide: usize, at: &mut usize| {
                if columns + wide > width && *at > from {
                    push(from, *at);
                    from = *at;
                    columns = 0;
                }
                columns += wide;
                *at += len;
            };
            let valid = chunk.valid();
            for (c, piece) in valid.chars().zip(pieces(valid)) {
                take(c.len_utf8(), piece.columns, &mut at);
            }
            for _ in chunk.invalid() {
                take(1, 4, &mut at);
            }
        }
        push(from, end);
    }

    /// Sets out JSON that is known to be valid; `false` if that takes too many rows.
    fn set_out(&mut self, width: usize) -> bool {
        let bytes = self.bytes.clone();
        let mut stack: Vec<u32> = Vec::new();
        let (mut at, mut name): (usize, Option<(usize, usize)>) = (0, None);
        let mut wants_name = false;
        loop {
            at = skip_blanks(&bytes, at);
            let Some(&b) = bytes.get(at) else { break };
            if self.parts.len() > MOST_ROWS {
                self.parts.clear();
                return false;
            }
            let parent = stack.last().copied().unwrap_or(NONE);
            // serde_json refuses more than 128 levels.
            let depth = u16::try_from(stack.len()).unwrap_or(u16::MAX);
            let start = name.map_or(at, |(start, _)| start);
            let mut part = Part {
                start: start as u32,
                name_end: name.map_or(start, |(_, end)| end) as u32,
                value: at as u32,
                end: 0,
                parent,
                close: NONE,
                depth,
                kind: Kind::Leaf,
                comma: false,
            };
            match b {
                b'"' if wants_name => {
                    let end = string_end(&bytes, at);
                    name = Some((at, end));
                    wants_name = false;
                    at = skip_blanks(&bytes, end) + 1;
                    continue;
                }
                b'{' | b'[' => {
                    let close = skip_blanks(&bytes, at + 1);
                    if bytes.get(close).is_some_and(|c| b"}]".contains(c)) {
                        part.end = close as u32 + 1;
                        at = close + 1;
                        self.parts.push(part);
                    } else {
                        part.end = at as u32 + 1;
                        part.kind = Kind::Open;
                        stack.push(self.parts.len() as u32);
                        self.parts.push(part);
                        name = None;
                        wants_name = b == b'{';
                        at += 1;
                        continue;
                    }
                }
                b'}' | b']' => {
                    let Some(open) = stack.pop() else { break };
                    let row = self.parts.len() as u32;
                    let above = &mut self.parts[open as usize];
                    above.close = row;
                    (part.depth, part.parent) = (above.depth, open);
                    (part.kind, part.end) = (Kind::Close, at as u32 + 1);
                    at += 1;
                    self.parts.push(part);
                }
                _ => {
                    let end = if b == b'"' { string_end(&bytes, at) } else { word_end(&bytes, at) };
                    part.end = end as u32;
                    at = end;
                    let room = width.saturating_sub(indent(depth, width) + 2);
                    let text = &bytes[start..end];
                    if text.len() <= room && text.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
                        self.parts.push(part);
                    } else {
                        self.long(part, room);
                    }
                }
            }
            name = None;
            at = skip_blanks(&bytes, at);
            if bytes.get(at) == Some(&b',') {
                at += 1;
                if let Some(last) = self.parts.last_mut() {
                    last.comma = true;
                }
                let open = stack.last().map(|open| self.parts[*open as usize].value as usize);
                wants_name = open.and_then(|open| bytes.get(open)) == Some(&b'{');
            }
        }
        true
    }

    /// A value that may not fit one row.
    fn long(&mut self, part: Part, room: usize) {
        let before = self.parts.len();
        self.broken(part.start as usize, part.end as usize, part.depth, part.parent, room);
        if self.parts.len() == before + 1 {
            self.parts[before] = part;
        } else {
            for more in &mut self.parts[before + 1..] {
                more.depth += 1;
            }
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

fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    at + bytes.get(at..).unwrap_or_default().iter().take_while(|b| b" \t\r\n".contains(b)).count()
}

/// Behind the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while let Some(b) = bytes.get(i) {
        match b {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    let len = bytes[at..].iter().take_while(|b| !b" \t\r\n,]}".contains(b)).count();
    // Never stay where it was, whatever the bytes are.
    at + len.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doc(text: &str, form: Form, width: usize) -> Doc {
        Doc::new(Bytes::copy_from_slice(text.as_bytes()), form, width)
    }

    fn rows(doc: &Doc, folded: &[usize], width: usize) -> Vec<String> {
        let folded: HashSet<usize> = folded.iter().copied().collect();
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            let row = doc.draw(at, &folded, width);
            out.push(row.iter().map(Run::text).collect::<String>());
            let next = doc.below(at, 1, &folded);
            if next == at {
                return out;
            }
            assert_eq!(doc.above(next, 1, &folded), at);
            at = next;
        }
    }

    #[test]
    fn json_is_set_out_with_its_own_bytes() {
        let doc = doc(r#"{"a" : 1.0,"b":[{"c":"\u00e9"} ,2],"d":{ },"a":1e5}"#, Form::Pretty, 80);
        assert_eq!(
            rows(&doc, &[], 80),
            [
                "{",
                "  \"a\": 1.0,",
                "  \"b\": [",
                "    {",
                "      \"c\": \"\\u00e9\"",
                "    },",
                "    2",
                "  ],",
                "  \"d\": {},",
                "  \"a\": 1e5",
                "}"
            ]
        );
        assert_eq!(rows(&doc, &[2], 80)[2], "  \"b\": [ … 2 ],");
        assert_eq!(rows(&doc, &[0], 80), ["{ … 4 }"]);
        assert_eq!(doc.foldable(6), Some(2));
        assert_eq!(doc.shown(4, &HashSet::from([2])), 2);
    }

    #[test]
    fn long_values_are_broken_and_other_bodies_are_raw() {
        let long = format!(r#"{{"text":"{}"}}"#, "z".repeat(50));
        let set = rows(&doc(&long, Form::Pretty, 30), &[], 30);
        assert_eq!(set.len(), 5, "{set:?}");
        assert_eq!(set.concat().matches('z').count(), 50);
        assert_eq!(rows(&doc("plain\ntext", Form::Pretty, 30), &[], 30), ["plain", "text"]);
        assert_eq!(doc("", Form::Pretty, 30).len(), 1);
        let bytes = Doc::new(Bytes::from_static(b"ab\xff\x00"), Form::Hex, 80);
        assert_eq!(rows(&bytes, &[], 80), [format!("{:59}ab··", "00000000  61 62 ff 00")]);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_set_out_and_folds(value in json(), width in 16_usize..90, pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let doc = doc(&text, Form::Pretty, width);
            rows(&doc, &[], width);
            if value.is_object() || value.is_array() {
                prop_assert_eq!(doc.form, Form::Pretty);
                let wide = Doc::new(Bytes::from(text.clone()), Form::Pretty, 1_000_000);
                if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                    let back: serde_json::Value = serde_json::from_str(&rows(&wide, &[], 1_000_000).concat()).unwrap();
                    prop_assert_eq!(back, value);
                }
            }
            let all: Vec<usize> = doc.all_foldable().into_iter().collect();
            rows(&doc, &all, width);
        }

        #[test]
        fn any_bytes_are_shown_within_their_width(bytes in proptest::collection::vec(any::<u8>(), 0..300), width in 16_usize..60) {
            for form in [Form::Pretty, Form::Raw] {
                let doc = Doc::new(Bytes::from(bytes.clone()), form, width);
                for row in 0..doc.len() {
                    let drawn = doc.draw(row, &HashSet::new(), width);
                    prop_assert!(drawn.iter().map(Run::columns).sum::<usize>() <= width, "{drawn:?}");
                }
            }
        }
    }
}
