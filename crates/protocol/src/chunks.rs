//! Bodies that come in chunks, put together again. Both sides use it: the agent for deliveries, the relay for answers.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use crate::Chunk;

/// A peer broke the rules for chunks; the session should end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Two heads with one number.
    #[error("the peer began number {0} twice")]
    Twice(u64),
    /// A chunk without a head.
    #[error("the peer sent a chunk of number {0}, which it never began or had finished")]
    Stray(u64),
    /// Not the next byte.
    #[error("the peer sent bytes from {offset} of number {n} where {expected} came next")]
    OutOfOrder {
        /// The number.
        n: u64,
        /// Where the chunk said it belongs.
        offset: u64,
        /// Where the next chunk belongs.
        expected: u64,
    },
    /// More than was announced.
    #[error("the peer sent more of number {0} than it had announced")]
    TooMuch(u64),
    /// More at a time than was agreed.
    #[error("the peer has {0} bodies or more under way at once")]
    TooMany(usize),
}

/// A body that is complete, with what its head brought.
#[derive(Debug, PartialEq)]
pub struct Assembled<T> {
    /// The number it had.
    pub n: u64,
    /// What [`Assembler::begin`] was given.
    pub head: T,
    /// The whole body.
    pub body: Bytes,
}

struct Partial<T> {
    head: T,
    len: u64,
    body: BytesMut,
}

/// Puts bodies together. Memory grows with what has arrived, not with what was announced.
pub struct Assembler<T> {
    most: usize,
    partial: HashMap<u64, Partial<T>>,
}

impl<T> Assembler<T> {
    /// At most `most` bodies may be incomplete at once.
    pub fn new(most: usize) -> Assembler<T> {
        Assembler { most, partial: HashMap::new() }
    }

    /// A head came whose body of `len` bytes follows.
    ///
    /// # Errors
    /// The number is in use, or too many are under way.
    pub fn begin(&mut self, n: u64, len: u64, head: T) -> Result<(), ChunkError> {
        if self.partial.len() >= self.most {
            return Err(ChunkError::TooMany(self.most));
        }
        if self.partial.contains_key(&n) {
            return Err(ChunkError::Twice(n));
        }
        self.partial.insert(n, Partial { head, len, body: BytesMut::new() });
        Ok(())
    }

    /// A chunk came; gives the whole if it was the last one.
    ///
    /// # Errors
    /// The chunk is not the next piece of a body that was begun.
    pub fn chunk(&mut self, chunk: Chunk) -> Result<Option<Assembled<T>>, ChunkError> {
        let n = chunk.n;
        let partial = self.partial.get_mut(&n).ok_or(ChunkError::Stray(n))?;
        let expected = partial.body.len() as u64;
        if chunk.offset != expected {
            return Err(ChunkError::OutOfOrder { n, offset: chunk.offset, expected });
        }
        if expected + chunk.data.len() as u64 > partial.len {
            return Err(ChunkError::TooMuch(n));
        }
        partial.body.extend_from_slice(&chunk.data);
        if (partial.body.len() as u64) < partial.len {
            return Ok(None);
        }
        Ok(self.partial.remove(&n).map(|p| Assembled { n, head: p.head, body: p.body.freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: u64, offset: u64, data: &'static str) -> Chunk {
        Chunk { n, offset, data: Bytes::from_static(data.as_bytes()) }
    }

    #[test]
    fn interleaved_bodies_come_out_whole() {
        let mut a = Assembler::new(2);
        a.begin(1, 6, 'x').unwrap();
        a.begin(2, 3, 'y').unwrap();
        assert_eq!(a.chunk(chunk(1, 0, "abc")), Ok(None));
        assert_eq!(a.chunk(chunk(2, 0, "uvw")), Ok(Some(Assembled { n: 2, head: 'y', body: "uvw".into() })));
        assert_eq!(a.chunk(chunk(1, 3, "def")), Ok(Some(Assembled { n: 1, head: 'x', body: "abcdef".into() })));
    }

    #[test]
    fn every_breach_has_a_name() {
        let mut a = Assembler::new(1);
        a.begin(1, 4, ()).unwrap();
        assert_eq!(a.begin(1, 4, ()), Err(ChunkError::TooMany(1)));
        assert_eq!(a.chunk(chunk(2, 0, "a")), Err(ChunkError::Stray(2)));
        assert_eq!(a.chunk(chunk(1, 1, "a")), Err(ChunkError::OutOfOrder { n: 1, offset: 1, expected: 0 }));
        assert_eq!(a.chunk(chunk(1, 0, "abcde")), Err(ChunkError::TooMuch(1)));
        let mut a = Assembler::new(2);
        a.begin(1, 4, ()).unwrap();
        assert_eq!(a.begin(1, 4, ()), Err(ChunkError::Twice(1)));
    }
}
