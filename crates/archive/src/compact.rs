//! What compaction returns; the work itself is `copy`'s and the writer's.

/// What [`crate::Archive::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The length of the store's file before, in bytes.
    pub before: u64,
    /// Its length afterwards, in bytes.
    pub after: u64,
}
