//! Answers read from bytes, as many as there are. It shares no code with what it tests.

/// One answer, interim ones left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 for an answer without a head, as HTTP/0.9 has them.
    pub(crate) status: u16,
    lines: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The answers that are complete in `bytes`. `ended` if no more will come; `head` if they have no bodies.
pub(crate) fn read(bytes: &[u8], ended: bool, head: bool) -> Vec<Answer> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Some((answer, after)) = one(rest, ended, head) {
        rest = after;
        if !(100..200).contains(&answer.status) || answer.status == 101 {
            found.push(answer);
        }
    }
    found
}

fn one(bytes: &[u8], ended: bool, head: bool) -> Option<(Answer, &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    if !bytes.starts_with(b"HTTP/") {
        return ended.then(|| (Answer { status: 0, lines: vec![], body: bytes.to_vec() }, &bytes[bytes.len()..]));
    }
    let end = find(bytes, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let lines = lines.filter_map(|l| l.split_once(':')).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
    let mut answer = Answer { status, lines, body: vec![] };
    let rest = &bytes[end + 4..];
    if head || matches!(status, 100..=199 | 204 | 304) {
        return Some((answer, rest));
    }
    if answer.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        let mut rest = rest;
        loop {
            let line = find(rest, b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?, 16).ok()?;
            let data = &rest[line + 2..];
            answer.body.extend_from_slice(data.get(..size)?);
            rest = data.get(size..)?.strip_prefix(b"\r\n")?;
            if size == 0 {
                return Some((answer, rest));
            }
        }
    }
    let length = match answer.header("content-length") {
        Some(length) => length.parse().ok()?,
        None if ended => rest.len(),
        None => return None,
    };
    answer.body = rest.get(..length)?.to_vec();
    Some((answer, &rest[length..]))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

#[test]
fn each_answer_is_found_once_it_is_whole() {
    let bytes =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.0 400 Bad\r\n\r\nno";
    let statuses = |ended| read(bytes, ended, false).iter().map(|a| a.status).collect::<Vec<_>>();
    assert_eq!(statuses(false), [200]);
    assert_eq!(statuses(true), [200, 400]);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHTTP/1.1 404 x\r\ncontent-length: 5\r\n\r\n";
    let found = read(chunked, false, false);
    assert_eq!((found.len(), &found[0].body[..]), (1, &b"hi"[..]));
    assert_eq!(read(chunked, false, true).len(), 1);
}
