//! The header lines of an answer as they were sent, read from the bytes that came.

use hyper::HeaderMap;
use tunnel_delivery::Headers;

/// The most lines that are read.
const MAX_LINES: usize = 256;

/// The lines of the last head in `bytes`, which hold the answer from its first byte: interim answers (1xx) come before the last.
/// `None` where the bytes do not hold a head that ends.
pub(super) fn last(mut bytes: &[u8]) -> Option<Headers> {
    loop {
        let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
        let mut answer = httparse::Response::new(&mut lines);
        let end = match answer.parse(bytes) {
            Ok(httparse::Status::Complete(end)) => end,
            _ => return None,
        };
        // hyper takes 101 for the last one, as it is.
        if answer.code.is_some_and(|code| (100..200).contains(&code) && code != 101) {
            bytes = &bytes[end..];
            continue;
        }
        let mut headers = Headers::default();
        for line in answer.headers.iter() {
            headers.push(line.name.as_bytes().to_vec(), line.value.to_vec());
        }
        return Some(headers);
    }
}

/// The lines as the library has them, for a head that was longer than the copy.
pub(super) fn from_map(map: &HeaderMap) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in map {
        headers.push(name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec());
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_answers_are_passed_over() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-b: 1\r\nx-A: 2\r\nX-b: 3\r\n\r\nbody";
        let headers = last(bytes).unwrap();
        let lines: Vec<_> = headers.iter().map(|l| (&*l.name, &*l.value)).collect();
        assert_eq!(lines, [(&b"X-b"[..], &b"1"[..]), (b"x-A", b"2"), (b"X-b", b"3")]);
        assert!(last(b"HTTP/1.1 200 OK\r\nX: 1").is_none() && last(b"").is_none());
    }
}
