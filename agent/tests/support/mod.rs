//! Raw HTTP servers for tests: they see every byte and may answer anything.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod agent;
pub mod api;
pub mod deliveries;
pub mod played;
pub mod schema;
pub mod stored;
pub mod terminal;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

/// How long anything is waited for: far longer than anything takes, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `work` comes to; says what was waited for if it takes too long.
pub async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited for {what}"),
    }
}

/// How often what announces itself to nobody is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// What `look` finds once there is something; for what a test can only ask for again and again. Says what was waited for if it takes too long.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    patiently(what, async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    })
    .await
}

/// The requests that came, whole.
#[derive(Clone, Default)]
pub struct Seen(Arc<Recorded>);

#[derive(Default)]
struct Recorded {
    requests: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
    more: Notify,
}

impl Seen {
    /// Which one it is, counted from 1: what is seen afterwards may be others that came beside it.
    pub fn push(&self, request: Vec<u8>) -> usize {
        let n = {
            let mut requests = self.0.requests.lock().unwrap();
            requests.push(request);
            requests.len()
        };
        self.0.more.notify_waiters();
        n
    }

    pub fn all(&self) -> Vec<Vec<u8>> {
        self.0.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests came; says how many did if they do not.
    pub async fn wait_for(&self, n: usize) {
        let enough = async {
            loop {
                let mut more = std::pin::pin!(self.0.more.notified());
                more.as_mut().enable();
                if self.all().len() >= n {
                    return;
                }
                more.await;
            }
        };
        if tokio::time::timeout(PATIENCE, enough).await.is_err() {
            panic!("{} of {n} requests came", self.all().len());
        }
    }
}

pub struct Server {
    pub port: u16,
    pub seen: Seen,
}

impl Server {
    /// A port at which nobody listens: bound for as long as this process lives, so that no other test gets it and answers there.
    pub fn closed() -> Server {
        let held = TcpSocket::new_v4().unwrap();
        held.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = held.local_addr().unwrap().port();
        std::mem::forget(held);
        Server { port, seen: Seen::default() }
    }
}

/// Runs `answer` for each connection.
pub async fn serve<F, A>(answer: A) -> Server
where
    A: Fn(TcpStream, Seen) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let here = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            here.0.connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(stream, here.clone()));
        }
    });
    Server { port, seen }
}

/// A handler that answers every request in that way.
pub async fn answering(answer: &'static str) -> Server {
    serve(move |mut s, seen| async move {
        use tokio::io::AsyncWriteExt as _;
        while let Some(request) = read_request(&mut s).await {
            seen.push(request);
            s.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

/// One request by its Content-Length; `None` where the connection ended.
pub async fn read_request(s: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let len: usize =
                head.lines().find_map(|l| l.strip_prefix("content-length:")).map_or(0, |v| v.trim().parse().unwrap());
            while bytes.len() < end + 4 + len {
                if s.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            return Some(bytes);
        }
        if s.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
