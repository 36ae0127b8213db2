//! Words of a shell's command line, to the byte: quotes, backslashes and `$'…'` as bash and zsh have them, and quoting that gives the same
//! bytes back. Nothing is ever expanded: what a shell would replace is refused by line.

use std::fmt::Write as _;

use super::ReadError;
use crate::safe_text::acts;

/// The most words of a command line.
const MAX_WORDS: usize = 4096;

/// A part of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word.
    Word(Vec<u8>),
    /// `|`.
    Pipe,
}

/// The parts of one command line, with the lines they begin in.
pub(super) fn tokens(text: &[u8], skipped: usize) -> Result<Vec<(usize, Token)>, ReadError> {
    let mut reader = Reader { rest: text, line: skipped + 1 };
    let mut tokens = Vec::new();
    let mut ended = false;
    while let Some(next) = reader.peek() {
        match next {
            b' ' | b'\t' => drop(reader.take()),
            b'\r' if reader.rest.get(1) == Some(&b'\n') => drop(reader.take()),
            b'\n' | b';' => {
                // A line that ends in a pipe goes on.
                ended |= !matches!(tokens.last(), None | Some((_, Token::Pipe)));
                reader.take();
            }
            b'#' => {
                while reader.peek().is_some_and(|b| b != b'\n') {
                    reader.take();
                }
            }
            b'\\' if reader.rest.get(1) == Some(&b'\n') => {
                reader.take();
                reader.take();
            }
            b'\\' if reader.rest.starts_with(b"\\\r\n") => {
                reader.rest = &reader.rest[2..];
                reader.take();
            }
            _ if ended => return Err(ReadError::at(reader.line, "there is more than one command; give one at a time")),
            b'|' => {
                reader.take();
                tokens.push((reader.line, Token::Pipe));
            }
            _ => {
                let line = reader.line;
                tokens.push((line, Token::Word(reader.word()?)));
            }
        }
        if tokens.len() > MAX_WORDS {
            return Err(ReadError::at(reader.line, format!("there are more than {MAX_WORDS} words")));
        }
    }
    Ok(tokens)
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(*first == b'\n');
        Some(*first)
    }

    /// What follows, up to `end`, which is taken too.
    fn until_quote(&mut self, opened: usize) -> Result<u8, ReadError> {
        self.take().ok_or_else(|| ReadError::at(opened, "a quote begins and does not end"))
    }

    fn word(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut out = Vec::new();
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\t' | b'\r' | b'\n' | b'|' | b';' => break,
                b'\'' => {
                    let opened = self.line;
                    self.take();
                    loop {
                        match self.until_quote(opened)? {
                            b'\'' => break,
                            b => out.push(b),
                        }
                    }
                }
                b'"' => self.double(&mut out)?,
                b'$' if self.rest.get(1) == Some(&b'\'') => self.dollar(&mut out)?,
                b'$' | b'`' => return Err(self.replaced()),
                b'&' | b'<' | b'>' | b'(' | b')' => {
                    let what =
                        format!("a shell would take {:?} for its own; put quotes around the word", char::from(b));
                    return Err(ReadError::at(self.line, what));
                }
                b'^' if matches!(self.rest.get(1), Some(b'"' | b'\n' | b'\r')) => {
                    return Err(ReadError::at(
                        self.line,
                        "this is written for cmd.exe; choose \"Copy as cURL (bash)\"",
                    ));
                }
                b'\\' => {
                    self.take();
                    match self.take() {
                        Some(b'\n') => {}
                        Some(b'\r') if self.peek() == Some(b'\n') => drop(self.take()),
                        Some(b) => out.push(b),
                        None => out.push(b'\\'),
                    }
                }
                b => {
                    self.take();
                    out.push(b);
                }
            }
        }
        Ok(out)
    }

    fn replaced(&self) -> ReadError {
        ReadError::at(self.line, "a shell would replace what begins with $ or ` here; write it out")
    }

    fn double(&mut self, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let opened = self.line;
        self.take();
        loop {
            match self.until_quote(opened)? {
                b'"' => return Ok(()),
                b'`' => return Err(self.replaced()),
                b'$' if self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b"_{(@*#?$!-".contains(&b)) => {
                    return Err(self.replaced());
                }
                b'\\' => match self.until_quote(opened)? {
                    b'\n' => {}
                    b @ (b'"' | b'\\' | b'$' | b'`') => out.push(b),
                    b => out.extend([b'\\', b]),
                },
                b => out.push(b),
            }
        }
    }

    /// `$'…'`, with the escapes of bash.
    fn dollar(&mut self, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let opened = self.line;
        self.take();
        self.take();
        loop {
            match self.until_quote(opened)? {
                b'\'' => return Ok(()),
                b'\\' => match self.until_quote(opened)? {
                    b'a' => out.push(7),
                    b'b' => out.push(8),
                    b'e' | b'E' => out.push(0x1b),
                    b'f' => out.push(0x0c),
                    b'n' => out.push(b'\n'),
                    b'r' => out.push(b'\r'),
                    b't' => out.push(b'\t'),
                    b'v' => out.push(0x0b),
                    b @ (b'\\' | b'\'' | b'"' | b'?') => out.push(b),
                    b'c' => {
                        let b = self.until_quote(opened)?;
                        out.push(b.to_ascii_uppercase() ^ 0x40);
                    }
                    b @ b'0'..=b'7' => {
                        // At most three digits, of which the first is taken.
                        let value = u32::from(b - b'0');
                        out.push(self.digits(8, 2, value) as u8);
                    }
                    b'x' if self.is_digit(16) => out.push(self.digits(16, 2, 0) as u8),
                    b @ (b'u' | b'U') if self.is_digit(16) => {
                        let value = self.digits(16, if b == b'u' { 4 } else { 8 }, 0);
                        let c = self
                            .surrogate(value)
                            .and_then(char::from_u32)
                            .ok_or_else(|| ReadError::at(self.line, format!("\\u{value:04x} is not a character")))?;
                        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    b => out.extend([b'\\', b]),
                },
                b => out.push(b),
            }
        }
    }

    /// The second half of a pair of UTF-16 units, which browsers write as two escapes.
    fn surrogate(&mut self, first: u32) -> Option<u32> {
        if !(0xd800..0xdc00).contains(&first) {
            return Some(first);
        }
        self.rest = self.rest.strip_prefix(b"\\u")?;
        let second = self.digits(16, 4, 0);
        (0xdc00..0xe000).contains(&second).then(|| 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn is_digit(&self, radix: u32) -> bool {
        self.peek().is_some_and(|b| char::from(b).is_digit(radix))
    }

    fn digits(&mut self, radix: u32, most: usize, mut value: u32) -> u32 {
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(radix)) else { break };
            value = value.wrapping_mul(radix).wrapping_add(digit);
            self.take();
        }
        value
    }
}

