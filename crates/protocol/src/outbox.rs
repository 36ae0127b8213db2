//! What one side still has to send, in the order in which it should go out: urgent frames first, then whole frames and pieces of big
//! bodies in turn, so that neither holds up the other.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::CHUNK;
use crate::{Chunk, ToAgent, ToRelay};

/// Turns a chunk into the frame of the direction an outbox is for.
pub trait ChunkFrame {
    /// The frame that carries `chunk`.
    fn of(chunk: Chunk) -> Bytes;
}

impl ChunkFrame for ToAgent {
    fn of(chunk: Chunk) -> Bytes {
        ToAgent::Chunk(chunk).encode()
    }
}

impl ChunkFrame for ToRelay {
    fn of(chunk: Chunk) -> Bytes {
        ToRelay::Chunk(chunk).encode()
    }
}

/// A well-behaved peer has one or two of them to wait for.
const MOST_URGENT: usize = 32;

struct Rest {
    n: u64,
    sent: usize,
    body: Bytes,
}

/// Frames and bodies that wait to be sent. It holds what it is given; how much that may be is the caller's window.
pub struct Outbox<F> {
    urgent: VecDeque<Bytes>,
    frames: VecDeque<(Bytes, Option<Rest>)>,
    bodies: VecDeque<Rest>,
    body_next: bool,
    direction: std::marker::PhantomData<F>,
}

impl<F: ChunkFrame> Default for Outbox<F> {
    fn default() -> Self {
        Outbox {
            urgent: VecDeque::new(),
            frames: VecDeque::new(),
            bodies: VecDeque::new(),
            body_next: false,
            direction: std::marker::PhantomData,
        }
    }
}

impl<F: ChunkFrame> Outbox<F> {
    /// A frame that goes before all others: hello, heartbeat, goodbye. Where too many of them wait, because the peer asks for signs of life and does not
    /// read them, the newest is left out.
    pub fn urgent(&mut self, frame: Bytes) {
        if self.urgent.len() < MOST_URGENT {
            self.urgent.push_back(frame);
        }
    }

    /// A frame that is complete in itself.
    pub fn whole(&mut self, frame: Bytes) {
        self.frames.push_back((frame, None));
    }

    /// A head whose body follows in chunks under number `n`.
    pub fn with_body(&mut self, head: Bytes, n: u64, body: Bytes) {
        self.frames.push_back((head, Some(Rest { n, sent: 0, body })));
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.frames.is_empty() && self.bodies.is_empty()
    }

    /// The next frame to send.
    pub fn pop(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.urgent.pop_front() {
            return Some(frame);
        }
        let body_now = !self.bodies.is_empty() && (self.body_next || self.frames.is_empty());
        if body_now {
            self.body_next = false;
            let mut rest = self.bodies.pop_front()?;
            let end = (rest.sent + CHUNK).min(rest.body.len());
            let frame = F::of(Chunk { n: rest.n, offset: rest.sent as u64, data: rest.body.slice(rest.sent..end) });
            rest.sent = end;
            if end < rest.body.len() {
                self.bodies.push_back(rest);
            }
            return Some(frame);
        }
        self.body_next = true;
        let (frame, rest) = self.frames.pop_front()?;
        self.bodies.extend(rest);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(frame: Bytes) -> String {
        match ToAgent::decode(frame).unwrap() {
            ToAgent::Chunk(c) => format!("chunk {} at {}", c.n, c.offset),
            ToAgent::Ping(n) => format!("ping {n}"),
            ToAgent::Pong(n) => format!("frame {n}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_big_body_and_small_frames_take_turns_and_urgent_ones_go_first() {
        let mut out = Outbox::<ToAgent>::default();
        out.with_body(ToAgent::Pong(1).encode(), 1, Bytes::from(vec![0; 2 * CHUNK + 1]));
        for n in 2..5 {
            out.whole(ToAgent::Pong(n).encode());
        }
        out.urgent(ToAgent::Ping(9).encode());
        let order: Vec<String> = std::iter::from_fn(|| out.pop()).map(kind).collect();
        let second = format!("chunk 1 at {CHUNK}");
        let third = format!("chunk 1 at {}", 2 * CHUNK);
        assert_eq!(order, ["ping 9", "frame 1", "chunk 1 at 0", "frame 2", &second, "frame 3", &third, "frame 4"]);
        assert!(out.is_empty());
    }

    #[test]
    fn signs_of_life_that_nobody_reads_do_not_pile_up() {
        let mut out = Outbox::<ToAgent>::default();
        (0..1000).for_each(|n| out.urgent(ToAgent::Pong(n).encode()));
        assert_eq!(std::iter::from_fn(|| out.pop()).count(), MOST_URGENT);
    }

    #[test]
    fn two_big_bodies_share_the_line() {
        let mut out = Outbox::<ToAgent>::default();
        for n in [1, 2] {
            out.with_body(ToAgent::Pong(n).encode(), n, Bytes::from(vec![0; 2 * CHUNK]));
        }
        let order: Vec<String> = std::iter::from_fn(|| out.pop()).map(kind).collect();
        let second = format!("chunk 1 at {CHUNK}");
        let fourth = format!("chunk 2 at {CHUNK}");
        assert_eq!(order, ["frame 1", "chunk 1 at 0", "frame 2", &second, "chunk 2 at 0", &fourth]);
    }
}
