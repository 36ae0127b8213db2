//! Senders as Healthie is one: each sends its deliveries one after the other, each again and again until it is answered 2xx, and notes every answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tunnel_delivery::{Headers, TunnelName};
use turmoil::net::TcpStream;

use crate::chance::Chance;
use crate::http::Conn;
use crate::log::Log;

/// How long a sender waits for an answer. Healthie's own time is not documented; it must be longer than the tunnel's.
const PATIENCE: Duration = Duration::from_secs(12);

/// One request as it was sent.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) tunnel: TunnelName,
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// The answer's status, once there was one.
    pub(crate) answered: Option<u16>,
}

/// Every request, by the name that it carries in its `X-Try` line.
pub(crate) type Book = Arc<Mutex<BTreeMap<String, Sent>>>;

/// One sender.
pub(crate) struct Sender {
    pub(crate) name: String,
    pub(crate) tunnel: TunnelName,
    pub(crate) count: u64,
    /// The most milliseconds between two deliveries.
    pub(crate) pause: u64,
    pub(crate) chance: Chance,
    pub(crate) log: Log,
    pub(crate) book: Book,
    /// Senders that are not done.
    pub(crate) at_work: Arc<AtomicUsize>,
}

impl Sender {
    pub(crate) async fn run(self) {
        let mut kept = None;
        for number in 0..self.count {
            sleep(self.chance.millis(0, self.pause)).await;
            let body = self.body(number);
            for again in 0_u32.. {
                let name = format!("{}.{number}.{again}", self.name);
                let bytes = self.request(&name, &body);
                let result = timeout(PATIENCE, self.send(&name, &bytes, &mut kept)).await;
                let status = match result {
                    Ok(Ok(status)) => Some(status),
                    Ok(Err(e)) => {
                        self.log.say(format_args!("{name} has no answer: {e}"));
                        kept = None;
                        None
                    }
                    Err(_) => {
                        self.log.say(format_args!("{name} has no answer in time"));
                        kept = None;
                        None
                    }
                };
                if status.is_some_and(|s| (200..300).contains(&s)) {
                    break;
                }
                sleep(self.chance.millis(300, 2500)).await;
            }
        }
        self.at_work.fetch_sub(1, Ordering::Relaxed);
    }

    fn body(&self, number: u64) -> Bytes {
        let len = match self.chance.between(0, 19) {
            0..=15 => self.chance.between(0, 2000),
            16..=17 => self.chance.between(30_000, 36_000),
            _ => self.chance.between(40_000, 200_000),
        };
        let mut body = format!("{} {number} ", self.name).into_bytes();
        while (body.len() as u64) < len {
            body.extend_from_slice(&self.chance.between(0, u64::MAX - 1).to_le_bytes());
        }
        body.into()
    }

    fn request(&self, name: &str, body: &Bytes) -> Vec<u8> {
        let target = format!("/t/{}/hook/{name}?x={}", self.tunnel, self.chance.between(0, 999));
        let mut headers = Headers::default();
        headers.push("hOst", "relay");
        headers.push("X-Try", name.to_owned());
        headers.push("Content-Length", body.len().to_string());
        if self.chance.once_in(3) {
            headers.push("Connection", "close");
        }
        let mut bytes = format!("POST {target} HTTP/1.1\r\n").into_bytes();
        for line in &headers {
            bytes.extend_from_slice(&[&line.name[..], b": ", &line.value[..], b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        let sent = Sent { tunnel: self.tunnel.clone(), target, headers, body: body.clone(), answered: None };
        self.book.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), sent);
        bytes
    }

    async fn send(&self, name: &str, bytes: &[u8], kept: &mut Option<Conn>) -> std::io::Result<u16> {
        let mut conn = match kept.take() {
            Some(conn) => conn,
            None => Conn::new(TcpStream::connect(("relay", 80)).await?),
        };
        conn.write(bytes).await?;
        let answer = conn.message().await?;
        if !conn.rest.is_empty() {
            self.log.wrong(format_args!("{name} has more than one answer: {:?}", String::from_utf8_lossy(&conn.rest)));
        }
        let status = answer.status().unwrap_or(0);
        self.log.say(format_args!("{name} is answered {status}"));
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sent) = book.get_mut(name) {
            sent.answered = Some(status);
        }
        if answer.get("connection").is_none_or(|c| !c.eq_ignore_ascii_case("close")) {
            *kept = Some(conn);
        }
        Ok(status)
    }
}
