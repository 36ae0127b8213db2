//! What retention keeps and what a removal passes over: the limits, and what came of applying them. Pure; applying them is `trim`'s work.

use std::time::Duration;

use tunnel_delivery::Timestamp;

/// What is kept at most. Limits that are `None` do not limit; without any nothing is removed.
///
/// Whatever the limits say, three kinds of deliveries stay: pinned ones, those that wait to be forwarded, and those received within
/// the last minute. They count towards `count` and `bytes`, so that others make room for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Deliveries received longer ago than this are removed.
    pub age: Option<Duration>,
    /// How many deliveries are kept; the oldest are removed first.
    pub count: Option<u64>,
    /// How many bytes of records ([`crate::Stats::record_bytes`]) are kept; the oldest are removed first. This is not the length of
    /// the file: that shrinks by [`crate::Archive::compact`].
    pub bytes: Option<u64>,
}

impl Keep {
    /// Whether nothing limits.
    pub fn is_everything(&self) -> bool {
        *self == Keep::default()
    }
}

/// What one call of [`crate::Archive::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// How many deliveries were removed, with everything that belongs to them.
    pub deliveries: u64,
    /// How many attempts went with them.
    pub attempts: u64,
    /// How many bytes of records that were.
    pub bytes: u64,
    /// How many the limits would have removed but for being pinned, waiting to be forwarded or just received.
    pub spared: u64,
}

/// What a removal passes over although it is named. The default passes over nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spare {
    /// Pinned deliveries.
    pub pinned: bool,
    /// Those that wait to be forwarded.
    pub queued: bool,
    /// Those received then or later: a relay that crashed may send them again, and removed ones would be stored as new.
    pub since: Option<Timestamp>,
}

/// What one call of [`crate::Archive::remove_sparing`] did. Each delivery is counted once; what is not there, not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many were removed, with everything that belongs to them.
    pub removed: u64,
    /// How many stay because they are pinned.
    pub pinned: u64,
    /// How many stay because they wait to be forwarded.
    pub queued: u64,
    /// How many stay because they were just received.
    pub recent: u64,
}
