//! A slow client: sends the body in pieces with pauses between them, as a sender behind a bad line does. One request, one connection, by
//! hand, because the client in `forward` hands everything over as fast as it can. Reads a bounded answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel_delivery::{AttemptError, ErrorKind};

use crate::dial::{DialError, Dialer};
use crate::forward::{Exchange, HostHeader, Outgoing, TargetUrl};

/// Into how many pieces a body is cut.
const PIECES: usize = 8;
/// The pause before each piece.
const PAUSE: Duration = Duration::from_millis(60);
/// The most of an answer that is read, in bytes.
const MOST: u64 = 64 * 1024;

/// Sends `out` to `to` in pieces and waits at most `limit` for the answer.
pub(super) async fn exchange(dialer: &Dialer, to: &TargetUrl, out: &Outgoing, limit: Duration) -> Exchange {
    let began = Instant::now();
    let ended = tokio::time::timeout(limit, run(dialer, to, out)).await;
    let mut exchange = Exchange::default();
    exchange.duration = began.elapsed();
    let failure = |kind, message| Some(AttemptError { kind, message });
    match ended {
        Ok(Ok(bytes)) => match status(&bytes) {
            Some((status, body)) => {
                exchange.status = Some(status);
                exchange.body = Bytes::copy_from_slice(&bytes[body..]);
            }
            None if bytes.is_empty() => {
                exchange.error = failure(ErrorKind::Closed, format!("{to} closed the connection without an answer"));
            }
            None => {
                let message = format!("{to} answered with something that is not HTTP");
                exchange.error = failure(ErrorKind::Garbage, message);
            }
        },
        Ok(Err(e)) => exchange.error = Some(e),
        Err(_) => {
            let message = format!("{to} did not answer a body that came in pieces within {} s", limit.as_secs_f64());
            exchange.error = failure(ErrorKind::Timeout, message);
        }
    }
    exchange
}

async fn run(dialer: &Dialer, to: &TargetUrl, out: &Outgoing) -> Result<Vec<u8>, AttemptError> {
    let failed = |kind, message| AttemptError { kind, message };
    let mut stream = dialer.dial(&to.peer).await.map_err(|e| {
        let kind = match &e {
            DialError::Resolve { .. } => ErrorKind::Resolve,
            DialError::Connect { .. } | DialError::Elsewhere { .. } => ErrorKind::Connect,
            DialError::Tls { .. } => ErrorKind::Tls,
        };
        failed(kind, e.to_string())
    })?;
    let mut head = out.head(&to.peer.authority(), HostHeader::Sent).to_vec();
    // So that the answer's end is the connection's.
    head.truncate(head.len() - 2);
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    let size = out.body.len().div_ceil(PIECES).max(1);
    let mut written = stream.write_all(&head).await;
    for piece in out.body.chunks(size) {
        tokio::time::sleep(PAUSE).await;
        // What was answered early is read below, whatever became of the rest of the body.
        if written.is_err() {
            break;
        }
        written = stream.write_all(piece).await;
        if written.is_ok() {
            written = stream.flush().await;
        }
    }
    let mut answer = Vec::new();
    let read = (&mut stream).take(MOST).read_to_end(&mut answer).await;
    match (read, answer.is_empty()) {
        (Err(e), true) => Err(failed(ErrorKind::Closed, format!("{to} closed the connection without an answer ({e})"))),
        _ => Ok(answer),
    }
}

/// The status of the last head, interim answers passed over, and where the body begins.
fn status(bytes: &[u8]) -> Option<(u16, usize)> {
    let mut at = 0;
    loop {
        let mut lines = [httparse::EMPTY_HEADER; 128];
        let mut head = httparse::Response::new(&mut lines);
        match head.parse(&bytes[at..]) {
            Ok(httparse::Status::Complete(end)) => {
                at += end;
                match head.code {
                    Some(code) if !(100..200).contains(&code) => return Some((code, at)),
                    _ => {}
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_status_counts() {
        assert_eq!(status(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nA: b\r\n\r\nx").map(|(s, _)| s), Some(204));
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(status(b"nonsense\r\n\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
