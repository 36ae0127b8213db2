//! The head of an HTTP/1 request: read, admitted or refused, kept exactly as sent. Pure; the bytes come from `recorder`.
//!
//! hyper keeps neither the letter case nor the order of header lines, and it lets through what a relay must not (two Hosts, bare LF,
//! Content-Length beside Transfer-Encoding, absolute-form for another host …). So heads are parsed here (by httparse), judged by the strict
//! reading of RFC 9112, and hyper gets a head of our own making that says nothing but the method and the framing: the two can then not
//! disagree about where a request ends.

use bytes::{Bytes, BytesMut};
use tunnel_delivery::{HeaderLine, Headers, HttpVersion, Method, Target};

use super::host::Host;

/// Caps on a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// The most bytes, line ends included.
    pub(crate) bytes: usize,
    /// The most header lines; at most [`MAX_LINES`].
    pub(crate) lines: usize,
}

/// As many lines as a head can ever have: httparse wants its table on the stack.
pub(crate) const MAX_LINES: usize = 256;

/// A request's head as sent, admitted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) version: HttpVersion,
    pub(crate) headers: Headers,
    pub(crate) body: Framing,
    /// The client asks for the connection to become something else; only a WebSocket is ever granted.
    pub(crate) upgrade: bool,
}

/// How the body's end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; 0 where there is no body.
    Length(u64),
    /// In chunks (RFC 9112, section 7.1).
    Chunked,
}

/// Why a head is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Longer, or with more lines, than allowed: 431.
    TooLarge,
    /// Not HTTP/1.0 or HTTP/1.1: 505.
    Version,
    /// The Host is rightly formed and names somebody else: 421.
    Misdirected,
    /// Everything else: 400, with the sentence for the sender.
    Malformed(&'static str),
}

/// Tries to read a head from the beginning of `buf`; takes it off if it is complete.
pub(crate) fn read(buf: &mut BytesMut, limits: HeadLimits) -> Option<Result<Head, Refusal>> {
    // Empty lines before a request line are to be ignored (RFC 9112, section 2.2); some clients send one after a body.
    while buf.starts_with(b"\r\n") {
        let _ = buf.split_to(2);
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut parsed = httparse::Request::new(&mut lines[..limits.lines.min(MAX_LINES)]);
    // Never further than a head may go: what it is refused for would otherwise depend on how much of it came at once.
    let len = match parsed.parse(&buf[..buf.len().min(limits.bytes)]) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if buf.len() < limits.bytes => return None,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Some(Err(Refusal::TooLarge)),
        Err(httparse::Error::Version) => return Some(Err(Refusal::Version)),
        Err(httparse::Error::HeaderName) => {
            return Some(Err(Refusal::Malformed(
                "A header line has a name with a character that is not allowed there.",
            )));
        }
        Err(httparse::Error::HeaderValue) => {
            return Some(Err(Refusal::Malformed("A header line has a value with a control character.")));
        }
        Err(_) => return Some(Err(Refusal::Malformed("The request line is not HTTP/1.1."))),
    };
    let bytes = buf.split_to(len).freeze();
    Some(parse(&bytes))
}

