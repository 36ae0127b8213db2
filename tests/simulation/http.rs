//! As much of HTTP/1.1 as a sender and a handler need, by hand: what is on the wire is then known to the byte.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::TcpStream;

/// A connection and what was read of it beyond the last message.
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    /// What came after the last message.
    pub(crate) rest: Vec<u8>,
}

/// A message: its first line, its other lines, its body.
pub(crate) struct Message {
    pub(crate) first: String,
    lines: Vec<(String, String)>,
    pub(crate) body_len: usize,
}

impl Message {
    /// The value of the first line of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// An answer's status.
    pub(crate) fn status(&self) -> Option<u16> {
        self.first.split(' ').nth(1)?.parse().ok()
    }
}

impl Conn {
    pub(crate) fn new(stream: TcpStream) -> Conn {
        Conn { stream, rest: Vec::new() }
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut buf = vec![0; 16 * 1024];
        let got = self.stream.read(&mut buf).await?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest.extend_from_slice(&buf[..got]);
        Ok(())
    }

    /// The next message with a Content-Length, or none.
    pub(crate) async fn message(&mut self) -> io::Result<Message> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let lines: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut message = Message { first, lines, body_len: 0 };
        message.body_len = message.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        while self.rest.len() < message.body_len {
            self.more().await?;
        }
        self.rest.drain(..message.body_len);
        Ok(message)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}
