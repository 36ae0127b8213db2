//! JSON written again in the ways of common libraries, byte for byte: numbers keep their text, members their order and their repeats.
//! Owns no guess about which way it was; bodies.rs does.

/// The deepest nesting that is read. Healthie's payloads have three levels.
const MAX_DEPTH: usize = 64;

/// Where blanks and line ends stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `{"a":1,"b":[]}`: JavaScript, Ruby, PHP, Go.
    Compact,
    /// `{"a": 1, "b": []}`: Python.
    Spaced,
    /// One member a line, indented by two blanks.
    Indent2,
    /// One member a line, indented by four blanks.
    Indent4,
}

/// Which characters of strings are written as escapes. Control characters, `"` and `\` always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escapes {
    /// Strings letter by letter as they stand in the body.
    AsSent,
    /// None: JavaScript, plain Ruby.
    Bare,
    /// All but ASCII: Python.
    NonAscii,
    /// All but ASCII, and `/`: PHP.
    NonAsciiAndSlash,
    /// `/` only: PHP with `JSON_UNESCAPED_UNICODE`.
    Slash,
    /// `<`, `>`, `&` and the two Unicode line ends: Ruby on Rails, Go.
    Html,
}

/// One way to write JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Style {
    /// Blanks and line ends.
    pub layout: Layout,
    /// Escapes in strings.
    pub escapes: Escapes,
    /// Whether members are sorted by their names.
    pub sorted: bool,
}

/// A document, borrowed from its text.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    /// A number, `true`, `false` or `null`, as it stands.
    Literal(&'a str),
    /// What stands between the quotes.
    Text(&'a str),
    List(Vec<Node<'a>>),
    Object(Vec<(&'a str, Node<'a>)>),
}

/// Reads a whole text; `None` if it is not JSON (RFC 8259) or nested too deeply.
pub(crate) fn read(text: &str) -> Option<Node<'_>> {
    let mut reader = Reader { text, at: 0 };
    let node = reader.node(0)?;
    reader.blanks();
    (reader.at == text.len()).then_some(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn node(&mut self, depth: usize) -> Option<Node<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blanks();
        match self.peek()? {
            b'"' => self.string().map(Node::Text),
            b'[' => {
                let mut list = Vec::new();
                self.members(b'[', b']', |reader| {
                    list.push(reader.node(depth + 1)?);
                    Some(())
                })?;
                Some(Node::List(list))
            }
            b'{' => {
                let mut object = Vec::new();
                self.members(b'{', b'}', |reader| {
                    reader.blanks();
                    let name = reader.string()?;
                    reader.eat(b':')?;
                    object.push((name, reader.node(depth + 1)?));
                    Some(())
                })?;
                Some(Node::Object(object))
            }
            _ => self.literal().map(Node::Literal),
        }
    }

    fn members(&mut self, open: u8, close: u8, mut member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.eat(open)?;
        if self.eat(close).is_some() {
            return Some(());
        }
        loop {
            member(self)?;
            if self.eat(b',').is_none() {
                return self.eat(close);
            }
        }
    }

    fn string(&mut self) -> Option<&'a str> {
        self.eat(b'"')?;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    let text = self.text.get(start..self.at)?;
                    self.at += 1;
                    return Some(text);
                }
                b'\\' => {
                    self.at += match self.text.as_bytes().get(self.at + 1)? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                        b'u' if unit(self.text.get(self.at + 2..)?).is_some() => 6,
                        _ => return None,
                    };
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    fn literal(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.')).unwrap_or(rest.len());
        let text = &rest[..end];
        self.at += end;
        // A number's exact grammar does not matter here: its text is kept.
        let number =
            text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok();
        (number || matches!(text, "true" | "false" | "null")).then_some(text)
    }
}

/// The UTF-16 unit of the four hex digits that the text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.get(..4)?;
    if digits.bytes().all(|b| b.is_ascii_hexdigit()) { u16::from_str_radix(digits, 16).ok() } else { None }
}

/// Writes a document in that style, and tells whether it got to the end: it stops at that many bytes, because a document nested deeply
/// can be many times longer with its blanks than without.
pub(crate) fn write(node: &Node<'_>, style: Style, most: usize, out: &mut String) -> bool {
    written(node, style, 0, most, out);
    out.len() <= most
}

fn written(node: &Node<'_>, style: Style, depth: usize, most: usize, out: &mut String) {
    match node {
        Node::Literal(text) => out.push_str(text),
        Node::Text(text) => quoted(text, style.escapes, out),
        Node::List(list) if list.is_empty() => out.push_str("[]"),
        Node::Object(object) if object.is_empty() => out.push_str("{}"),
        Node::List(list) => {
            out.push('[');
            for (at, node) in list.iter().enumerate() {
                if out.len() > most {
                    return;
                }
                between(style.layout, at, depth, out);
                written(node, style, depth + 1, most, out);
            }
            line(style.layout, depth, out);
            out.push(']');
        }
        Node::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            if style.sorted {
                members.sort_by_key(|(name, _)| *name);
            }
            out.push('{');
            for (at, (name, node)) in members.into_iter().enumerate() {
                if out.len() > most {
                    return;
                }
                between(style.layout, at, depth, out);
                quoted(name, style.escapes, out);
                out.push_str(if style.layout == Layout::Compact { ":" } else { ": " });
                written(node, style, depth + 1, most, out);
            }
            line(style.layout, depth, out);
            out.push('}');
        }
    }
}