/// Reads a complete head again, now over shared bytes, so that header lines are slices of what came and not copies.
fn parse(bytes: &Bytes) -> Result<Head, Refusal> {
    if bytes.iter().enumerate().any(|(i, &b)| b == b'\n' && (i == 0 || bytes[i - 1] != b'\r')) {
        return Err(Refusal::Malformed("A line ends with LF alone; HTTP lines end with CR LF."));
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut parsed = httparse::Request::new(&mut lines);
    if !matches!(parsed.parse(bytes), Ok(httparse::Status::Complete(_))) {
        return Err(Refusal::Malformed("The request line is not HTTP/1.1."));
    }
    let version = match parsed.version {
        Some(0) => HttpVersion::Http10,
        Some(1) => HttpVersion::Http11,
        _ => return Err(Refusal::Version),
    };
    let method: Method = parsed
        .method
        .unwrap_or_default()
        .parse()
        .map_err(|_| Refusal::Malformed("The method is not an HTTP method of at most 64 characters."))?;
    if method.as_str() == "CONNECT" {
        return Err(Refusal::Malformed("CONNECT is for proxies; this is not one."));
    }
    let target: Target = parsed.path.unwrap_or_default().parse().map_err(|_| {
        Refusal::Malformed(
            "The request target must be a path that begins with '/' and holds visible ASCII without '#'.",
        )
    })?;
    let headers: Headers = parsed
        .headers
        .iter()
        .map(|h| HeaderLine { name: bytes.slice_ref(h.name.as_bytes()), value: bytes.slice_ref(h.value) })
        .collect();
    check_host(&headers)?;
    let body = framing(&headers, version)?;
    // What carries a body, or is not GET, is no opening of a WebSocket (RFC 6455, section 4.1), whatever it asks for.
    let upgrade = version == HttpVersion::Http11
        && method.as_str() == "GET"
        && body == Framing::Length(0)
        && headers.get("upgrade").is_some_and(|v| v.eq_ignore_ascii_case(b"websocket"))
        && headers.get_all("connection").any(|v| has_token(v, "upgrade"));
    Ok(Head { method, target, version, headers, body, upgrade })
}

/// Exactly one Host of the right form (RFC 9112, section 3.2), also with HTTP/1.0. Whether it names us is asked later, where more is known.
pub(crate) fn check_host(headers: &Headers) -> Result<(), Refusal> {
    let mut hosts = headers.get_all("host");
    match (hosts.next(), hosts.next()) {
        (None, _) => Err(Refusal::Malformed("There is no Host header.")),
        (Some(_), Some(_)) => Err(Refusal::Malformed("There is more than one Host header.")),
        (Some(host), None) if Host::parse(host).is_some() => Ok(()),
        (Some(_), None) => Err(Refusal::Malformed("The Host header is not a host name with an optional port.")),
    }
}

/// Where the body ends, or that the sender's and our idea of it could differ.
fn framing(headers: &Headers, version: HttpVersion) -> Result<Framing, Refusal> {
    let mut lengths = headers.get_all("content-length");
    let mut codings = headers.get_all("transfer-encoding");
    match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (None, _, None, _) => Ok(Framing::Length(0)),
        (Some(_), _, Some(_), _) => Err(Refusal::Malformed("Content-Length and Transfer-Encoding are both there.")),
        (Some(_), Some(_), ..) => Err(Refusal::Malformed("There is more than one Content-Length header.")),
        (Some(length), None, ..) => {
            let digits = !length.is_empty() && length.len() <= 18 && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok().filter(|_| digits).and_then(|l| l.parse().ok());
            length.map(Framing::Length).ok_or(Refusal::Malformed("Content-Length is not a number."))
        }
        (None, _, Some(_), Some(_)) => Err(Refusal::Malformed("There is more than one Transfer-Encoding header.")),
        (None, _, Some(_), None) if version == HttpVersion::Http10 => {
            Err(Refusal::Malformed("HTTP/1.0 has no Transfer-Encoding."))
        }
        (None, _, Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, _, Some(_), None) => Err(Refusal::Malformed("Transfer-Encoding is something other than \"chunked\".")),
    }
}

