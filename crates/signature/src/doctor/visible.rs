//! Bytes of a delivery as text in which nothing hides: blanks, line ends, control characters and look-alikes are all seen. Also where
//! two strings first differ. Knows nothing of signatures.

use std::fmt::Write as _;

/// Bytes shown on each side of the first difference.
const BEFORE: usize = 16;
/// Bytes shown from the first difference on.
const AFTER: usize = 24;

/// Bytes as text that shows everything: a blank as `·`, line ends and control characters as escapes (`\n`, `\t`, `\u{1b}`), what is
/// not UTF-8 as `\xff`, a backslash doubled, and letters and digits of all scripts as they are. Safe to print on a terminal.
pub fn visible(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' => out.push('·'),
                '!'..='~' if c != '\\' => out.push(c),
                _ if !c.is_ascii() && c.is_alphanumeric() => out.push(c),
                // The dot that stands for a blank is itself neither letter nor digit, so a dot that was sent is told apart.
                '\\' | '\n' | '\r' | '\t' => out.extend(c.escape_default()),
                _ => out.extend(c.escape_unicode()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The first byte at which two strings differ, with a little of both around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What is compared.
    pub of: Compared,
    /// How many bytes are the same before it.
    pub at: usize,
    /// What stands there in what arrived, as [`visible`] shows it; empty where it ends.
    pub arrived: String,
    /// What stands there in what was signed.
    pub signed: String,
    /// The bytes before it, the same in both.
    pub before: String,
}

/// What a [`Difference`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The string as it is built from the delivery that arrived, and the one that was signed.
    SignedString,
    /// The body that arrived, and the one whose digest was sent.
    Body,
}

impl Difference {
    /// `None` if the two are the same.
    pub(crate) fn between(of: Compared, arrived: &[u8], signed: &[u8]) -> Option<Difference> {
        if arrived == signed {
            return None;
        }
        let at = arrived.iter().zip(signed).take_while(|(a, b)| a == b).count();
        // The context begins and ends with whole characters; the first difference is where it is, be it within one.
        let within = |text: &[u8], at: usize| text.get(at).is_some_and(|b| b & 0xc0 == 0x80);
        let from = |text: &[u8]| {
            let end = (at + AFTER..at + AFTER + 4).find(|end| !within(text, *end)).unwrap_or(at + AFTER);
            visible(&text[at..end.min(text.len())])
        };
        let most = at.saturating_sub(BEFORE);
        let start = (most.saturating_sub(3)..=most).rev().find(|start| !within(arrived, *start)).unwrap_or(most);
        Some(Difference { of, at, arrived: from(arrived), signed: from(signed), before: visible(&arrived[start..at]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_is_seen() {
        let text = "post /p  ä·\\ \n\r\t\u{1b}[31m\u{202e}\u{a0}";
        assert_eq!(visible(text.as_bytes()), "post·/p··ä\\u{b7}\\\\·\\n\\r\\t\\u{1b}[31m\\u{202e}\\u{a0}");
        assert_eq!(visible(b"a\xffb"), "a\\xffb");
    }

    #[test]
    fn the_first_difference_has_its_surroundings() {
        let found = Difference::between(Compared::SignedString, b"post /hook x", b"post /hook/ x").unwrap();
        assert_eq!((found.at, &*found.before, &*found.arrived, &*found.signed), (10, "post·/hook", "·x", "/·x"));
        let end = Difference::between(Compared::Body, b"{}", b"{}\n").unwrap();
        assert_eq!((end.at, &*end.arrived, &*end.signed), (2, "", "\\n"));
        assert_eq!(Difference::between(Compared::Body, b"{}", b"{}"), None);
        let long = format!("{}x{}", "ä".repeat(20) + ".", "ö".repeat(20) + ".");
        let cut = Difference::between(Compared::Body, long.as_bytes(), long.replace('x', ".y").as_bytes()).unwrap();
        let none = Difference::between(Compared::Body, &[0x80; 9000], &[0x80; 9999]).unwrap();
        assert!(none.before.len() + none.arrived.len() + none.signed.len() < 4 * (BEFORE + 2 * AFTER + 9));
        assert_eq!((cut.before, cut.arrived), ("ä".repeat(8) + ".", "x".to_owned() + &"ö".repeat(12)));
    }

    proptest! {
        #[test]
        fn it_is_one_line_without_blanks_and_controls(bytes: Vec<u8>) {
            prop_assert!(visible(&bytes).chars().all(|c| !c.is_control() && !c.is_whitespace()));
        }

        #[test]
        fn different_bytes_look_different(a in "[ ·\\\\nx\n\u{b7}]{0,6}", b in "[ ·\\\\nx\n\u{b7}]{0,6}") {
            prop_assert_eq!(visible(a.as_bytes()) == visible(b.as_bytes()), a == b);
        }
    }
}
