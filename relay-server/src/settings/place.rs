//! A mistake in a settings file, shown where it is: file, line, column, the line itself and a caret below it.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// The longest line that is shown, in characters.
const SHOWN: usize = 160;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The file, as it was named.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// What is wrong and what to do.
    pub(crate) message: String,
    /// The line and how many characters of it are meant; none where it may hold a secret.
    excerpt: Option<(String, usize)>,
}

impl Mistake {
    /// A mistake at these bytes of the text.
    pub(crate) fn at(file: &str, text: &str, span: &Range<usize>, message: impl Into<String>) -> Mistake {
        let (line, column) = position(text, span.start);
        let whole = text.lines().nth(line - 1).unwrap_or_default();
        let meant = text.get(span.clone()).and_then(|t| t.lines().next()).map_or(1, |t| t.chars().count().max(1));
        let excerpt = visible(whole);
        let room = excerpt.chars().count().saturating_sub(column - 1).max(1);
        let excerpt = Some((excerpt, meant.min(room)));
        Mistake { file: file.to_owned(), line, column, message: message.into(), excerpt }
    }

    /// The same without the line, which must not be shown.
    pub(crate) fn unseen(mut self) -> Mistake {
        self.excerpt = None;
        self
    }

    /// The same with no more of the line than what is meant: what stands behind a key that is not known may be a secret.
    pub(crate) fn only_what_is_meant(mut self) -> Mistake {
        if let Some((line, meant)) = &mut self.excerpt {
            *line = line.chars().take(self.column - 1 + *meant).collect();
        }
        self
    }

    /// Where it is and what is wrong, in one line.
    pub(crate) fn line(&self) -> String {
        let one: Vec<&str> = self.message.split_whitespace().collect();
        format!("{}:{}:{}: {}", self.file, self.line, self.column, one.join(" "))
    }

    /// The line of the file with a caret below it, if it may be shown.
    pub(crate) fn excerpt(&self) -> Option<String> {
        let (line, meant) = self.excerpt.as_ref()?;
        let (margin, indent) = (self.line.to_string().len(), self.column - 1);
        let mut shown = format!(" {} | {line}", self.line);
        if indent < SHOWN {
            let _ = write!(shown, "\n {:margin$} | {:indent$}{}", "", "", "^".repeat(*meant));
        }
        Some(shown)
    }
}

/// The line and column of a byte of the text, both from 1.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The line with nothing in it that moves a terminal's cursor; each character still takes one.
fn visible(line: &str) -> String {
    line.chars()
        .take(SHOWN)
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.excerpt().map_or(Ok(()), |excerpt| write!(f, "\n{excerpt}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        let text = "a = 1\n\tzürich = \"x\u{1b}[2J\"\n";
        let at = text.find('"').unwrap();
        let mistake = Mistake::at("f.toml", text, &(at..at + 3), "no such town");
        let shown = mistake.to_string();
        assert_eq!(shown, "f.toml:2:11: no such town\n 2 |  zürich = \"x\u{fffd}[2J\"\n   |           ^^^");
        assert_eq!(mistake.line(), "f.toml:2:11: no such town");
        assert_eq!(mistake.unseen().to_string(), "f.toml:2:11: no such town");
        let key = Mistake::at("f", "kye = 'hunter2'", &(0..3), "no such key").only_what_is_meant();
        assert_eq!(key.to_string(), "f:1:1: no such key\n 1 | kye\n   | ^^^");
    }

    #[test]
    fn no_place_makes_it_panic() {
        for text in ["", "\n", "a\n\nb", "ü"] {
            for start in 0..=text.len() + 2 {
                let _ = Mistake::at("f", text, &(start..start + 9), "").to_string();
            }
        }
    }
}