/// Whether a comma-separated list holds `token`, in any letter case.
fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|&b| b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// What hyper gets to read in place of the head: enough to frame the body, keep or close the connection and grant an upgrade.
pub(crate) fn for_hyper(head: &Head) -> Bytes {
    let mut out = BytesMut::with_capacity(160);
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.extend_from_slice(if head.version == HttpVersion::Http10 { b" / HTTP/1.0\r\n" } else { b" / HTTP/1.1\r\n" });
    let asks = |token| head.headers.get_all("connection").any(|v| has_token(v, token));
    match head.body {
        Framing::Length(length) => {
            if length > 0 || head.headers.get("content-length").is_some() {
                out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
            }
            if head.upgrade {
                out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
            } else if asks("close") {
                out.extend_from_slice(b"Connection: close\r\n");
            } else if head.version == HttpVersion::Http10 && asks("keep-alive") {
                out.extend_from_slice(b"Connection: keep-alive\r\n");
            }
        }
        // Only hyper reads the chunks, so only hyper knows where they end: nothing may follow on this connection.
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\nConnection: close\r\n"),
    }
    if head.headers.get_all("expect").any(|v| v.eq_ignore_ascii_case(b"100-continue")) {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.freeze()
}

/// What hyper gets to read in place of a head that was refused: a request whose only purpose is that its answer closes the connection.
pub(crate) const REFUSED_FOR_HYPER: &[u8] = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1000, lines: 10 };

    fn one(text: &str) -> Result<Head, Refusal> {
        let mut buf = BytesMut::from(text);
        read(&mut buf, LIMITS).expect("the head is complete")
    }

    #[test]
    fn lines_are_kept_as_sent() {
        let head =
            one("POST /a/../b?x=%41 HTTP/1.1\r\nhOsT: r.test:80\r\nX-A: 1\r\nx-a:  2 \r\nCONTENT-length: 5\r\n\r\n")
                .unwrap();
        assert_eq!(head.target.as_str(), "/a/../b?x=%41");
        assert_eq!(head.body, Framing::Length(5));
        let lines: Vec<_> = head.headers.iter().map(|l| (&*l.name, &*l.value)).collect();
        assert_eq!(
            lines,
            [(&b"hOsT"[..], &b"r.test:80"[..]), (b"X-A", b"1"), (b"x-a", b"2"), (b"CONTENT-length", b"5")]
        );
        assert_eq!(&for_hyper(&head)[..], b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let rest = "\r\n\r\n";
        for (case, head) in [
            ("no Host", "POST / HTTP/1.1".to_owned()),
            ("two Hosts", "POST / HTTP/1.1\r\nHost: a\r\nHost: a".to_owned()),
            ("odd Host", "POST / HTTP/1.1\r\nHost: a/b".to_owned()),
            ("userinfo in Host", "POST / HTTP/1.1\r\nHost: u@a".to_owned()),
            ("absolute-form", "POST http://a/ HTTP/1.1\r\nHost: a".to_owned()),
            ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a".to_owned()),
            ("asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a".to_owned()),
            (
                "both framings",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked".to_owned(),
            ),
            ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1".to_owned()),
            ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1".to_owned()),
            ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1".to_owned()),
            ("two codings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked".to_owned()),
            (
                "two coding lines",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked".to_owned(),
            ),
            ("chunked in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked".to_owned()),
            ("blank before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1".to_owned()),
            ("a folded line", "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n c".to_owned()),
            ("bare LF", "POST / HTTP/1.1\r\nHost: a\nX: b".to_owned()),
            ("NUL in a value", "POST / HTTP/1.1\r\nHost: a\r\nX: \0".to_owned()),
            ("fragment", "POST /#a HTTP/1.1\r\nHost: a".to_owned()),
        ] {
            let got = one(&format!("{head}{rest}"));
            assert!(matches!(got, Err(Refusal::Malformed(_))), "{case}: {got:?}");
        }
        assert_eq!(one("POST / HTTP/2.0\r\nHost: a\r\n\r\n"), Err(Refusal::Version));
        let long = format!("POST / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(1000));
        assert_eq!(one(&long), Err(Refusal::TooLarge));
        assert_eq!(one(&format!("POST / HTTP/1.1\r\n{}", "X: y\r\n".repeat(11))), Err(Refusal::TooLarge));
    }

    #[test]
    fn hyper_is_told_to_close_after_chunks_and_may_upgrade() {
        let chunked =
            one("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\nExpect: 100-continue\r\n\r\n").unwrap();
        assert_eq!(
            &for_hyper(&chunked)[..],
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
        );
        let ws = one(
            "GET /agent/v1 HTTP/1.1\r\nHost: [::1]:80\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
        )
        .unwrap();
        assert!(ws.upgrade);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buf = BytesMut::from(&bytes[..]);
            let _ = read(&mut buf, LIMITS);
        }

        #[test]
        fn splitting_a_head_changes_nothing(at in 0_usize..80) {
            let text = "POST /a?b HTTP/1.1\r\nHost: a.b\r\nX-Y: z\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
            let at = at.min(text.len() - 1);
            let mut buf = BytesMut::from(&text[..at]);
            prop_assert!(read(&mut buf, LIMITS).is_none());
            buf.extend_from_slice(&text.as_bytes()[at..]);
            prop_assert_eq!(read(&mut buf, LIMITS), Some(one(text)));
        }

        #[test]
        fn a_head_is_refused_for_the_same_however_much_of_it_comes_at_once(
            long in 800_usize..1200, bad in prop::sample::select(vec!["\0", "\n\n", " : ", "\r\n\r\n", "é: "]), at_once in 1_usize..200
        ) {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\nX: {}{bad}{}\r\n\r\n", "y".repeat(long), "z".repeat(1200 - long));
            let mut buf = BytesMut::new();
            let slowly = text.as_bytes().chunks(at_once).find_map(|piece| {
                buf.extend_from_slice(piece);
                read(&mut buf, LIMITS)
            });
            prop_assert_eq!(slowly, Some(one(&text)));
        }
    }
}
