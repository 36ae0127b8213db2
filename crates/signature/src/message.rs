//! A request as the signature sees it: borrowed bytes and the look-up of header lines. Knows nothing of signing.

use std::borrow::Cow;

use crate::Reason;

/// A request exactly as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The method as sent, usually `POST`.
    pub method: &'a str,
    /// The request target as sent, in origin form: `/path` or `/path?query`, neither normalised nor decoded.
    pub target: &'a str,
    /// The header lines as sent, name and value, in any letter case and order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The body as sent.
    pub body: &'a [u8],
}

/// All lines of one name as one value (RFC 9421, section 2.1): blanks trimmed, joined with `, `.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) value: Cow<'a, [u8]>,
    pub(crate) lines: usize,
}

impl<'a> Message<'a> {
    /// What comes before the first `?` of the target.
    pub(crate) fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// What comes after the first `?`, empty if there is none.
    pub(crate) fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The values of all lines of that name (any letter case), without the blanks around them.
    pub(crate) fn lines<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let of_that_name = move |line: &&(&[u8], &[u8])| line.0.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(of_that_name).map(|(_, value)| value.trim_ascii())
    }

    pub(crate) fn field(&self, name: &str) -> Option<Field<'a>> {
        let mut lines = self.lines(name);
        let mut field = Field { value: Cow::Borrowed(lines.next()?), lines: 1 };
        for line in lines {
            let value = field.value.to_mut();
            value.extend_from_slice(b", ");
            value.extend_from_slice(line);
            field.lines += 1;
        }
        Some(field)
    }

    /// A method and a target in which nothing can pass for the end of one part of the signed string and the start of another.
    pub(crate) fn check_request_line(&self) -> Result<(), Reason> {
        if self.method.is_empty() || !self.method.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Reason::MalformedRequest { what: "method", sent: self.method.to_owned() });
        }
        if !self.target.starts_with('/') || !self.target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Reason::MalformedRequest { what: "target", sent: self.target.to_owned() });
        }
        Ok(())
    }
}

/// A header value may hold anything but what ends a line (RFC 9110, section 5.5); in a signed string it would begin a line of the
/// sender's choice.
pub(crate) fn check_value<'v>(name: &str, value: &'v [u8]) -> Result<&'v [u8], Reason> {
    if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        Err(Reason::MalformedHeader { name: name.to_owned(), why: "it holds a line break or a zero byte" })
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_name_become_one_value() {
        let headers: &[(&[u8], &[u8])] = &[(b"X-A", b" 1 "), (b"Host", b"h"), (b"x-a", b"2")];
        let message = Message { method: "POST", target: "/p?q?r", headers, body: b"" };
        let field = message.field("x-a").unwrap();
        assert_eq!((&*field.value, field.lines), (&b"1, 2"[..], 2));
        assert!(message.field("x-b").is_none());
        assert_eq!((message.path(), message.query()), ("/p", "q?r"));
    }

    #[test]
    fn nothing_in_the_request_line_or_a_value_can_end_a_line() {
        let message = |method, target| Message { method, target, headers: &[], body: b"" };
        assert!(message("POST", "/a?b").check_request_line().is_ok());
        for (method, target) in
            [("", "/"), ("PO ST", "/"), ("POST", ""), ("POST", "*"), ("POST", "/a b"), ("POST", "/a\nb")]
        {
            assert!(message(method, target).check_request_line().is_err(), "{method:?} {target:?}");
        }
        assert!(check_value("x", b"a\rb").is_err() && check_value("x", b"\xff\t").is_ok());
    }
}
