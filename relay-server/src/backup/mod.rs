//! Backups of the data folder: one file, made while the relay runs, and a folder made from it again.
//!
//! The file is a tar archive, compressed with zstd. In it: `backup.json` (what it is), `data/…` (every small file of the data folder: tunnels and tokens, ACME account
//! and certificates, audit log, keys of the spool), `spool/N` (the spool at one moment, in parts) and last `manifest.json`, with the length
//! and SHA-256 of each entry before it. A backup without its manifest is none.
//!
//! What is left out, on purpose: the stream's name (`spool/stream-id`), so that a restored spool is another stream to agents, which then ask from where
//! the backup stood and know what they have by its id; sockets, locks, and addresses, which belong to a process.
//!
//! `write` makes it, `read` reads it and believes nothing, `restore` makes the folder. None of them knows who asked.

mod read;
mod restore;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tunnel_delivery::Timestamp;
use tunnel_spool::CopyError;

pub(crate) use read::verify;
pub(crate) use restore::restore;
pub(crate) use write::write;

/// What a restore works in, inside the new data folder. While it is there the folder is not whole.
pub(crate) const UNFINISHED: &str = "restore.part";

/// The version of the archive's form.
const VERSION: u32 = 1;
/// The first entry.
const ABOUT: &str = "backup.json";
/// The last entry.
const MANIFEST: &str = "manifest.json";
/// Instead of the last entry, where it broke off: why.
const BROKEN: &str = "broken.txt";
/// Before the names of the data folder's files.
const DATA: &str = "data/";
/// Before the numbers of the spool's parts.
const SPOOL: &str = "spool/";

/// The longest file of the data folder besides the spool, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// The most files of the data folder.
const MAX_FILES: usize = 10_000;
/// The longest manifest and the longest `backup.json`, in bytes: some hundred for each of as many entries as there may be.
const MAX_MANIFEST: u64 = 256 << 20;

/// What the first entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The version of the form.
    pub(crate) version: u32,
    /// When it was begun.
    pub(crate) made_at: Timestamp,
    /// The program that made it.
    pub(crate) program: String,
}

/// What the last entry says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// All entries before it, in order.
    entries: Vec<Listed>,
    /// How many deliveries the spool holds.
    deliveries: u64,
}

/// An entry as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Held {
    /// When it was begun.
    pub(crate) made_at: Timestamp,
    /// Files of the data folder.
    pub(crate) files: u64,
    /// Deliveries in the spool.
    pub(crate) deliveries: u64,
    /// Bytes, before compression.
    pub(crate) bytes: u64,
}

/// Why there is no backup, or no folder from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// A file or folder is not accessible.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// It cannot be written to where it is to go, or read from there.
    #[error("the backup cannot be {doing}: {source}")]
    Stream { doing: &'static str, source: std::io::Error },
    /// The spool cannot be copied or made.
    #[error(transparent)]
    Spool(#[from] CopyError),
    /// It is not what a relay wrote.
    #[error("this is not a whole backup: {0}")]
    NotWhole(String),
    /// A newer program wrote it.
    #[error(
        "the backup was written by a newer version (form {found}, this version knows {VERSION}); update healthie-relay"
    )]
    TooNew { found: u32 },
    /// The folder is not to be written into.
    #[error("{}: {why}", path.display())]
    Folder { path: PathBuf, why: String },
    /// Whoever made it could not end it.
    #[error("the relay could not end the backup: {0}")]
    Broken(String),
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
