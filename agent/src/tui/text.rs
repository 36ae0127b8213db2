//! Text as panes lay it out: runs of one tone, rows of runs, and cutting and wrapping by columns.
//!
//! The only way from bytes of a delivery to the screen: a [`Run`] is made of text that went through `safe_text`, and nothing else makes one.

use std::fmt::Write as _;

use crate::safe_text::{Drawn, bytes_as_text, pieces};

/// What a piece of text says by its looks; `theme` decides what that is on the terminal at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As any text.
    #[default]
    Plain,
    /// Less than other text.
    Dim,
    /// More than other text.
    Strong,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// To be looked at.
    Doubtful,
    /// A name, before its value.
    Name,
    /// A string of JSON.
    Text,
    /// A number or a word of JSON.
    Number,
    /// What only the first of two has.
    Removed,
    /// What only the second of two has.
    Added,
}

/// Text of one tone, safe to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) tone: Tone,
    text: String,
    columns: usize,
}

/// One row of a pane.
pub(crate) type Row = Vec<Run>;

impl Run {
    /// Text from anywhere, whole.
    pub(crate) fn new(tone: Tone, text: &str) -> Run {
        Run::cut(tone, text, usize::MAX)
    }

    /// Bytes from anywhere; what is no UTF-8 is shown as `\xNN`.
    pub(crate) fn bytes(tone: Tone, bytes: &[u8]) -> Run {
        Run::new(tone, &bytes_as_text(bytes))
    }

    /// At most so many columns; where something is left out the last is `…`. Does not look at more of the text than that takes.
    pub(crate) fn cut(tone: Tone, text: &str, most: usize) -> Run {
        let mut run = Run { tone, text: String::new(), columns: 0 };
        // Where the text would have to end to make room for the ellipsis.
        let (mut end, mut end_columns) = (0, 0);
        for piece in pieces(text) {
            if run.columns + piece.columns > most {
                run.text.truncate(end);
                run.columns = end_columns;
                if most > 0 {
                    run.text.push('…');
                    run.columns += 1;
                }
                return run;
            }
            run.columns += piece.columns;
            push(&mut run.text, &piece.text);
            if run.columns < most {
                (end, end_columns) = (run.text.len(), run.columns);
            }
        }
        run
    }

    /// As [`Run::cut`], filled up with blanks.
    pub(crate) fn column(tone: Tone, text: &str, columns: usize) -> Run {
        let mut run = Run::cut(tone, text, columns);
        run.fill(columns, false);
        run
    }

    /// As [`Run::column`], with the blanks before the text.
    pub(crate) fn right(tone: Tone, text: &str, columns: usize) -> Run {
        let mut run = Run::cut(tone, text, columns);
        run.fill(columns, true);
        run
    }

    /// The same text in another tone.
    pub(crate) fn toned(self, tone: Tone) -> Run {
        Run { tone, ..self }
    }

    fn fill(&mut self, columns: usize, before: bool) {
        let blanks = " ".repeat(columns.saturating_sub(self.columns));
        if before {
            self.text.insert_str(0, &blanks);
        } else {
            self.text.push_str(&blanks);
        }
        self.columns = self.columns.max(columns);
    }

    /// What is drawn.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The columns it takes.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }
}

fn push(out: &mut String, drawn: &Drawn) {
    match drawn {
        Drawn::Plain(c) => out.push(*c),
        Drawn::Shown(text) => out.push_str(text),
    }
}

/// A run of each pair.
pub(crate) fn row<const N: usize>(runs: [(Tone, &str); N]) -> Row {
    runs.into_iter().map(|(tone, text)| Run::new(tone, text)).collect()
}

/// `name` and then `text`, wrapped to `width` under itself.
pub(crate) fn field(name: &str, tone: Tone, text: &str, width: usize) -> Vec<Row> {
    const NAMES: usize = 12;
    let (indent, rest) = if width >= 3 * NAMES { (NAMES, width - NAMES) } else { (2, width.saturating_sub(2)) };
    let mut rows: Vec<Row> = Vec::new();
    let name_fits = indent == NAMES;
    if !name_fits {
        rows.push(vec![Run::cut(Tone::Name, name, width)]);
    }
    for (i, line) in wrap(text, rest).into_iter().enumerate() {
        let before = if i == 0 && name_fits { name } else { "" };
        rows.push(vec![Run::column(Tone::Name, before, indent), Run { tone, ..line }]);
    }
    rows
}

