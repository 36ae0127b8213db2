//! The two directions of one connection through the proxy: what comes in waits until the weather lets it out. It decides nothing about
//! when that is.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use crate::proxy::Shared;
use crate::weather::Course;

/// The most that is passed on at once, in bytes.
const PIECE: usize = 4096;

/// How many pieces may be on their way in one direction: enough for a delay, and no more than a router holds back.
const ON_THE_WAY: usize = 32;

/// The ends of a connection: the one that was accepted, and the one that was opened for it.
pub(crate) struct Ends {
    pub(crate) near: TcpStream,
    pub(crate) far: TcpStream,
}

impl Ends {
    /// Another handle on the same sockets.
    pub(crate) fn again(&self) -> std::io::Result<Ends> {
        Ok(Ends { near: self.near.try_clone()?, far: self.far.try_clone()? })
    }

    /// Ends both.
    pub(crate) fn close(&self) {
        for socket in [&self.near, &self.far] {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

struct Piece {
    bytes: Vec<u8>,
    due: Instant,
    /// Under which weather that was reckoned; a change lets through what was held up before it.
    weather: u64,
}

/// Starts passing both directions, on threads of their own.
pub(crate) fn pass(shared: &std::sync::Arc<Shared>, number: usize, ends: &Ends) -> std::io::Result<()> {
    let [there, back] = [ends.again()?, ends.again()?];
    for (way, from, to) in [(1, there.near, there.far), (2, back.far, back.near)] {
        let (queue, pieces) = sync_channel(ON_THE_WAY);
        let (taking, giving, closing) = (shared.clone(), shared.clone(), ends.again()?);
        std::thread::spawn(move || take(&taking, (number, way), from, &queue));
        std::thread::spawn(move || {
            give(&giving, number, to, &pieces);
            closing.close();
            giving.forget(number);
        });
    }
    Ok(())
}

/// Reads until the end or until nobody passes it on.
fn take(shared: &Shared, (number, way): (usize, u64), mut from: TcpStream, queue: &SyncSender<Piece>) {
    let mut course = Course::new(&shared.weather(), number, way);
    let mut bytes = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        shared.wait_thaw(number);
        let (due, weather) = shared.reckon(|weather| course.due(weather, Instant::now(), length));
        if queue.send(Piece { bytes: bytes[..length].to_vec(), due, weather }).is_err() {
            return;
        }
    }
}

/// Writes each piece when its time has come.
fn give(shared: &Shared, number: usize, mut to: TcpStream, pieces: &Receiver<Piece>) {
    for piece in pieces {
        shared.wait_due(piece.due, piece.weather);
        shared.wait_thaw(number);
        if to.write_all(&piece.bytes).is_err() {
            return;
        }
    }
}