fn between(layout: Layout, at: usize, depth: usize, out: &mut String) {
    if at > 0 {
        out.push_str(if layout == Layout::Spaced { ", " } else { "," });
    }
    line(layout, depth + 1, out);
}

fn line(layout: Layout, depth: usize, out: &mut String) {
    let blanks = match layout {
        Layout::Compact | Layout::Spaced => return,
        Layout::Indent2 => 2,
        Layout::Indent4 => 4,
    };
    out.push('\n');
    for _ in 0..blanks * depth {
        out.push(' ');
    }
}

fn quoted(raw: &str, escapes: Escapes, out: &mut String) {
    out.push('"');
    if escapes == Escapes::AsSent
        || !raw.bytes().any(|b| !b.is_ascii() || matches!(b, b'\\' | b'/' | b'<' | b'>' | b'&'))
    {
        out.push_str(raw);
    } else {
        let mut rest = raw;
        while let Some((c, after)) = next(rest) {
            rest = after;
            match c {
                Ok(c) => character(c, escapes, out),
                // Half of a pair: no character, so an escape is the only way to write it.
                Err(half) => escaped(half, out),
            }
        }
    }
    out.push('"');
}

/// The first character of a string's raw text, or a lone half of a surrogate pair, and what follows it.
fn next(raw: &str) -> Option<(Result<char, u16>, &str)> {
    let first = raw.chars().next()?;
    if first != '\\' {
        return Some((Ok(first), &raw[first.len_utf8()..]));
    }
    let kind = raw[1..].chars().next()?;
    let simple = |c| Some((Ok(c), &raw[2..]));
    match kind {
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'u' => {
            let high = unit(raw.get(2..)?)?;
            let rest = &raw[6..];
            let low = rest.strip_prefix("\\u").and_then(unit);
            let pair = low.and_then(|low| char::decode_utf16([high, low]).next()?.ok().filter(|c| c.len_utf16() == 2));
            match pair {
                Some(c) => Some((Ok(c), &rest[6..])),
                None => Some((char::from_u32(u32::from(high)).ok_or(high), rest)),
            }
        }
        _ => simple(kind),
    }
}

fn character(c: char, escapes: Escapes, out: &mut String) {
    let slash = matches!(escapes, Escapes::NonAsciiAndSlash | Escapes::Slash);
    let ascii = matches!(escapes, Escapes::NonAscii | Escapes::NonAsciiAndSlash);
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0'..='\u{1f}' => escaped(c as u16, out),
        '/' if slash => out.push_str("\\/"),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escapes == Escapes::Html => escaped(c as u16, out),
        _ if ascii && !c.is_ascii() => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped(*unit, out)),
        _ => out.push(c),
    }
}

fn escaped(unit: u16, out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{unit:04x}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str, layout: Layout, escapes: Escapes, sorted: bool) -> String {
        let mut out = String::new();
        write(&read(text).unwrap(), Style { layout, escapes, sorted }, usize::MAX, &mut out);
        out
    }

    const SENT: &str = " {\"b\" : [1.50, {}, [] ,true],\n\"a\":\"\\u00e4\\/<😀\\ud83d\\n\"} ";

    #[test]
    fn as_common_libraries_write_it() {
        assert_eq!(
            again(SENT, Layout::Compact, Escapes::Bare, false),
            "{\"b\":[1.50,{},[],true],\"a\":\"ä/<😀\\ud83d\\n\"}"
        );
        assert_eq!(
            again(SENT, Layout::Spaced, Escapes::NonAscii, true),
            "{\"a\": \"\\u00e4/<\\ud83d\\ude00\\ud83d\\n\", \"b\": [1.50, {}, [], true]}"
        );
        assert_eq!(
            again(SENT, Layout::Compact, Escapes::NonAsciiAndSlash, false),
            "{\"b\":[1.50,{},[],true],\"a\":\"\\u00e4\\/<\\ud83d\\ude00\\ud83d\\n\"}"
        );
        assert_eq!(
            again(SENT, Layout::Compact, Escapes::Html, false),
            "{\"b\":[1.50,{},[],true],\"a\":\"ä/\\u003c😀\\ud83d\\n\"}"
        );
        assert_eq!(
            again(r#"{"a":[1,{"b":2}]}"#, Layout::Indent2, Escapes::AsSent, false),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ]\n}"
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in
            ["", "{", "{\"a\"}", "[1,]", "nul", "1 2", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "--", "inf", "nan", "{1:2}"]
        {
            assert!(read(text).is_none(), "{text:?}");
        }
        assert!(read(&"[".repeat(100_000)).is_none());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_what_it_writes_is_the_same_value(text in r#"[\[\]{}:,"\\a0-9ue/ä😀. -]{0,40}"#, any: String) {
            for text in [text, any, SENT.to_owned()] {
                let Some(node) = read(&text) else { continue };
                for escapes in [Escapes::AsSent, Escapes::Bare, Escapes::NonAscii, Escapes::NonAsciiAndSlash, Escapes::Slash, Escapes::Html] {
                    for layout in [Layout::Compact, Layout::Spaced, Layout::Indent2, Layout::Indent4] {
                        let mut out = String::new();
                        write(&node, Style { layout, escapes, sorted: false }, usize::MAX, &mut out);
                        let style = Style { layout: Layout::Compact, escapes: Escapes::NonAscii, sorted: false };
                        let (mut one, mut other) = (String::new(), String::new());
                        write(&node, style, usize::MAX, &mut one);
                        write(&read(&out).unwrap(), style, usize::MAX, &mut other);
                        prop_assert_eq!(one, other);
                    }
                }
            }
        }
    }
}
