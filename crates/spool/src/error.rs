//! What may go wrong, by what a caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;

use tunnel_delivery::{DeviceName, TunnelName};

use crate::Seq;

/// An error of the spool.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Too much waits for the next commit. Try again in a moment.
    #[error("the spool's queue is full: the disk is slower than what arrives; try again in a second")]
    Busy,
    /// The tunnel holds as much as it may. Room comes when its agents take deliveries or the oldest expire.
    #[error(
        "tunnel {tunnel} holds {bytes} bytes of at most {limit}: connect its agents, forget those that are gone, or raise the limit"
    )]
    TunnelFull {
        /// Which tunnel.
        tunnel: TunnelName,
        /// What it holds, what is being written included.
        bytes: u64,
        /// [`crate::Limits::max_bytes_per_tunnel`], or its own share.
        limit: u64,
    },
    /// The file system has little room left, and that is for tunnels that hold less.
    #[error(
        "the spool's disk gets full, and tunnel {tunnel} holds {bytes} bytes, where one may hold {part} as long as there is so little room: make room on that disk, or connect the tunnel's agents"
    )]
    DiskLow {
        /// Which tunnel.
        tunnel: TunnelName,
        /// What it holds, what is being written included.
        bytes: u64,
        /// The most that a tunnel may hold while there is so little room.
        part: u64,
    },
    /// The file system is nearly full.
    #[error(
        "only {free} bytes are free where the spool lives and {reserve} are kept in reserve: make room on that disk"
    )]
    DiskFull {
        /// Free bytes when last looked at.
        free: u64,
        /// [`crate::Limits::min_free_bytes`].
        reserve: u64,
    },
    /// One delivery that no amount of waiting makes room for.
    #[error("the delivery takes {bytes} bytes and at most {limit} can be spooled")]
    TooLarge {
        /// The delivery's bytes as stored.
        bytes: u64,
        /// What can be stored.
        limit: u64,
    },
    /// The tunnel has as many devices as it may.
    #[error("tunnel {tunnel} already has {limit} devices: forget those that are gone")]
    TooManyDevices {
        /// Which tunnel.
        tunnel: TunnelName,
        /// [`crate::MAX_DEVICES`].
        limit: usize,
    },
    /// The name is that of a device that deliveries are kept for.
    #[error("device {device} of tunnel {tunnel} has full access: what only watches needs a name of its own")]
    NotAWatcher {
        /// Which tunnel.
        tunnel: TunnelName,
        /// The device.
        device: DeviceName,
    },
    /// Storage failed, now or earlier. Nothing is accepted or read any more; what was acknowledged is on the disk. Open the spool
    /// again in a fresh process.
    #[error("the spool has stopped: {reason}; see to the disk and restart the relay")]
    Failed {
        /// What the storage said.
        reason: Arc<str>,
    },
    /// Another process, or another handle in this one, has the spool open.
    #[error("the spool {} is held by another process: only one relay may use a data folder", path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a whole spool.
    #[error("the spool {} is damaged ({reason}): move it away to start with an empty one, or restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A stored delivery cannot be read back.
    #[error("delivery {seq} of tunnel {tunnel} cannot be read back from the spool: {reason}")]
    Unreadable {
        /// Which tunnel.
        tunnel: TunnelName,
        /// Which delivery.
        seq: Seq,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version wrote the file.
    #[error("the spool {} has format {found} and this version knows {known}: use a newer healthie-relay", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The newest format this version reads.
        known: u64,
    },
    /// The key is missing or another one, or the file with the data keys cannot be used.
    #[error("the spool cannot be opened: {0}")]
    Key(#[from] tunnel_vault::VaultError),
    /// The folder or the file cannot be used.
    #[error("cannot open the spool {}: {reason}", path.display())]
    Open {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl SpoolError {
    /// Whether the same call may succeed later without anybody doing anything: the relay answers 503 with Retry-After.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            SpoolError::Busy | SpoolError::TunnelFull { .. } | SpoolError::DiskLow { .. } | SpoolError::DiskFull { .. }
        )
    }
}
