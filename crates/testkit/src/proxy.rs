//! A TCP proxy that misbehaves as told: it cuts, freezes, slows down and turns away. It knows nothing of what goes through.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{DEADLINE, Log};

/// The most that is passed on at once, in bytes.
const PIECE: usize = 4096;

/// A proxy on loopback; it ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    accepted: Log<usize>,
}

struct State {
    to: SocketAddr,
    connections: Vec<Pair>,
    /// Connections with a smaller number pass nothing any more, in either direction.
    frozen_below: usize,
    turning_away: bool,
    bytes_per_second: Option<usize>,
    ended: bool,
}

type Pair = (TcpStream, TcpStream);

impl Proxy {
    /// A proxy to that address that passes everything.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn start(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            to,
            connections: Vec::new(),
            frozen_below: 0,
            turning_away: false,
            bytes_per_second: None,
            ended: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), accepted: Log::default() });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for (number, near) in listener.incoming().flatten().enumerate() {
                if !accepting.join(number, near) {
                    return;
                }
            }
        });
        Proxy { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as an HTTP URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The connections it has accepted, by number.
    pub fn accepted(&self) -> &Log<usize> {
        &self.shared.accepted
    }

    /// Connects to another address from now on.
    pub fn lead_to(&self, to: SocketAddr) {
        self.shared.state().to = to;
    }

    /// Cuts all connections there are; new ones pass.
    pub fn cut(&self) {
        let connections = std::mem::take(&mut self.shared.state().connections);
        connections.iter().for_each(close);
    }

    /// Turns new connections away, or takes them again.
    pub fn turn_away(&self, away: bool) {
        self.shared.state().turning_away = away;
    }

    /// Reads and passes nothing any more on the connections there are, without closing them: what a laptop that slept, or a
    /// forgotten NAT entry, looks like. New ones pass.
    pub fn freeze(&self) {
        let next = self.shared.accepted.len();
        self.shared.state().frozen_below = next;
    }

    /// Passes at most so many bytes a second in each direction of each connection, or as many as come.
    pub fn limit(&self, bytes_per_second: Option<usize>) {
        self.shared.state().bytes_per_second = bytes_per_second;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.cut();
        self.shared.changed.notify_all();
        // Wakes the thread that accepts; if that fails it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins an accepted connection with one of its own; whether the proxy goes on.
    fn join(self: &Arc<Self>, number: usize, near: TcpStream) -> bool {
        let (to, away) = {
            let state = self.state();
            if state.ended {
                return false;
            }
            (state.to, state.turning_away)
        };
        self.accepted.push(number);
        if away {
            return true;
        }
        let Ok(far) = TcpStream::connect_timeout(&to, DEADLINE) else { return true };
        for socket in [&near, &far] {
            // Slower without it, not wrong.
            let _ = socket.set_nodelay(true);
        }
        let copies = (near.try_clone(), far.try_clone(), near.try_clone(), far.try_clone());
        let (Ok(near_in), Ok(far_in), Ok(near_out), Ok(far_out)) = copies else { return true };
        self.state().connections.push((near, far));
        for (from, to) in [(near_in, far_out), (far_in, near_out)] {
            let shared = self.clone();
            std::thread::spawn(move || shared.pass(number, from, to));
        }
        true
    }

    /// Passes one direction until it ends.
    fn pass(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let rate = {
                let state = self.state();
                let frozen = |s: &mut State| !s.ended && number < s.frozen_below;
                let state = self.changed.wait_while(state, frozen).unwrap_or_else(PoisonError::into_inner);
                state.bytes_per_second
            };
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
            if let Some(rate) = rate {
                let state = self.state();
                let pause = Duration::from_secs_f64(length as f64 / rate.max(1) as f64);
                let limited = |s: &mut State| !s.ended && s.bytes_per_second.is_some();
                let _waited = self.changed.wait_timeout_while(state, pause, limited);
            }
        }
        close(&(from, to));
    }
}

fn close(pair: &Pair) {
    for socket in [&pair.0, &pair.1] {
        // It may be closed already.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connection, Handler};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    #[test]
    fn passes_cuts_and_turns_away() {
        let handler = Handler::start();
        let proxy = Proxy::start(handler.address());
        let mut connection = Connection::open(proxy.address());
        connection.send(REQUEST);
        assert_eq!(connection.answer().status(), Some(200));
        proxy.cut();
        assert!(connection.rest().is_empty());
        proxy.turn_away(true);
        assert!(Connection::open(proxy.address()).rest().is_empty());
        proxy.turn_away(false);
        let mut connection = Connection::open(proxy.address());
        connection.send(REQUEST);
        assert_eq!(connection.answer().status(), Some(200));
    }

    #[test]
    fn what_is_frozen_passes_nothing_and_new_connections_do() {
        let handler = Handler::start();
        let proxy = Proxy::start(handler.address());
        let mut frozen = Connection::open(proxy.address());
        frozen.send(REQUEST);
        frozen.answer();
        proxy.freeze();
        frozen.send(REQUEST);
        let mut fresh = Connection::open(proxy.address());
        fresh.send(REQUEST);
        fresh.answer();
        assert_eq!(handler.received().len(), 2);
    }
}