/// Bytes as one word that bash, zsh and ksh read as exactly these, on one line, and that cannot act on a terminal it is printed to. `None`
/// where no word can have them: a zero byte.
pub(super) fn quoted(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+=@:%,".contains(b);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => return Some(text.to_owned()),
        // Within single quotes a backslash is nothing special, but one character cannot be there: the quote itself.
        Ok(text) if !text.chars().any(|c| acts(c) || c == '\'') => return Some(format!("'{text}'")),
        _ => {}
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    out.push_str("$'");
    let hex = |out: &mut String, bytes: &[u8]| {
        for b in bytes {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{b:02x}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\'' | '\\' => out.extend(['\\', c]),
                // An interactive bash may take it for its history even here.
                '!' => hex(&mut out, b"!"),
                c if acts(c) => hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.push(c),
            }
        }
        hex(&mut out, chunk.invalid());
    }
    out.push('\'');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Result<Vec<String>, String> {
        let tokens = tokens(text.as_bytes(), 0).map_err(|e| e.to_string())?;
        Ok(tokens
            .into_iter()
            .map(|(_, token)| match token {
                Token::Word(word) => String::from_utf8_lossy(&word).into_owned(),
                Token::Pipe => "|".into(),
            })
            .collect())
    }

    #[test]
    fn words_are_a_shell_s() {
        for (text, expected) in [
            ("a  'b c'd \"e\\\"f\\n\" \\g", &["a", "b cd", "e\"f\\n", "g"][..]),
            ("a \\\n  b \\\r\n c\n", &["a", "b", "c"]),
            (r"$'\n\x41\u00e4\101\'\\\?\cA\q' x", &["\nAäA'\\?\u{1}\\q", "x"]),
            (r"$'\ud83d\ude00'", &["😀"]),
            ("'' \"\" a", &["", "", "a"]),
            ("a|b | c # d\n", &["a", "|", "b", "|", "c"]),
            ("a |\n b", &["a", "|", "b"]),
            ("\"5 $ and $\"", &["5 $ and $"]),
            ("'a\nb'", &["a\nb"]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text:?}");
        }
        for (text, expected) in [
            ("a\nb", "line 2: there is more than one command"),
            ("a\n'b", "more than one"),
            ("a \\\n 'b\n\n", "line 2: a quote begins"),
            ("a $HOME", "line 1: a shell would replace"),
            ("a \"$(b)\"", "line 1: a shell would replace"),
            ("a http://h/?b&c", "a shell would take '&'"),
            ("curl ^\"http", "cmd.exe"),
            (r"$'\ud83d'", "not a character"),
        ] {
            let error = words(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn quoting_gives_the_bytes_back(bytes: Vec<u8>) {
            match quoted(&bytes) {
                None => prop_assert!(bytes.contains(&0)),
                Some(word) => {
                    prop_assert!(!word.chars().any(acts), "{word:?}");
                    prop_assert_eq!(tokens(word.as_bytes(), 0).unwrap(), vec![(1, Token::Word(bytes))], "{}", word);
                }
            }
        }
    }
}
