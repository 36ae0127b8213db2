//! What the relay has accepted and not every agent has taken yet.
//!
//! A tunnel's deliveries form one stream. Each gets its place ([`Seq`]) when it is durably on the disk, and stays until every device
//! of the tunnel has taken it or it is too old. Each device has its own place in the stream. What is dropped before a device has
//! taken it is counted, and told to that device as a [`Gap`] with its bounds: nothing goes missing silently.
//!
//! [`Spool`] is the promise; [`RedbSpool`] keeps it on one machine. This room knows nothing of HTTP, sockets and frames. Points in
//! time come in as arguments; the only clock here decides when lazy work is written.
//!
//! With a key ([`RedbSpool::open_with`]) deliveries are encrypted; `format` says what stays legible. The data keys lie in `keys.json` beside
//! the spool's file ([`rekey`], [`encrypt`]).

mod anew;
mod batch;
mod bounds;
mod copy;
mod disk;
mod error;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod place;
mod recent;
mod record;
mod redb_spool;
mod rekey;
mod state;
mod writer;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tunnel_delivery::{Delivery, DeviceKey, DeviceName, Timestamp, TunnelName};

pub use copy::{Copied, CopyError, CopySink, MAX_COPY_PART, Restoring, copy_closed, count_part};
pub use error::SpoolError;
pub use place::{
    Counters, DevicePlace, Dropped, Gap, Limits, Place, ReadLimit, Role, Seq, Share, Shares, Start, Stats, Why,
};
pub use redb_spool::RedbSpool;
pub use rekey::{encrypt, rekey};

/// Devices of each role that a tunnel may have.
pub const MAX_DEVICES: usize = 64;

/// The largest delivery, as stored, that can be spooled, in bytes. The relay's own limit on bodies is far lower.
pub const MAX_DELIVERY: usize = 64 << 20;

/// What is still to come of a call. Boxed, so that a relay can have any spool behind one pointer; beside the write to the disk that most calls wait for, the
/// allocation is nothing.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, SpoolError>> + Send + 'a>>;

