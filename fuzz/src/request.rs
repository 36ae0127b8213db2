//! A request written as text, for targets that take a whole one: `METHOD TARGET`, header lines, an empty line, the body. Nothing in it is
//! refused; judging is what the targets are for.

use tunnel_signature::Message;

use crate::cut::Cut;

/// A request of which nothing is known to be right.
pub(crate) struct Request<'a> {
    method: String,
    target: String,
    headers: Vec<(&'a [u8], &'a [u8])>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    pub(crate) fn of(input: &'a [u8]) -> Request<'a> {
        let mut rest = Cut(input);
        let first = String::from_utf8_lossy(rest.line()).into_owned();
        let (method, target) = first.split_once(' ').unwrap_or((&first, "/"));
        let mut headers = Vec::new();
        loop {
            let line = rest.line();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            headers.push((&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii()));
        }
        Request { method: method.to_owned(), target: target.to_owned(), headers, body: rest.0 }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message { method: &self.method, target: &self.target, headers: &self.headers, body: self.body }
    }

    /// The values of all header lines of that name, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let named = self.headers.iter().filter(|line| line.0.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|line| line.1).collect()
    }
}
