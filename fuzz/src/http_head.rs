//! The recorder between socket and hyper: whatever is sent is read in one way only, however it is cut, and hyper is told the same.
//!
//! The second opinion is a reader of RFC 9112 written here, line by line and without a library.

use healthie_relay::fuzzing::{Admitted, HEAD_BYTES, HEAD_LINES, Recorded, record};

use crate::cut::Cut;

/// A head as the plain reader has it, and how many bytes it took.
#[derive(Debug)]
struct Plain<'a> {
    method: &'a [u8],
    target: &'a [u8],
    http10: bool,
    headers: Vec<(&'a [u8], &'a [u8])>,
    /// `None` in chunks.
    length: Option<u64>,
    taken: usize,
}

/// The first bytes say how the rest is cut.
pub(crate) fn check(input: &[u8]) {
    let mut input = Cut(input);
    let count = usize::from(input.byte() % 6);
    let (sizes, take) = (input.bytes(count), usize::from(input.byte()) + 1);
    let sent = input.0;
    let whole = record(sent, &[], 8192);
    let cut = record(sent, sizes, take);
    // A head that never ends may be refused sooner where more of it comes at once; nothing is read of it either way.
    let admitted = |recorded: &Recorded| -> Vec<_> { recorded.heads.iter().flatten().cloned().collect() };
    assert_eq!(admitted(&cut), admitted(&whole), "cut otherwise it is read otherwise");
    let refused = |recorded: &Recorded| recorded.heads.iter().find(|head| head.is_err()).cloned();
    if let (Some(one), Some(other)) = (refused(&cut), refused(&whole)) {
        assert_eq!(one, other, "cut otherwise it is refused for something else");
    }
    agrees(sent, &cut);
    agrees(sent, &whole);
}

/// What was recorded is what the plain reader reads, and what hyper was told says the same.
fn agrees(sent: &[u8], recorded: &Recorded) {
    let (mut at, mut seen_at) = (0, 0);
    let mut heads = recorded.heads.iter();
    loop {
        while sent[at..].starts_with(b"\r\n") {
            at += 2;
        }
        let plain = plain(&sent[at..]);
        let head = match heads.next() {
            Some(Ok(head)) => head,
            Some(Err(why)) => {
                assert!(plain.is_none(), "refused as {why}, and is plainly {plain:?}");
                assert!(heads.next().is_none(), "something was read after a refusal");
                return;
            }
            None => {
                assert!(plain.is_none(), "not read at all: {plain:?}");
                return;
            }
        };
        let plain = plain.unwrap_or_else(|| panic!("admitted, and plainly no head: {head:?}"));
        same(head, &plain);
        at += plain.taken;
        seen_at += told(head, &recorded.seen[seen_at..]);
        if head.upgrade || head.length.is_none() {
            assert_eq!(recorded.seen[seen_at..], sent[at..], "what follows is not what was sent");
            assert!(heads.next().is_none(), "a head was looked for behind an upgrade or chunks");
            return;
        }
        let body = usize::try_from(head.length.unwrap_or(0)).unwrap_or(usize::MAX).min(sent.len() - at);
        assert_eq!(recorded.seen.get(seen_at..seen_at + body), sent.get(at..at + body), "the body is another");
        (at, seen_at) = (at + body, seen_at + body);
    }
}

fn same(head: &Admitted, plain: &Plain<'_>) {
    assert_eq!((head.method.as_bytes(), head.target.as_bytes()), (plain.method, plain.target));
    assert_eq!((head.http10, head.length), (plain.http10, plain.length));
    let lines: Vec<(&[u8], &[u8])> = head.headers.iter().map(|line| (&line.name[..], &line.value[..])).collect();
    assert_eq!(lines, plain.headers);
}

/// Reads the head that hyper was given, with the library that hyper reads it with. How long it is.
fn told(head: &Admitted, seen: &[u8]) -> usize {
    let mut lines = [httparse::EMPTY_HEADER; 8];
    let mut request = httparse::Request::new(&mut lines);
    let Ok(httparse::Status::Complete(len)) = request.parse(seen) else { panic!("hyper was given no head") };
    assert_eq!((request.method, request.path), (Some(&*head.method), Some("/")));
    assert_eq!(request.version, Some(if head.http10 { 0 } else { 1 }));
    let all = |name: &str| -> Vec<&[u8]> {
        request.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value).collect()
    };
    match head.length {
        Some(length) => {
            let said = all("content-length");
            let text = length.to_string();
            assert!(said == [text.as_bytes()] || (length == 0 && said.is_empty()), "{length}: {said:?}");
            assert!(all("transfer-encoding").is_empty());
        }
        None => {
            assert_eq!(all("transfer-encoding"), [b"chunked"]);
            assert_eq!((all("content-length").len(), all("connection")), (0, vec![&b"close"[..]]));
        }
    }
    assert_eq!(all("upgrade").len(), usize::from(head.upgrade));
    len
}

/// The head at the beginning, if there is one that every reader of the standard reads alike, and that a relay takes.
fn plain(bytes: &[u8]) -> Option<Plain<'_>> {
    let mut at = 0;
    let mut line = || {
        let len = bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &bytes[at..at + len];
        at += len + 2;
        (!line.iter().any(|b| matches!(b, b'\r' | b'\n'))).then_some(line)
    };
    let first = line()?;
    let words: Vec<&[u8]> = first.split(|b| *b == b' ').collect();
    let &[method, target, version] = &words[..] else { return None };
    let http10 = match version {
        b"HTTP/1.0" => true,
        b"HTTP/1.1" => false,
        _ => return None,
    };
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        let from = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
        let value = &value[from..];
        let value = &value[..value.iter().rposition(|b| !blank(b)).map_or(0, |last| last + 1)];
        if !token(name) || value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            return None;
        }
        headers.push((name, value));
    }
    let fits = at <= HEAD_BYTES && headers.len() <= HEAD_LINES;
    let addressed = target.starts_with(b"/") && target.iter().all(|b| b.is_ascii_graphic() && *b != b'#');
    let method_fits = token(method) && method.len() <= 64 && method != b"CONNECT";
    let all = |name: &str| -> Vec<&[u8]> {
        headers.iter().filter(|line| line.0.eq_ignore_ascii_case(name.as_bytes())).map(|line| line.1).collect()
    };
    let hosted = match &all("host")[..] {
        [one] => host(one),
        _ => false,
    };
    let length = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Some(0),
        ([digits], []) if digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) => {
            Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
        }
        ([], [coding]) if !http10 && coding.eq_ignore_ascii_case(b"chunked") => None,
        _ => return None,
    };
    (fits && addressed && method_fits && hosted).then_some(Plain { method, target, http10, headers, length, taken: at })
}

/// A token of RFC 9110, section 5.6.2.
fn token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// A name or an address, with or without a port, that nobody could take for something else.
fn host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let end = if text.starts_with('[') { text.find(']').map_or(text.len(), |at| at + 1) } else { text.len() };
    let colon = if text.starts_with('[') { end } else { text.find(':').unwrap_or(end) };
    let (name, port) = text.split_at(colon);
    let numbered = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            let digits = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
            digits && port.parse::<u32>().is_ok_and(|port| (1..=65535).contains(&port))
        });
    if let Some(inner) = name.strip_prefix('[') {
        return numbered && inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    let labels: Vec<&str> = bare.split('.').collect();
    let label = |label: &&str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let number = labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let named = bare.len() <= 255 && labels.iter().all(label) && !number;
    numbered && (named || name.parse::<std::net::Ipv4Addr>().is_ok())
}
