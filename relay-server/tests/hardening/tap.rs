//! A listener between a proxy and the relay that hands on every byte and counts the answers of the relay: as many as it read requests.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// It ends with the process.
pub(crate) struct Tap(Arc<Seen>);

#[derive(Default)]
struct Seen {
    answers: AtomicUsize,
    connections: Mutex<Vec<Arc<Ends>>>,
}

/// Which sides of a connection say no more.
#[derive(Default)]
struct Ends {
    proxy: AtomicBool,
    relay: AtomicBool,
}

impl Tap {
    /// Listens at a socket in the file system and hands on to `relay`.
    pub(crate) fn listen(at: &Path, relay: SocketAddr) -> Tap {
        let listener = UnixListener::bind(at).expect("the stage's folder takes a socket");
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for proxy in listener.incoming().map_while(Result::ok) {
                let Ok(relay) = TcpStream::connect(relay) else { continue };
                let _ = relay.set_nodelay(true);
                let (up, down) = ((proxy.try_clone().unwrap(), relay.try_clone().unwrap()), (relay, proxy));
                let ends = Arc::<Ends>::default();
                shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&ends));
                let (seen, theirs) = (Arc::clone(&shared), Arc::clone(&ends));
                std::thread::spawn(move || requests(up.0, up.1, &theirs));
                std::thread::spawn(move || answered(down.0, down.1, &seen.answers, &ends));
            }
        });
        Tap(seen)
    }

    /// How many answers the relay has given so far.
    pub(crate) fn answers(&self) -> usize {
        self.0.answers.load(Ordering::SeqCst)
    }

    /// Whether the relay has said its last on each connection that the proxy has given up.
    pub(crate) fn is_settled(&self) -> bool {
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|ends| !ends.relay.load(Ordering::SeqCst));
        connections.iter().all(|ends| !ends.proxy.load(Ordering::SeqCst))
    }
}

fn requests(mut from: UnixStream, mut to: TcpStream, ends: &Ends) {
    let _ = std::io::copy(&mut from, &mut to);
    ends.proxy.store(true, Ordering::SeqCst);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn answered(mut from: TcpStream, mut to: UnixStream, counted: &AtomicUsize, ends: &Ends) {
    let (mut tail, mut block, mut is_wanted) = (Vec::new(), [0; 16 << 10], true);
    while let Ok(read @ 1..) = from.read(&mut block) {
        tail.extend_from_slice(&block[..read]);
        counted.fetch_add(count(&mut tail), Ordering::SeqCst);
        // What a proxy that has gone does not hear counts all the same.
        is_wanted = is_wanted && to.write_all(&block[..read]).is_ok();
    }
    ends.relay.store(true, Ordering::SeqCst);
    // The other direction goes on: the relay reads what is still coming after an early answer.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

/// How many status lines there are, interim ones left out; what was looked at is taken off. No body that the relay sends holds one.
fn count(bytes: &mut Vec<u8>) -> usize {
    const BEGIN: &[u8] = b"HTTP/1.";
    const WHOLE: usize = b"HTTP/1.1 200 ".len();
    let (mut found, mut at) = (0, 0);
    while at + WHOLE <= bytes.len() {
        let here = &bytes[at..at + WHOLE];
        let status = here.starts_with(BEGIN) && here[8] == b' ' && here[9..12].iter().all(u8::is_ascii_digit);
        if status && (here[9] != b'1' || &here[9..12] == b"101") {
            found += 1;
        }
        at += 1;
    }
    bytes.drain(..at);
    found
}

#[test]
fn answers_are_counted_however_they_are_cut() {
    let all =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nneither HTTP/1.1 nor HTTP/1.0.HTTP/1.0 404 x\r\n\r\n";
    for cut in 0..all.len() {
        let mut tail = all[..cut].to_vec();
        let first = count(&mut tail);
        tail.extend_from_slice(&all[cut..]);
        assert_eq!(first + count(&mut tail), 2, "{cut}");
    }
}
