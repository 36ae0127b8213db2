//! A handler that records what it gets, byte for byte, and answers as the story says. It verifies nothing.

use std::io::{BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::{DEADLINE, HttpMessage, Lines, Log};

/// One request as the handler got it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The request.
    pub message: HttpMessage,
    /// When its last byte was read.
    pub at: Instant,
    /// Which of the handler's connections it came over, counted from 0.
    pub connection: usize,
}

/// What the handler does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with a status, header lines and a body; Content-Length is added.
    Answer {
        /// The status.
        status: u16,
        /// Header lines.
        headers: Lines,
        /// The body.
        body: Vec<u8>,
    },
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Keeps the connection and says nothing.
    Never,
    /// Waits until the gate is open.
    After(Gate, Box<Reply>),
}

impl Reply {
    /// Status 200 and a short body.
    pub fn ok() -> Reply {
        Reply::status(200, "ok\n")
    }

    /// A status and a text.
    pub fn status(status: u16, body: &str) -> Reply {
        Reply::Answer { status, headers: Vec::new(), body: body.into() }
    }
}

/// Something that is closed until a story opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everyone through from now on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open, at most [`DEADLINE`]: then the story has failed elsewhere.
    pub fn pass(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _waited = self.0.1.wait_timeout_while(open, DEADLINE, |open| !*open);
    }
}

type Script = dyn Fn(&HttpMessage) -> Reply + Send + Sync;

/// A handler on loopback; it ends when dropped.
pub struct Handler {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    received: Log<Received>,
    script: Box<Script>,
    connections: Mutex<Vec<TcpStream>>,
    count: AtomicUsize,
    stopped: AtomicBool,
    stop: Gate,
}

impl Handler {
    /// A handler that answers every request with 200.
    pub fn start() -> Handler {
        Handler::answering(|_| Reply::ok())
    }

    /// A handler that asks `script` what to do with each request.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn answering(script: impl Fn(&HttpMessage) -> Reply + Send + Sync + 'static) -> Handler {
        Handler::bound("127.0.0.1:0", script)
    }

    /// A handler that answers every request with 200 and listens there.
    ///
    /// # Panics
    /// If it cannot listen there.
    pub fn listening(at: &str) -> Handler {
        Handler::bound(at, |_| Reply::ok())
    }

    fn bound(at: &str, script: impl Fn(&HttpMessage) -> Reply + Send + Sync + 'static) -> Handler {
        let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("cannot listen on {at}: {e}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            received: Log::default(),
            script: Box::new(script),
            connections: Mutex::default(),
            count: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            stop: Gate::default(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let serving = accepting.clone();
                std::thread::spawn(move || serving.serve(connection));
            }
        });
        Handler { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came so far and what is to come.
    pub fn received(&self) -> &Log<Received> {
        &self.shared.received
    }

    /// Waits until at least `count` requests have come, and gives all.
    ///
    /// # Panics
    /// After [`DEADLINE`].
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let enough = |seen: &[Received]| (seen.len() >= count).then(|| seen.to_vec());
        self.shared.received.wait(&format!("{count} requests at the handler"), enough)
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.count.load(Ordering::SeqCst)
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.stop.open();
        for connection in self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts; if that fails it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, connection: TcpStream) {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let (Ok(mut out), Ok(kept)) = (connection.try_clone(), connection.try_clone()) else { return };
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        let mut from = BufReader::new(connection);
        // What is not HTTP ends the connection: the story sees that the request did not come.
        while let Ok(Some(message)) = HttpMessage::read(&mut from) {
            let reply = (self.script)(&message);
            self.received.push(Received { message, at: Instant::now(), connection: number });
            if !self.act(reply, &mut out) {
                break;
            }
        }
        let _ = out.shutdown(Shutdown::Both);
    }

    /// Whether the connection goes on.
    fn act(&self, reply: Reply, out: &mut TcpStream) -> bool {
        match reply {
            Reply::Answer { status, headers, body } => out.write_all(&answer(status, &headers, &body)).is_ok(),
            Reply::Raw(bytes) => {
                // The other side may have gone: then there is nobody to answer.
                let _ = out.write_all(&bytes);
                false
            }
            Reply::Close => false,
            Reply::Never => {
                self.stop.pass();
                false
            }
            Reply::After(gate, then) => {
                gate.pass();
                self.act(*then, out)
            }
        }
    }
}

fn answer(status: u16, headers: &Lines, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Said\r\n").into_bytes();
    for (name, value) in headers {
        out.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
    }
    if !matches!(status, 204 | 304) {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connection;

    #[test]
    fn records_bytes_and_answers_as_told() {
        let handler = Handler::answering(|request| match request.target() {
            "/close" => Reply::Close,
            _ => Reply::status(418, "tea"),
        });
        let mut connection = Connection::open(handler.address());
        connection.send(b"POST /x HTTP/1.1\r\nhOst: a\r\n\r\n");
        assert_eq!(connection.answer().status(), Some(418));
        connection.send(b"GET /close HTTP/1.1\r\n\r\n");
        assert!(connection.try_answer().is_none());
        let seen = handler.wait_for(2);
        assert_eq!(seen[0].message.raw, b"POST /x HTTP/1.1\r\nhOst: a\r\n\r\n");
        assert_eq!((seen[1].connection, handler.connections()), (0, 1));
    }

    #[test]
    fn an_answer_waits_for_its_gate() {
        let gate = Gate::default();
        let shut = gate.clone();
        let handler = Handler::answering(move |_| Reply::After(shut.clone(), Box::new(Reply::ok())));
        let mut connection = Connection::open(handler.address());
        connection.send(b"GET / HTTP/1.1\r\n\r\n");
        handler.wait_for(1);
        gate.open();
        assert_eq!(connection.answer().status(), Some(200));
    }
}
