//! The words of the spool: places in a tunnel's stream, gaps in it, limits and figures.
//!
//! Plain data. Nothing here knows how it is stored (format.rs) or what may happen to it (record.rs).

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tunnel_delivery::{DeviceKey, DeviceName, Timestamp, TunnelName};

/// A place in a tunnel's stream. The first delivery has 1; numbers are given at commit, grow by one and are never given twice, not
/// even after everything was deleted. 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The place before the first delivery.
    pub const ZERO: Seq = Seq(0);

    /// The place after this one.
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The place before this one; 0 has none and stays.
    pub fn prev(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a device is to its tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Deliveries are kept until it has them.
    #[default]
    Takes,
    /// It gets deliveries and changes nothing for the others: what it has taken counts as taken for nobody else, and it is never the first device of its
    /// tunnel. What all who take have is still kept for it, within the limits.
    Watches,
}

/// Where a device that is new to its tunnel begins. A device that is known goes on where it was, whatever it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes after now. The first device of a tunnel, if it does not only watch, is given everything that waits instead: it was answered 2xx and nobody
    /// else will take it.
    Now,
    /// With the oldest delivery that is still spooled.
    Beginning,
    /// With the first delivery received at that time or later.
    At(Timestamp),
}

/// Why deliveries were dropped before every device had taken them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// They were older than [`Limits::max_age`].
    Age,
    /// They were the oldest of a tunnel that holds more than [`Limits::max_bytes_per_tunnel`], and another device had taken them: a
    /// device that is away must not keep new deliveries out. What no device has taken is dropped for its size only where the limit
    /// was lowered: otherwise what would exceed the limit is refused.
    Size,
    /// An operator had the tunnel purged.
    Removed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Age => "age",
            Why::Size => "size",
            Why::Removed => "removed",
        })
    }
}

/// Deliveries that a device will never be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first that is missing.
    pub from: Seq,
    /// The last that is missing.
    pub upto: Seq,
    /// The reason; the latest, where several dropped runs have grown into one gap.
    pub why: Why,
}

impl Gap {
    /// How many deliveries are missing: all numbers between the bounds were given.
    pub fn count(&self) -> u64 {
        (self.upto.0 + 1).saturating_sub(self.from.0)
    }
}

/// Where a device stands when it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Everything up to here is done with: read on after it.
    pub after: Seq,
    /// Whether the device was not known before.
    pub new: bool,
    /// What was dropped since the device last took something. It is told at every join until `taken` reaches [`Gap::upto`]: call that
    /// once the agent has acknowledged the gap.
    pub gap: Option<Gap>,
}

/// A device as the spool knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePlace {
    /// Its name.
    pub device: DeviceName,
    /// What it is to the tunnel.
    pub role: Role,
    /// The last delivery it has taken.
    pub after: Seq,
    /// It was given what comes after this, and nothing before.
    pub began: Seq,
    /// How many spooled deliveries it has not taken.
    pub waiting: u64,
    /// How many of those no other device was given or ever will be: with this one forgotten they would be with nobody. 0 where it is the only one, since what
    /// waits then stays for the first to come.
    pub only_here: u64,
    /// What was dropped before it could take it.
    pub gap: Option<Gap>,
    /// When it last joined.
    pub joined: Timestamp,
    /// Its public key, where it has told one.
    pub key: Option<DeviceKey>,
}

/// Figures of one tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many deliveries some device has not taken (all of them, where there is no device).
    pub waiting: u64,
    /// Bytes of the stored deliveries. What all devices have taken counts for some 200 ms more, until it is deleted.
    pub bytes: u64,
    /// When the oldest of the waiting deliveries was received.
    pub oldest: Option<Timestamp>,
    /// How many were ever dropped for their age.
    pub dropped_age: u64,
    /// How many were ever dropped because the tunnel held too much.
    pub dropped_size: u64,
}

/// Figures of the whole spool since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Deliveries made durable.
    pub appended: u64,
    /// Commits, each with one sync of the file.
    pub commits: u64,
}

/// A run of deliveries that was dropped before every device had taken it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Of this tunnel.
    pub tunnel: TunnelName,
    /// The first that was dropped.
    pub from: Seq,
    /// The last that was dropped.
    pub upto: Seq,
    /// Their bytes as stored.
    pub bytes: u64,
    /// The reason.
    pub why: Why,
}

impl Dropped {
    /// How many were dropped.
    pub fn count(&self) -> u64 {
        (self.upto.0 + 1).saturating_sub(self.from.0)
    }
}

/// How much one read may return: whichever is reached first, but at least one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// That many deliveries.
    pub count: usize,
    /// That many bytes of deliveries as stored (headers, target and body).
    pub bytes: usize,
}

/// What the spool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// [`crate::Spool::expire`] drops what is older.
    pub max_age: Duration,
    /// A tunnel that would hold more bytes than this drops what is only kept for devices that are behind others, and where that is not
    /// enough refuses deliveries.
    pub max_bytes_per_tunnel: u64,
    /// While the file system has fewer free bytes than this, no delivery is accepted. It must leave room for the commits that delete. No tunnel
    /// holds more than twice what is left above that, whatever its share: one alone gets two thirds of the disk, the next two thirds of
    /// what that leaves, and so on (dynamic thresholds, Choudhury and Hahne 1998). With 0 neither is minded.
    pub min_free_bytes: u64,
}

/// What one tunnel may hold, where that is other than what [`Limits`] say for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// In place of [`Limits::max_age`].
    pub max_age: Option<Duration>,
    /// In place of [`Limits::max_bytes_per_tunnel`]. One that is lower drops nothing: the tunnel refuses deliveries until its agents have taken enough.
    pub max_bytes: Option<u64>,
}

/// The tunnels that have a share of their own.
pub type Shares = HashMap<TunnelName, Share>;

impl Limits {
    /// The most bytes that a tunnel with this share may hold.
    pub fn bytes_of(&self, share: Option<&Share>) -> u64 {
        share.and_then(|share| share.max_bytes).unwrap_or(self.max_bytes_per_tunnel)
    }

    /// How old what it holds may be.
    pub fn age_of(&self, share: Option<&Share>) -> Duration {
        share.and_then(|share| share.max_age).unwrap_or(self.max_age)
    }
}

impl Default for Limits {
    /// 72 hours (Healthie itself gives up after about three days), 1 GiB for each tunnel, 128 MiB free.
    fn default() -> Limits {
        Limits { max_age: Duration::from_secs(72 * 3600), max_bytes_per_tunnel: 1 << 30, min_free_bytes: 128 << 20 }
    }
}