/// Lines of at most `width` columns, broken at line breaks and where they are full, after a blank if there is one not far from it.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<Run> {
    let width = width.max(1);
    let mut rows = Vec::new();
    for line in text.split('\n') {
        let mut run = Run { tone: Tone::Plain, text: String::new(), columns: 0 };
        // The last blank: what is behind it moves to the next line.
        let mut blank = None;
        for piece in pieces(line) {
            // Twice where what moved to the next line fills it so far that this piece has no room there either.
            while run.columns + piece.columns > width && run.columns > 0 {
                let mut next = Run { tone: Tone::Plain, text: String::new(), columns: 0 };
                if let Some((end, columns)) = blank.take().filter(|(_, columns)| columns * 3 > width) {
                    next.text = run.text.split_off(end);
                    next.columns = run.columns - columns;
                    run.columns = columns;
                }
                rows.push(std::mem::replace(&mut run, next));
            }
            push(&mut run.text, &piece.text);
            run.columns += piece.columns;
            if piece.text == Drawn::Plain(' ') {
                blank = Some((run.text.len(), run.columns));
            }
        }
        rows.push(run);
    }
    rows
}

/// `12.3 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        // What would be rounded to 1024.0 KiB is 1.0 MiB.
        1024..1_048_524 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// `12,345`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `3 s`, `5 min`, `2 h`, `4 d`.
pub(crate) fn age(since: std::time::Duration) -> String {
    let s = since.as_secs();
    match s {
        0..100 => format!("{s} s"),
        100..6000 => format!("{} min", s / 60),
        6000..172_800 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

/// How long after something: `120 ms`, `4.2 s`, `5 min`, and then as [`age`].
pub(crate) fn span(span: std::time::Duration) -> String {
    match span.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms @ 1000..100_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => age(span),
    }
}

/// `4.2 ms`, `1.25 s`, in seven columns at most.
pub(crate) fn took(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        1_000_000..100_000_000 => format!("{:.2} s", micros as f64 / 1e6),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// Bytes in hexadecimal, two digits each, separated.
pub(crate) fn hex(bytes: &[u8], separator: &str) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for (i, b) in bytes.iter().enumerate() {
        if i > 0 {
            out.push_str(separator);
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{b:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    #[test]
    fn cutting_counts_columns() {
        let cut = |text: &str, most| Run::cut(Tone::Plain, text, most).text;
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("a\u{1b}[", 6), "a…");
        assert_eq!(cut("a", 0), "");
        assert_eq!(Run::right(Tone::Plain, "日", 4).text, "  日");
    }

    #[test]
    fn wrapping_prefers_blanks() {
        let wrapped = |text: &str, width| wrap(text, width).into_iter().map(|r| r.text).collect::<Vec<_>>();
        assert_eq!(wrapped("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("a\n\nb", 4), ["a", "", "b"]);
        assert_eq!(wrapped("日本語", 5), ["日本", "語"]);
        assert_eq!(wrapped("one two abcdef\u{e0100}", 14), ["one two ", "abcdef", "\\u{e0100}"]);
    }

    #[test]
    fn figures_are_short() {
        assert_eq!((count(7), count(1_234_567)), ("7".into(), "1,234,567".into()));
        assert_eq!((took(4_210), took(999_999), took(1_250_000)), ("4.2 ms".into(), "999 ms".into(), "1.25 s".into()));
        assert_eq!((size(1536), size(1_048_570)), ("1.5 KiB".into(), "1.0 MiB".into()));
    }

    proptest! {
        #[test]
        fn no_row_is_wider_than_it_may_be(text in any::<String>(), width in 12_usize..60) {
            for run in wrap(&text, width) {
                prop_assert!(run.columns <= width, "{run:?}");
                prop_assert!(!run.text.chars().any(char::is_control));
            }
            let run = Run::cut(Tone::Plain, &text, width);
            prop_assert!(run.columns <= width);
        }

        #[test]
        fn widths_are_those_that_the_screen_counts(text in "[ -~äöü日本語é]{0,40}") {
            let run = Run::new(Tone::Plain, &text);
            prop_assert_eq!(run.columns, run.text.width());
        }
    }
}