/// Keeps deliveries until every device of their tunnel has taken them.
///
/// The futures may be dropped at any time: what was asked for may then have been done all the same.
pub trait Spool: Send + Sync + 'static {
    /// Whether the spool is at work at all; for health checks. It does not say that there is room.
    ///
    /// # Errors
    /// `Failed`, for good.
    fn usable(&self) -> Result<(), SpoolError>;

    /// Whether it takes deliveries at all now. Does not touch the disk: want of room is known from the last look, which a delivery is the reason for, and
    /// which is repeated until there is room.
    ///
    /// # Errors
    /// `DiskFull` while every delivery is refused for want of room, which passes by itself; `Failed`, for good.
    fn accepts(&self) -> Result<(), SpoolError> {
        self.usable()
    }

    /// From now on these tunnels have shares of their own, and all others what [`Limits`] say. They are not stored: whoever opens a spool says them anew.
    fn set_shares(&self, shares: Shares);

    /// Adds a delivery to its tunnel's stream. It is durable when this returns its place.
    ///
    /// # Errors
    /// `Busy`, `TunnelFull`, `DiskLow` and `DiskFull` pass by themselves; `TooLarge` does not; after `Failed` nothing is accepted any more. In
    /// every case but a `Failed` in the middle of a commit, the delivery is not in the spool.
    fn append(&self, delivery: Arc<Delivery>) -> Later<'_, Seq>;

    /// What follows `after` if that is known without touching the disk, which for a live agent it mostly is. Nothing means that it
    /// takes a [`Spool::read`]; an empty list, that there is nothing to come yet.
    fn recent(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Option<Vec<(Seq, Arc<Delivery>)>>;

    /// What follows `after`, in order. Blocks on the disk. Where the first is not `after + 1`, what lies between was dropped; the gap
    /// is in [`Spool::devices`].
    ///
    /// # Errors
    /// `Unreadable` where the very next delivery is damaged, `Failed` where storage is.
    fn read(&self, tunnel: &TunnelName, after: Seq, limit: ReadLimit) -> Result<Vec<(Seq, Arc<Delivery>)>, SpoolError>;

    /// The place of a device in its tunnel's stream. A new device is registered durably, at `start`; from then on the tunnel keeps
    /// what it has not taken.
    ///
    /// # Errors
    /// `TooManyDevices`, `Busy`, `Failed`.
    fn join<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place>;

    /// Notes the public key of a device, durably, in place of the one it had. Whether there is such a device.
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    fn set_key<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName, key: DeviceKey) -> Later<'a, bool>;

    /// The place of a device that only watches ([`Role::Watches`]), likewise. A device that takes is never turned into one that watches; one that watches
    /// makes room for one that takes and joins under its name.
    ///
    /// # Errors
    /// `NotAWatcher` where a device that takes has that name; `TooManyDevices`, `Busy`, `Failed`.
    fn watch<'a>(
        &'a self,
        tunnel: &'a TunnelName,
        device: &'a DeviceName,
        start: Start,
        now: Timestamp,
    ) -> Later<'a, Place>;

    /// Notes that a device durably has everything up to and including `upto`. Never waits; it is on the disk some 200 ms later. A
    /// crash before that hands the deliveries over a second time, which the agent recognises by their ids.
    fn taken(&self, tunnel: &TunnelName, device: &DeviceName, upto: Seq);

    /// Removes a device: nothing is kept for it any more. Whether there was one.
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    fn forget<'a>(&'a self, tunnel: &'a TunnelName, device: &'a DeviceName) -> Later<'a, bool>;

    /// Removes everything of a tunnel but the memory of its last place: a later tunnel of that name goes on counting. When this returns nobody can read it
    /// any more; its bytes leave the disk right after that, as with [`Spool::purge`].
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    fn drop_tunnel<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, ()>;

    /// Drops everything that a tunnel has, whoever may still need it, and has its bytes leave the disk as far as the spool's file goes; once begun that goes on by
    /// itself, over a restart too. What comes after it has begun stays. The tunnel, its
    /// devices and its numbers stay; those who miss something find the gap. What was dropped that somebody needed. When this returns nobody can read it any more;
    /// when its bytes have left the file, which takes time with a long one, [`Spool::tidied`] says.
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    fn purge<'a>(&'a self, tunnel: &'a TunnelName) -> Later<'a, Vec<Dropped>>;

    /// Returns once the bytes of all that was removed by [`Spool::drop_tunnel`] and [`Spool::purge`] so far have left the spool's file; at once, and `false`, while
    /// the spool is being copied: its file cannot get shorter then, and they leave it when the copy has ended.
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    fn tidied(&self) -> Later<'_, bool> {
        Box::pin(async { Ok(true) })
    }

    /// The devices of a tunnel.
    ///
    /// # Errors
    /// `Failed`.
    fn devices(&self, tunnel: &TunnelName) -> Result<Vec<DevicePlace>, SpoolError>;

    /// The place of a tunnel's last delivery; 0 before the first.
    fn last(&self, tunnel: &TunnelName) -> Seq;

    /// Figures of a tunnel. Blocks on the disk.
    ///
    /// # Errors
    /// `Failed`.
    fn stats(&self, tunnel: &TunnelName) -> Result<Stats, SpoolError>;

    /// Drops what is too old, and what exceeds a limit that was lowered; tells what some device, or the first one to come, now misses, also of what
    /// was dropped since the last time to make room in a full tunnel. To be called every minute or so.
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    fn expire(&self, now: Timestamp) -> Later<'_, Vec<Dropped>>;

    /// Makes everything noted by [`Spool::taken`] so far durable, and deletes what all have taken (10,000 deliveries or some 32 MiB at most in one
    /// go; the rest follows by itself).
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    fn flush(&self) -> Later<'_, ()>;

    /// What a copy that is begun now would wait for, in words; nothing where it begins at once.
    fn copy_waits_for(&self) -> Option<&'static str> {
        None
    }

    /// Copies the spool as it is at one moment, while it goes on working. Blocks while [`Spool::copy_waits_for`] says so, and then for as long as the taker takes. A spool that is not on a disk cannot be
    /// copied.
    ///
    /// # Errors
    /// [`CopyError`].
    fn copy(&self, to: &mut dyn CopySink) -> Result<Copied, CopyError> {
        let _ = to;
        Err(SpoolError::Failed { reason: Arc::from("it cannot be copied") }.into())
    }
}
