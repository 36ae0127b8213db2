//! HTTP/1.1 messages as bytes, split and nothing more: lines in order and letter case, bodies without their framing. It shares no
//! code with what the programs use, so that both would have to err in the same way.

use std::io::{self, BufRead, Read};

/// The longest head or body that is read, in bytes: a test that gets more has gone wrong.
const MOST: usize = 64 * 1024 * 1024;

/// Header lines as names and values, blanks around values removed.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// A request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpMessage {
    /// Everything as it came over the wire.
    pub raw: Vec<u8>,
    /// The first line without its end.
    pub first: String,
    /// The header lines.
    pub headers: Lines,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl HttpMessage {
    /// Reads one message. An answer to HEAD is not known here. `Ok(None)` if the other side closed before its first byte.
    ///
    /// # Errors
    /// If the connection ends within the message, or it is not HTTP/1.1.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<HttpMessage>> {
        let mut message = HttpMessage::default();
        loop {
            let begin = message.raw.len();
            from.by_ref().take(MOST as u64).read_until(b'\n', &mut message.raw)?;
            let line = &message.raw[begin..];
            if line.is_empty() && begin == 0 {
                return Ok(None);
            }
            let Some(line) = line.strip_suffix(b"\r\n") else {
                return Err(broken("the head is cut off, or a line does not end in CR LF", &message.raw));
            };
            if line.is_empty() {
                break;
            }
            if begin == 0 {
                message.first = String::from_utf8_lossy(line).into_owned();
                continue;
            }
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                return Err(broken("a header line without a colon", line));
            };
            message.headers.push((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()));
        }
        message.read_body(from)?;
        Ok(Some(message))
    }

    fn read_body(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        if self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks(from);
        }
        let length = match self.header("content-length") {
            Some(text) => text.parse().map_err(|_| broken("Content-Length is no number", text.as_bytes()))?,
            None if self.is_answer_until_the_end() => MOST,
            None => 0,
        };
        let begin = self.raw.len();
        from.take(length.min(MOST) as u64).read_to_end(&mut self.raw)?;
        self.body = self.raw[begin..].to_vec();
        if length != MOST && self.body.len() < length {
            return Err(broken("the body is cut off", &self.raw[..begin]));
        }
        Ok(())
    }

    /// An answer without a length goes on until the connection ends, but for those that have no body.
    fn is_answer_until_the_end(&self) -> bool {
        self.first.starts_with("HTTP/") && !matches!(self.status(), Some(100..=199 | 204 | 304))
    }

    fn read_chunks(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        loop {
            let size = self.line(from)?;
            let hex = size.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(hex, 16).map_err(|_| broken("a chunk's size is no number", size.as_bytes()))?;
            if size == 0 {
                while !self.line(from)?.is_empty() {}
                return Ok(());
            }
            let begin = self.raw.len();
            from.take(size.min(MOST) as u64).read_to_end(&mut self.raw)?;
            self.body.extend_from_slice(&self.raw[begin..]);
            if self.raw.len() - begin < size || !self.line(from)?.is_empty() {
                return Err(broken("a chunk is cut off", &self.raw[..begin]));
            }
        }
    }

    fn line(&mut self, from: &mut impl BufRead) -> io::Result<String> {
        let begin = self.raw.len();
        from.take(MOST as u64).read_until(b'\n', &mut self.raw)?;
        let line = &self.raw[begin..];
        let line = line.strip_suffix(b"\r\n").ok_or_else(|| broken("a line is cut off", line))?;
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// The first value of that name (any letter case), as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        found.next().map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// An answer's status.
    pub fn status(&self) -> Option<u16> {
        self.first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|s| s.parse().ok())
    }

    /// A request's method.
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// A request's target as sent.
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(e) => panic!("the body is not JSON ({e}): {}", String::from_utf8_lossy(&self.raw)),
        }
    }
}

fn broken(why: &str, at: &[u8]) -> io::Error {
    let from = at.len().saturating_sub(200);
    io::Error::new(io::ErrorKind::InvalidData, format!("{why}: {:?}", String::from_utf8_lossy(&at[from..])))
}

/// A body in chunks of these lengths (the last takes what is left), with the closing one.
pub fn chunked(body: &[u8], lengths: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    let mut lengths = lengths.iter().copied().filter(|n| *n > 0);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(lengths.next().unwrap_or(rest.len()).min(rest.len()));
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_split_and_kept() {
        let raw = b"POST /a?b HTTP/1.1\r\nX-A:  1 \r\nx-a: \xff\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n";
        let mut from = &raw[..];
        let first = HttpMessage::read(&mut from).unwrap().unwrap();
        assert_eq!((first.method(), first.target(), &first.body[..]), ("POST", "/a?b", &b"abc"[..]));
        assert_eq!(first.headers[1], (b"x-a".to_vec(), b"\xff".to_vec()));
        let second = HttpMessage::read(&mut from).unwrap().unwrap();
        assert_eq!([first.raw, second.raw].concat(), raw);
        assert_eq!(HttpMessage::read(&mut from).unwrap(), None);
    }

    #[test]
    fn chunks_are_put_together() {
        let body = b"hello, world";
        let raw = [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"[..], &chunked(body, &[1, 5])].concat();
        let answer = HttpMessage::read(&mut &raw[..]).unwrap().unwrap();
        assert_eq!((answer.status(), &answer.body[..]), (Some(200), &body[..]));
        assert!(HttpMessage::read(&mut &raw[..raw.len() - 9]).is_err());
    }
}
