//! Text from outside, made safe to print: control characters, escapes, bidirectional overrides and characters without width are
//! shown as what they are instead of acting on the terminal.
//!
//! Owns the decision of what is harmless. It does not own layout: width is counted in characters, wide ones count as one.

use std::fmt::{self, Write as _};

/// Text that may hold anything. Its `Display` is safe for a terminal.
#[derive(Clone, Copy, Debug)]
pub struct SafeText<'a> {
    text: &'a str,
    most: usize,
    lines: bool,
}

impl<'a> SafeText<'a> {
    /// One line: line breaks are made visible too.
    pub fn new(text: &'a str) -> SafeText<'a> {
        SafeText { text, most: usize::MAX, lines: false }
    }

    /// Several lines: line breaks are kept, everything else is made visible.
    pub fn block(text: &'a str) -> SafeText<'a> {
        SafeText { text, most: usize::MAX, lines: true }
    }

    /// At most `most` characters are printed; where something is left out the last of them is `…`.
    pub fn cut(self, most: usize) -> SafeText<'a> {
        SafeText { most, ..self }
    }
}

/// Whether a character acts on the terminal, on the order of the characters around it, or cannot be seen: control and format characters
/// (Cc, Cf), line separators, fillers, variation selectors; flags and skin tones, which join with what is beside them in some terminals;
/// and the few that are drawn far wider than the room they get.
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fdfa}' | '\u{fdfb}' | '\u{fdfd}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{1242b}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{1f1e6}'..='\u{1f1ff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e0fff}')
}

/// The most marks that are drawn onto one character; a heap of them would reach into the lines around it.
const MOST_MARKS: usize = 2;

/// One character as it is drawn: itself, or what stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What is drawn.
    pub text: Drawn,
    /// The columns it takes on a terminal.
    pub columns: usize,
}

/// What is drawn for a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// The character.
    Plain(char),
    /// What makes it visible, ASCII.
    Shown(String),
}

/// The characters of a text as they are drawn, for whoever lays text out in columns. Line breaks and tabs are shown like everything that acts.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece> {
    // A mark at the beginning would be drawn onto what comes before the text.
    let mut marks = MOST_MARKS;
    text.chars().map(move |c| {
        let columns = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
        marks = if columns == 0 { marks + 1 } else { 0 };
        if acts(c) || marks > MOST_MARKS {
            let shown = visible(c);
            marks = MOST_MARKS;
            Piece { columns: shown.len(), text: Drawn::Shown(shown) }
        } else {
            Piece { columns, text: Drawn::Plain(c) }
        }
    })
}

/// The visible form of a character that acts.
fn visible(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c => format!("\\u{{{:x}}}", u32::from(c)),
    }
}

impl fmt::Display for SafeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        let mut width = 0_usize;
        for c in self.text.chars() {
            let before = out.len();
            let mut wide = 1;
            if c == '\n' && self.lines {
                out.push('\n');
                wide = 0;
            } else if c == '\t' && self.lines {
                out.push_str("    ");
                wide = 4;
            } else if acts(c) {
                let shown = visible(c);
                wide = shown.len();
                out.push_str(&shown);
            } else {
                out.push(c);
            }
            width += wide;
            if width > self.most {
                out.truncate(before);
                // Room for the ellipsis.
                while out.chars().count() + 1 > self.most && out.pop().is_some() {}
                if self.most > 0 {
                    out.push('…');
                }
                break;
            }
        }
        f.pad(&out)
    }
}

/// Bytes as one line of text: what is not UTF-8 is shown as `\xNN`.
pub fn bytes_as_text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for b in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_acts_is_shown() {
        assert_eq!(SafeText::new("a\u{1b}[31mb\nc").to_string(), "a\\u{1b}[31mb\\nc");
        assert_eq!(SafeText::new("x\u{202e}y\u{2066}").to_string(), "x\\u{202e}y\\u{2066}");
        assert_eq!(SafeText::new("a\u{200b}b\u{feff}").to_string(), "a\\u{200b}b\\u{feff}");
        assert_eq!(SafeText::block("a\n\tb\r").to_string(), "a\n    b\\r");
        assert_eq!(SafeText::new("Grüße 日本").to_string(), "Grüße 日本");
    }

    #[test]
    fn cutting_says_so() {
        assert_eq!(SafeText::new("abcdef").cut(4).to_string(), "abc…");
        assert_eq!(SafeText::new("abcd").cut(4).to_string(), "abcd");
        assert_eq!(SafeText::new("abcd").cut(0).to_string(), "");
        assert_eq!(format!("{:>6}|", SafeText::new("ab")), "    ab|");
        assert_eq!(bytes_as_text(b"a\xff\xc3\xa4"), "a\\xffä");
    }

    #[test]
    fn marks_do_not_pile_up_and_widths_are_told() {
        let drawn = |text: &str| -> String {
            pieces(text)
                .map(|p| match p.text {
                    Drawn::Plain(c) => c.to_string(),
                    Drawn::Shown(text) => text,
                })
                .collect()
        };
        assert_eq!(drawn("e\u{301}"), "e\u{301}");
        assert_eq!(drawn("e\u{301}\u{301}\u{301}x\u{301}"), "e\u{301}\u{301}\\u{301}x\u{301}");
        assert_eq!(drawn("\u{301}x"), "\\u{301}x");
        assert_eq!(drawn("\u{1f1e9}\u{1f1ea}\t"), "\\u{1f1e9}\\u{1f1ea}\\t");
        assert_eq!(pieces("a日\n").map(|p| p.columns).sum::<usize>(), 5);
    }

    proptest! {
        #[test]
        fn nothing_that_acts_comes_out(text in any::<String>(), most in 0_usize..40) {
            let out = SafeText::new(&text).cut(most).to_string();
            prop_assert!(!out.chars().any(acts), "{out:?}");
            prop_assert!(out.chars().count() <= most);
            let block = SafeText::block(&text).to_string();
            prop_assert!(!block.chars().any(|c| acts(c) && c != '\n'), "{block:?}");
        }

        #[test]
        fn harmless_text_is_left_alone(text in "[ -~äöü日本]{0,60}") {
            prop_assert_eq!(SafeText::new(&text).to_string(), text);
        }
    }
}
