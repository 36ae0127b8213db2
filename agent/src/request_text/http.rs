//! Raw HTTP/1.1 requests, with CRLF or LF at the ends of their head's lines. Whatever follows the empty line is the body, to the last byte.

use tunnel_delivery::{HeaderLine, Headers};

use super::{Form, MAX_LINE, MAX_LINES, ReadError, Written};

/// Whether a line is a request's first: it ends in `HTTP/…`.
pub(super) fn begins(line: &[u8]) -> bool {
    let mut parts = line.split(|b| *b == b' ');
    let last = parts.next_back().unwrap_or_default();
    last.starts_with(b"HTTP/") && parts.next().is_some_and(|method| method.iter().all(u8::is_ascii_graphic))
}

/// Reads one; `skipped` lines were before it.
pub(super) fn read(text: &[u8], skipped: usize) -> Result<Written, ReadError> {
    let (mut rest, mut number) = (text, skipped);
    let mut line = || {
        if rest.is_empty() {
            return Ok(None);
        }
        number += 1;
        let end = rest.iter().take(MAX_LINE).position(|b| *b == b'\n');
        let (line, after) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None if rest.len() <= MAX_LINE => (rest, &rest[rest.len()..]),
            None => return Err(ReadError::at(number, format!("it is longer than {} KiB", MAX_LINE >> 10))),
        };
        rest = after;
        Ok(Some((number, line.strip_suffix(b"\r").unwrap_or(line))))
    };
    let (at, first) = line()?.unwrap_or_default();
    let parts: Vec<&[u8]> = first.split(|b| *b == b' ').collect();
    let &[method, target, _] = &parts[..] else {
        return Err(ReadError::at(
            at,
            "a request begins METHOD /path HTTP/1.1, with one blank between and none in the path",
        ));
    };
    if [method, target].iter().any(|part| part.is_empty() || !part.iter().all(u8::is_ascii_graphic)) {
        return Err(ReadError::at(at, "method and path are visible ASCII; percent-encode what is not"));
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (method, target) = (text(method), text(target));
    let mut headers = Headers::default();
    // A text that ends within the head has no body; editors drop the empty line at the end.
    while let Some((at, line)) = line()?.filter(|(_, line)| !line.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(ReadError::at(at, "a header's line begins with a blank; write each header on one line"));
        }
        let colon = line.iter().position(|b| *b == b':').filter(|colon| *colon > 0);
        let Some(colon) = colon else {
            return Err(ReadError::at(at, "a header is NAME: VALUE; an empty line comes between headers and body"));
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !name.iter().all(u8::is_ascii_graphic) {
            return Err(ReadError::at(at, "a header's name has neither blanks nor letters outside ASCII"));
        }
        if value.contains(&b'\r') || value.contains(&0) {
            return Err(ReadError::at(at, "a header's value has no carriage return or zero byte in it"));
        }
        if headers.0.len() == MAX_LINES {
            return Err(ReadError::at(at, format!("there are more than {MAX_LINES} header lines")));
        }
        headers.0.push(HeaderLine::new(name.to_vec(), value.trim_ascii().to_vec()));
    }
    let coded = headers.get_all("Transfer-Encoding").any(|value| value.eq_ignore_ascii_case(b"chunked"));
    let body = if coded { unchunked(rest) } else { None };
    let body = body.unwrap_or_else(|| rest.to_vec());
    Ok(Written { form: Form::Http, method, target, headers, body: body.into(), origin: None })
}

/// What is in the chunks (RFC 9112, section 7.1), as a recording of the wire has them. `None` where these are no chunks, as where whoever wrote
/// the request down had taken them apart already.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((begin, len))) = httparse::parse_chunk_size(rest) else { return None };
        rest = rest.get(begin..)?;
        if len == 0 {
            return Some(out);
        }
        let len = usize::try_from(len).ok()?;
        out.extend_from_slice(rest.get(..len)?);
        rest = rest[len..].strip_prefix(b"\r\n")?;
    }
}

/// A request as raw HTTP/1.1.
pub fn http_text(method: &str, target: &str, headers: &Headers, body: &[u8]) -> Vec<u8> {
    let mut out = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    for line in headers {
        out.extend_from_slice(&line.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&line.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::super::read as read_any;
    use super::super::tests::no_files;
    use super::*;

    #[test]
    fn line_ends_of_the_head_may_be_either_and_the_body_is_left_alone() {
        let crlf = read(b"POST /a?b HTTP/1.1\r\nHost: h\r\nX:  y \r\n\r\n{}\r\n", 0).unwrap();
        let lf = read(b"POST /a?b HTTP/1.1\nHost: h\nX: y\n\n{}\r\n", 0).unwrap();
        assert_eq!(crlf, lf);
        assert_eq!((&*lf.target, &lf.body[..], lf.headers.get("x")), ("/a?b", &b"{}\r\n"[..], Some(&b"y"[..])));
        assert!(read(b"POST / HTTP/1.1\nHost: h", 0).unwrap().body.is_empty());
    }

    #[test]
    fn chunks_are_taken_apart_where_there_are_any() {
        let body = |text: &str| {
            read(format!("POST / HTTP/1.1\nTransfer-Encoding: Chunked\n\n{text}").as_bytes(), 0).unwrap().body
        };
        assert_eq!(body("2\r\n{}\r\n1;x=y\r\n\n\r\n0\r\n\r\n"), "{}\n");
        for other in ["{\"a\":1}", "2\r\n{}", "ffffffffffffffff\r\n{}", "2\r\n{}{}\r\n0\r\n\r\n", "5\r\n"] {
            assert_eq!(body(other), other);
        }
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        for (text, expected) in [
            ("\n\nPOST /a b HTTP/1.1\n\n", "line 3: a request begins METHOD"),
            ("POST / HTTP/1.1\nHost: h\n{}", "line 3: a header is NAME: VALUE"),
            ("POST / HTTP/1.1\nHost: h\n folded\n\n", "line 3: a header's line begins with a blank"),
            ("POST / HTTP/1.1\nHo st: h\n\n", "line 2: a header's name"),
            ("POST /ä HTTP/1.1\n\n", "line 1: method and path"),
        ] {
            let error = read_any(text.as_bytes(), &no_files).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
        let many = format!("POST / HTTP/1.1\n{}\n", "A: b\n".repeat(MAX_LINES + 1));
        assert!(read(many.as_bytes(), 0).unwrap_err().to_string().contains("more than 512"));
        let long = format!("POST / HTTP/1.1\nA: {}\n\n", "x".repeat(MAX_LINE));
        assert!(read(long.as_bytes(), 0).unwrap_err().to_string().starts_with("line 2: it is longer"));
    }
}
