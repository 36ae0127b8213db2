//! The local interface asked over a bare socket.

use healthie_tunnel::control::AgentFile;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::patiently;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// The lines of a request that is let in.
pub fn good(file: &AgentFile) -> String {
    format!("Host: {}\r\nAuthorization: Bearer {}\r\n", file.addr, file.token)
}

/// The line and what else is needed for a JSON body.
pub fn json_head(body: &str) -> String {
    format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
}

/// Sends a request with these lines, and reads the answer to its end.
pub async fn send(file: &AgentFile, method: &str, target: &str, lines: &str, body: &str) -> Answer {
    send_until(file, method, target, lines, body, None).await
}

/// The same; a stream is read until that was in it.
pub async fn send_until(
    file: &AgentFile,
    method: &str,
    target: &str,
    lines: &str,
    body: &str,
    until: Option<&str>,
) -> Answer {
    let mut stream = TcpStream::connect(file.addr).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let all = async {
        // A connection that is reset behind the answer has brought the answer.
        while matches!(stream.read_buf(&mut bytes).await, Ok(n) if n > 0) {
            if until.is_some_and(|u| bytes.windows(u.len()).any(|w| w == u.as_bytes())) {
                return;
            }
        }
    };
    patiently(&format!("the answer to {method} {target}"), all).await;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let whole = String::from_utf8_lossy(bytes);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {whole}"));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let headers: Vec<_> =
        lines.map(|l| l.split_once(':').unwrap()).map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
    let rest = &bytes[end + 4..];
    let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v == "chunked");
    Answer { status, body: if chunked { unchunked(rest) } else { rest.to_vec() }, headers }
}

/// What is there of a chunked body.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let from = end + 2;
        body.extend_from_slice(&rest[from..(from + len).min(rest.len())]);
        rest = rest.get(from + len + 2..).unwrap_or_default();
    }
    body
}
