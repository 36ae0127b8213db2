//! What can go wrong with the archive, in variants that a caller can act on. Every message names what was wrong and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use tunnel_delivery::DeliveryId;

/// Why the archive did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Another process, or another handle of this one, has the store open.
    #[error("the archive in {} is in use by {}; stop that one or choose another folder", .dir.display(), holder(.pid))]
    Held {
        /// The archive's folder.
        dir: PathBuf,
        /// The holder's process id, where it could be read.
        pid: Option<u32>,
    },
    /// The store cannot be read: bytes are missing or are not what was written.
    #[error(
        "the archive in {} is damaged ({detail}); `healthie-tunnel store check` says what is wrong, `healthie-tunnel store compact --rescue` \
         saves what is readable into a new one",
        .dir.display()
    )]
    Damaged {
        /// The archive's folder.
        dir: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A newer version of the program wrote this store.
    #[error(
        "the archive in {} has format {found}, this program knows formats up to {known}; use the newer program, or choose another folder",
        .dir.display()
    )]
    Newer {
        /// The archive's folder.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// The key is missing or another one, or the file with the data keys cannot be used.
    #[error("{0}")]
    Key(#[from] tunnel_vault::VaultError),
    /// The operating system refused something while opening or closing.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb: `create`, `lock` …
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// Too little room is left on the disk. Nothing was written; writing goes on by itself once there is room.
    #[error(
        "the disk of {} is nearly full: {free} bytes free, the archive writes only above {needed}; make room and it goes on by itself",
        .dir.display()
    )]
    DiskFull {
        /// The archive's folder.
        dir: PathBuf,
        /// Bytes free now.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// There is no such delivery.
    #[error("there is no delivery {0} in the archive")]
    Unknown(DeliveryId),
    /// Something is longer than the archive stores.
    #[error("{what} has {len} bytes, the archive stores at most {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// More waits to be written than the queue holds. Wait, or use the call that waits.
    #[error("the archive's queue is full; the disk does not keep up")]
    Busy,
    /// The store failed and was stopped. Opened again by a new process, it goes on with everything that was acknowledged.
    #[error("the archive stopped after a storage error ({detail}); check the disk and start the program again")]
    Failed {
        /// What happened first.
        detail: String,
    },
    /// The archive was closed.
    #[error("the archive is closed")]
    Closed,
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
