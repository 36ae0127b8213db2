//! The only form in which a value reaches the storage engine: at most [`Piece::MAX`] bytes.
//!
//! Why: the engine moves what is too large for its log into files of their own, which it neither syncs nor reliably removes. It
//! decides that by the size of a whole leaf of its tree, and a leaf holds up to 17 values before it is split: 17 pieces with their
//! keys must stay below a quarter of a segment (see `engine`, which checks the sum at compile time).

use crate::engine::Value;

/// A value that the engine keeps in its log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece(Value);

/// The bytes do not fit into one piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TooLong;

impl Piece {
    /// The greatest length of a value, in bytes.
    pub(crate) const MAX: usize = 4096;

    /// These bytes as one piece.
    pub(crate) fn new(bytes: &[u8]) -> Result<Piece, TooLong> {
        if bytes.len() <= Piece::MAX { Ok(Piece(bytes.into())) } else { Err(TooLong) }
    }

    /// These bytes as as many pieces as it takes, none of them empty.
    pub(crate) fn cut(bytes: &[u8]) -> impl ExactSizeIterator<Item = Piece> {
        bytes.chunks(Piece::MAX).map(|chunk| Piece(chunk.into()))
    }

    /// No bytes: for keys that say everything.
    pub(crate) fn mark() -> Piece {
        Piece(Value::default())
    }

    /// The value to store.
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_longer_can_be_built() {
        assert!(Piece::new(&[7; Piece::MAX]).is_ok());
        assert_eq!(Piece::new(&[7; Piece::MAX + 1]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn cutting_and_joining_gives_the_same_bytes(len in 0usize..20_000, seed: u8) {
            let bytes: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
            let pieces: Vec<Piece> = Piece::cut(&bytes).collect();
            prop_assert!(pieces.iter().all(|p| !p.value().is_empty() && p.value().len() <= Piece::MAX));
            prop_assert_eq!(pieces.len(), len.div_ceil(Piece::MAX));
            let joined: Vec<u8> = pieces.iter().flat_map(|p| p.value().to_vec()).collect();
            prop_assert_eq!(joined, bytes);
        }
    }
}
