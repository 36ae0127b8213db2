//! Finding the rows of a body: of lines, and of JSON without parsing it into values.

use super::{Doc, Kind, NONE, Part, indent};
use crate::safe_text::pieces;

/// More rows than these are not set out; a million rows take some 30 MB.
const MOST_ROWS: usize = 1_000_000;

impl Doc {
    pub(super) fn raw(&mut self, width: usize) {
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
    pub(super) fn set_out(&mut self, width: usize) -> bool {
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
