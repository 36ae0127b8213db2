//! Senders in a closed loop: each signs a delivery, posts it over TCP, waits for the answer, and goes on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tunnel_signature::{Profile, Secret};

use crate::error::{BenchError, wrong};
use crate::figures::micros;
use crate::sample::{self, Body, SECRET, SMALL, TARGET};

/// The header line that names a delivery for the bench; nothing signs it.
pub(crate) const NUMBER: &str = "X-Bench-Number";

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a sender rests after an answer that is not 2xx, or none.
const REST: Duration = Duration::from_millis(10);

/// The most that is read of one answer, in bytes.
const MOST: usize = 1 << 20;

/// How senders use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// A new one for each delivery.
    New,
    /// One for each sender.
    Kept,
}

/// Where to post, and as whom one is addressed.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// The address to connect to.
    pub(crate) address: SocketAddr,
    /// The Host line.
    pub(crate) host: String,
}

/// When it ends: whichever comes first.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    /// After this time.
    pub(crate) time: Duration,
    /// After that many deliveries.
    pub(crate) count: u64,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// When it began.
    pub(crate) began: Option<Instant>,
    /// From the first request's beginning to the last answer's end.
    pub(crate) took: Duration,
    /// The numbers of the deliveries that were answered 2xx.
    pub(crate) answered: Vec<u64>,
    /// How long each of these took, in microseconds, connecting included; in no order.
    pub(crate) micros: Vec<u32>,
    /// How many were answered otherwise, or not.
    pub(crate) failed: u64,
}

impl Outcome {
    /// 2xx answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answered.len() as f64 / self.took.as_secs_f64()
    }
}

/// Lets `senders` send. Each delivery gets the next of `numbers`.
pub(crate) async fn load(
    door: &Door,
    connections: Connections,
    senders: usize,
    limit: Limit,
    numbers: &Arc<AtomicU64>,
) -> Result<Outcome, BenchError> {
    let began = Instant::now();
    let (secret, end) = (sample::secret(SECRET)?, numbers.load(Ordering::Relaxed) + limit.count);
    let mut tasks = JoinSet::new();
    for at in 0..senders {
        let mut sender = Sender::new(door.clone(), connections, secret.clone(), at)?;
        let numbers = Arc::clone(numbers);
        tasks.spawn(async move {
            let mut outcome = Outcome::default();
            while began.elapsed() < limit.time {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    break;
                }
                let request = sender.request(number)?;
                let start = Instant::now();
                match tokio::time::timeout(PATIENCE, sender.exchange(&request)).await {
                    Ok(Ok(200..=299)) => {
                        outcome.micros.push(micros(start.elapsed()));
                        outcome.answered.push(number);
                    }
                    refused => {
                        outcome.failed += 1;
                        if !matches!(refused, Ok(Ok(_))) {
                            sender.kept = None;
                        }
                        tokio::time::sleep(REST).await;
                    }
                }
            }
            Ok::<_, BenchError>(outcome)
        });
    }
    let mut all = Outcome { began: Some(began), ..Outcome::default() };
    while let Some(done) = tasks.join_next().await {
        let one = done.map_err(wrong)??;
        all.answered.extend(one.answered);
        all.micros.extend(one.micros);
        all.failed += one.failed;
    }
    all.took = began.elapsed();
    Ok(all)
}

/// One sender.
pub(crate) struct Sender {
    door: Door,
    connections: Connections,
    secret: Secret,
    body: Body,
    kept: Option<TcpStream>,
}

impl Sender {
    /// A sender of small deliveries of the catalogue's event at `event` (any number will do).
    pub(crate) fn new(
        door: Door,
        connections: Connections,
        secret: Secret,
        event: usize,
    ) -> Result<Sender, BenchError> {
        Ok(Sender { door, connections, secret, body: Body::new(event * 23, SMALL)?, kept: None })
    }

    /// Signs and posts the delivery of that number; gives the status, 0 if there was no answer in time.
    pub(crate) async fn post(&mut self, number: u64) -> Result<u16, BenchError> {
        let request = self.request(number)?;
        let answered = tokio::time::timeout(PATIENCE, self.exchange(&request)).await;
        Ok(answered.map_or(0, |answer| answer.unwrap_or(0)))
    }

    fn request(&self, number: u64) -> Result<Vec<u8>, BenchError> {
        let body = self.body.numbered(number);
        let signed = sample::sign(Profile::Guide, &self.secret, &body)?;
        let mut text = format!("POST {TARGET} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Ruby\r\n", self.door.host);
        for (name, value) in signed.lines() {
            text.extend([name, ": ", value, "\r\n"]);
        }
        let number = number.to_string();
        text.extend([NUMBER, ": ", &number, "\r\n"]);
        text.push_str(if self.connections == Connections::New { "Connection: close\r\n\r\n" } else { "\r\n" });
        Ok([text.into_bytes(), body].concat())
    }

    /// Sends a request and reads its answer whole; gives the status.
    async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        let mut stream = match self.kept.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.door.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await?;
        let mut buffer = Vec::with_capacity(1024);
        let answer = loop {
            if stream.read_buf(&mut buffer).await? == 0 || buffer.len() > MOST {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = parse(&buffer)? {
                break answer;
            }
        };
        if self.connections == Connections::Kept && !answer.last {
            self.kept = Some(stream);
        }
        Ok(answer.status)
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    last: bool,
}

/// The answer, once it is whole. Only answers with a Content-Length are understood, which is what both ends send.
fn parse(buffer: &[u8]) -> io::Result<Option<Answer>> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut lines);
    let garbage = |_| io::Error::from(io::ErrorKind::InvalidData);
    let httparse::Status::Complete(head_len) = head.parse(buffer).map_err(garbage)? else { return Ok(None) };
    let value =
        |name: &str| head.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value);
    let length = value("Content-Length").and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok());
    let (Some(length), Some(status)) = (length, head.code) else { return Err(io::ErrorKind::InvalidData.into()) };
    let last = value("Connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok((buffer.len().saturating_sub(head_len) >= length).then_some(Answer { status, last }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::Handler;

    #[test]
    fn answers_are_whole_or_not_there() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        assert_eq!(parse(answer).unwrap(), Some(Answer { status: 503, last: true }));
        for len in 0..answer.len() {
            assert_eq!(parse(&answer[..len]).unwrap(), None, "{len} bytes");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn everything_that_is_answered_reached_the_handler() {
        let handler = Handler::start().unwrap();
        let door = Door { address: handler.address(), host: "localhost".to_owned() };
        let numbers = Arc::new(AtomicU64::new(5));
        let limit = Limit { time: Duration::from_secs(60), count: 40 };
        for connections in [Connections::New, Connections::Kept] {
            let outcome = load(&door, connections, 4, limit, &numbers).await.unwrap();
            assert_eq!((outcome.answered.len(), outcome.micros.len(), outcome.failed), (40, 40, 0), "{connections:?}");
            assert_eq!(handler.seen().missing(&outcome.answered), 0, "{connections:?}");
            numbers.store(1000, Ordering::Relaxed);
        }
    }
}
