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

/// Whether a character acts on the terminal, on the order of the characters around it, or cannot be seen.
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
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
