//! A listener between a proxy and the relay that hands on every byte and counts the answers of the relay: as many as it read requests.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// It ends with the process.
pub(crate) struct Tap {
    answers: Arc<AtomicUsize>,
}

impl Tap {
    /// Listens at a socket in the file system and hands on to `relay`.
    pub(crate) fn listen(at: &Path, relay: SocketAddr) -> Tap {
        let listener = UnixListener::bind(at).expect("the stage's folder takes a socket");
        let answers = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answers);
        std::thread::spawn(move || {
            for proxy in listener.incoming().map_while(Result::ok) {
                let Ok(relay) = TcpStream::connect(relay) else { continue };
                let _ = relay.set_nodelay(true);
                let (up, down) = ((proxy.try_clone().unwrap(), relay.try_clone().unwrap()), (relay, proxy));
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || requests(up.0, up.1));
                std::thread::spawn(move || answered(down.0, down.1, &counted));
            }
        });
        Tap { answers }
    }

    /// How many answers the relay has given so far.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }
}

fn requests(mut from: UnixStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn answered(mut from: TcpStream, mut to: UnixStream, counted: &AtomicUsize) {
    let (mut tail, mut block) = (Vec::new(), [0; 16 << 10]);
    while let Ok(read @ 1..) = from.read(&mut block) {
        tail.extend_from_slice(&block[..read]);
        counted.fetch_add(count(&mut tail), Ordering::SeqCst);
        if to.write_all(&block[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
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
