//! The handler at the end of the path: answers 200 at once, and remembers which deliveries reached it and when the last one did.
//!
//! It has a thread and a runtime of its own: a direct call must cost the switches between two threads that a call to a real handler costs.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::load::NUMBER;

/// The most that is read of one request, in bytes.
const MOST: usize = 1 << 20;

/// Numbers above this are not remembered: the bench never sends as many.
const MOST_NUMBERS: u64 = 1 << 28;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";
const LAST_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"ok\":true}";

/// A handler on loopback; it ends when dropped.
pub(crate) struct Handler {
    address: SocketAddr,
    seen: Arc<Seen>,
    /// Its thread, and what keeps that going.
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Handler {
    /// Starts it on a free port.
    pub(crate) fn start() -> io::Result<Handler> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let seen = Arc::new(Seen::default());
        let (going, ended) = oneshot::channel();
        let log = Arc::clone(&seen);
        let thread = std::thread::Builder::new().name("handler".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    // It only ends with an error, which shows at every sender.
                    _ = accept(listener, log) => {}
                    _ = ended => {}
                }
            });
        })?;
        Ok(Handler { address, seen, thread: Some((going, thread)) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What reached it.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if let Some((going, thread)) = self.thread.take() {
            drop(going);
            // It does not panic.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, seen: Arc<Seen>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that breaks shows at its sender.
        tokio::spawn(serve(stream, Arc::clone(&seen)));
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let Some(request) = parse(&buffer) else {
            if buffer.len() > MOST || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        if let Some(number) = request.number {
            seen.add(number);
        }
        buffer.drain(..request.len);
        if request.last {
            return stream.write_all(LAST_ANSWER).await;
        }
        stream.write_all(ANSWER).await?;
    }
}

#[derive(Debug, PartialEq)]
struct Request {
    number: Option<u64>,
    len: usize,
    last: bool,
}

/// A whole request at the buffer's beginning; nothing while something of it is missing.
fn parse(buffer: &[u8]) -> Option<Request> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut lines);
    let head_len = match head.parse(buffer) {
        Ok(httparse::Status::Complete(len)) => len,
        _ => return None,
    };
    let value =
        |name: &str| head.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value);
    let decimal = |name: &str| std::str::from_utf8(value(name)?).ok()?.parse::<u64>().ok();
    let body_len = usize::try_from(decimal("Content-Length").unwrap_or(0)).ok()?;
    let len = head_len.checked_add(body_len)?;
    let last = value("Connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    (buffer.len() >= len).then(|| Request { number: decimal(NUMBER), len, last })
}

/// Which numbers came.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Marks>);

#[derive(Default)]
struct Marks {
    bits: Vec<u64>,
    last: Option<Instant>,
}

impl Seen {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, number: u64) {
        if number > MOST_NUMBERS {
            return;
        }
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        let mut marks = self.marks();
        if marks.bits.len() <= word {
            marks.bits.resize(word + 1024, 0);
        }
        if marks.bits[word] & bit == 0 {
            marks.bits[word] |= bit;
            marks.last = Some(Instant::now());
        }
    }

    /// When the last one came that had not come before.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.marks().last
    }

    /// How many of these have not come.
    pub(crate) fn missing(&self, numbers: &[u64]) -> usize {
        let marks = self.marks();
        let came = |n: &u64| marks.bits.get(*n as usize / 64).is_some_and(|word| word & (1 << (n % 64)) != 0);
        numbers.iter().filter(|n| !came(n)).count()
    }

    /// Waits until all of these have come, or nothing has for `patience`; gives how many are missing.
    pub(crate) async fn wait(&self, numbers: &[u64], patience: Duration) -> usize {
        let (mut least, mut since) = (usize::MAX, Instant::now());
        loop {
            let missing = self.missing(numbers);
            if missing < least {
                (least, since) = (missing, Instant::now());
            }
            if missing == 0 || since.elapsed() > patience {
                return missing;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_or_not_there() {
        let request = b"POST / HTTP/1.1\r\nx-bench-number: 7\r\ncontent-length: 2\r\nConnection: Close\r\n\r\n{}";
        assert_eq!(parse(request), Some(Request { number: Some(7), len: request.len(), last: true }));
        for len in 0..request.len() {
            assert_eq!(parse(&request[..len]), None, "{len} bytes");
        }
        let two = [&request[..], b"GET"].concat();
        assert_eq!(parse(&two).map(|r| r.len), Some(request.len()));
        assert_eq!(parse(b"POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n"), None);
    }

    #[test]
    fn what_came_is_remembered_once() {
        let seen = Seen::default();
        assert_eq!((seen.missing(&[3, 100_000]), seen.last()), (2, None));
        seen.add(100_000);
        seen.add(u64::MAX);
        let first = seen.last();
        assert!(first.is_some());
        seen.add(100_000);
        assert_eq!((seen.missing(&[3, 100_000]), seen.last()), (1, first));
    }

    #[tokio::test]
    async fn waiting_ends_when_nothing_comes() {
        let seen = Seen::default();
        seen.add(1);
        assert_eq!(seen.wait(&[1], Duration::from_secs(600)).await, 0);
        assert_eq!(seen.wait(&[1, 2], Duration::from_millis(1)).await, 1);
    }
}
