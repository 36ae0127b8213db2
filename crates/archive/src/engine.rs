//! The storage engine, sled, and the recipe that makes it keep its promises. No other file names it.
//!
//! What was found about sled 0.34.7 (which is why the version is pinned): its `flush` writes the log with `sync_file_range` only,
//! which leaves the file's length and extents to the page cache, so that after a power cut the store cannot even be read; values
//! that do not fit its log go to files that are never synced; it hangs on a full disk; and it panics on a damaged store. So here:
//!
//! - [`Engine::commit`] is one atomic batch, `flush`, and then `sync_data` on sled's own file. A batch is well below one segment, so
//!   that whatever makes a segment free to be written over is itself on the disk before that happens.
//! - only [`Piece`]s can be written, and the sizes are chosen so that a leaf of sled's tree never outgrows its log (checked below).
//! - every call runs inside `catch_unwind`. After the first failure the engine answers nothing but [`Fault`], and the handle is
//!   leaked rather than dropped, because sled flushes (and may hang) when it is dropped.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::keys;
use crate::pending::Kv;
use crate::piece::Piece;

/// A stored value, shared and cheap to clone.
pub(crate) type Value = sled::IVec;

/// The unit in which sled's log grows. Written into the store; it cannot be changed for an existing one.
pub(crate) const SEGMENT: usize = 512 * 1024;

/// At this weight a batch is committed before more comes into it. Sled writes a leaf anew after ten changes, so the log grows by up to
/// four times the weight: less than one segment, which is the least distance between a page's new place and the reuse of its old one.
pub(crate) const BATCH_FULL: usize = 96 * 1024;

/// What sled keeps in its log: a quarter of a segment less two headers (`pagecache/constants.rs`, `logger.rs`).
const LOG_ENTRY_MAX: usize = SEGMENT / 4 - 20 - 32;

/// A leaf is split above 16 values, an index node above 256 children (`node.rs`); each may hold one more before that. 32 bytes a
/// value and 512 a node are more than sled adds.
const _: () = assert!(17 * (Piece::MAX + keys::MAX + 32) + 512 < LOG_ENTRY_MAX);
const _: () = assert!(257 * (keys::MAX + 32) + 512 < LOG_ENTRY_MAX);

/// The engine failed, now or earlier; what it said first. `damaged` if the reason lies in the bytes on the disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) detail: String,
    pub(crate) damaged: bool,
}

/// An open store.
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    file: File,
    fault: OnceLock<Fault>,
}

impl Engine {
    /// Opens or creates the store in `dir`, and brings what opening wrote to the disk.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Engine, Fault> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes.max(64 * 1024))
            .segment_size(SEGMENT)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(None);
        let deadline = Instant::now() + Duration::from_secs(5);
        let db = loop {
            match protected(|| config.open()) {
                // Our own lock is held, so this is an earlier handle of this process whose threads are about to let go.
                Err(fault) if fault.detail.contains("could not acquire lock") && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(fault) => return Err(fault),
                Ok(db) => break db,
            }
        };
        let synced = sync_files(dir);
        match synced {
            Ok(file) => Ok(Engine { db: Some(db), file, fault: OnceLock::new() }),
            Err(error) => {
                std::mem::forget(db);
                Err(Fault { detail: format!("cannot sync: {error}"), damaged: false })
            }
        }
    }

    /// Makes these changes together and returns when they are on the disk.
    pub(crate) fn commit<'a>(&self, changes: impl Iterator<Item = (&'a [u8], Option<&'a Piece>)>) -> Result<(), Fault> {
        let mut batch = sled::Batch::default();
        for (key, piece) in changes {
            debug_assert!(key.len() <= keys::MAX);
            match piece {
                Some(piece) => batch.insert(key, piece.value()),
                None => batch.remove(key),
            }
        }
        self.run(|db| {
            db.apply_batch(batch)?;
            db.flush()?;
            Ok(())
        })?;
        // Nothing may be acknowledged, or written after it, once this has failed: the kernel may have dropped the dirty pages.
        self.file.sync_data().map_err(|error| self.fail(format!("cannot sync the store: {error}"), false))
    }

    /// The first failure, if there was one.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get().cloned()
    }

    /// Stops the engine for a reason found elsewhere, for example a record that cannot be decoded.
    pub(crate) fn fail(&self, detail: String, damaged: bool) -> Fault {
        self.fault.get_or_init(|| Fault { detail, damaged }).clone()
    }

    /// The length of the store's file in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |m| m.len())
    }

    fn run<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Fault> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let Some(db) = &self.db else {
            return Err(Fault { detail: "closed".into(), damaged: false });
        };
        protected(|| call(db)).map_err(|fault| self.fail(fault.detail, fault.damaged))
    }
}

impl Kv for Engine {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        self.run(|db| db.get(key))
    }

    fn first_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        if low >= high {
            return Ok(None);
        }
        self.run(|db| db.range(low..high).next().transpose())
    }

    fn last_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        if low >= high {
            return Ok(None);
        }
        self.run(|db| db.range(low..high).next_back().transpose())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            if self.fault.get().is_some() {
                std::mem::forget(db);
            } else {
                drop(catch_unwind(AssertUnwindSafe(|| drop(db))));
            }
        }
    }
}

/// Brings everything that opening may have created to the disk: sled's small files, its folders' entries, its log. Returns the log.
fn sync_files(dir: &Path) -> std::io::Result<File> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        File::open(entry.path())?.sync_all()?;
    }
    File::open(dir)?.sync_all()?;
    let log = File::options().read(true).write(true).open(dir.join("db"))?;
    log.sync_all()?;
    Ok(log)
}

fn protected<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            // Reading past the end of a file that was cut short is damage too.
            let damaged = match &error {
                sled::Error::Io(io) => io.kind() == std::io::ErrorKind::UnexpectedEof,
                _ => true,
            };
            Err(Fault { detail: error.to_string(), damaged })
        }
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no reason given");
            let detail: String = said.chars().take(300).collect();
            Err(Fault { detail: format!("the storage engine gave up: {detail}"), damaged: true })
        }
    }
}
