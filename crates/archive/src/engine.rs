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
//! - a store under construction ([`Kind::Building`]) is not synced until [`Engine::finish`]: nobody relies on it before that.
//!
//! Here too values get what protects them (`seal`, `veil`) and lose it again; and a copy of the store, while one is made, follows every
//! commit ([`Engine::follow`]).

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::keys;
use crate::pending::Kv;
use crate::piece::Piece;
use crate::query::Order;
use crate::seal;
use crate::veil::{Unopened, Veil};

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
const _: () = assert!(17 * (seal::LONGEST + keys::MAX + 32) + 512 < LOG_ENTRY_MAX);
const _: () = assert!(257 * (keys::MAX + 32) + 512 < LOG_ENTRY_MAX);

/// The engine failed, now or earlier; what it said first. `damaged` if the reason lies in the bytes on the disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) detail: String,
    pub(crate) damaged: bool,
}

/// What kind of store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of this format.
    Live,
    /// A new one that is filled and becomes live when it is finished.
    Building,
    /// One of format 1, whose values have no seals.
    Old,
}

/// How many commits of one opening are numbered apart.
const COMMITS_BITS: u32 = 40;

/// An open store.
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    file: File,
    fault: OnceLock<Fault>,
    kind: Kind,
    veil: Veil,
    /// The number of the next commit: greater than any before, also of earlier openings.
    number: AtomicU64,
    follower: Mutex<Option<Follower>>,
}

/// A copy under construction: it has all keys below a limit, and follows their changes.
struct Follower {
    copy: Box<Engine>,
    /// The first key that is not copied yet; `None` when all are.
    next: Option<Vec<u8>>,
    /// How many values were copied, to spread them (see [`Engine::copy_on`]).
    copied: usize,
    /// Why it does not follow any more.
    fault: Option<Fault>,
}

impl Engine {
    /// Opens or creates the store in `dir`, and brings what opening wrote to the disk.
    pub(crate) fn open(dir: &Path, cache_bytes: u64, kind: Kind, veil: &Veil) -> Result<Engine, Fault> {
        let engine = Engine::open_unnumbered(dir, cache_bytes, kind, veil)?;
        if kind != Kind::Old {
            // Counted on the disk before anything else: what is sealed from now on is later than all that is there.
            let opened = match engine.get(keys::OPENED)? {
                Some(bytes) => bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
                None => Some(0),
            };
            let Some(opened) = opened else { return Err(engine.fail("unreadable count of openings".into(), true)) };
            let opened = opened.saturating_add(1);
            engine.number.store(opened << COMMITS_BITS, Ordering::Relaxed);
            if let Ok(piece) = Piece::new(&opened.to_be_bytes()) {
                engine.commit([(keys::OPENED, Some(&piece))].into_iter())?;
            }
        }
        Ok(engine)
    }

    fn open_unnumbered(dir: &Path, cache_bytes: u64, kind: Kind, veil: &Veil) -> Result<Engine, Fault> {
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
            Ok(file) => Ok(Engine {
                db: Some(db),
                file,
                fault: OnceLock::new(),
                kind,
                veil: veil.clone(),
                number: AtomicU64::new(0),
                follower: Mutex::new(None),
            }),
            Err(error) => {
                std::mem::forget(db);
                Err(Fault { detail: format!("cannot sync: {error}"), damaged: false })
            }
        }
    }

    /// Makes these changes together and returns when they are on the disk.
    pub(crate) fn commit<'a>(&self, changes: impl Iterator<Item = (&'a [u8], Option<&'a Piece>)>) -> Result<(), Fault> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let mut followed = sled::Batch::default();
        let mut batch = sled::Batch::default();
        for (key, piece) in changes {
            debug_assert!(key.len() <= keys::MAX);
            let value = match piece {
                None => None,
                Some(piece) if self.kind == Kind::Old => Some(piece.value().clone()),
                // Nothing of the batch is in the store yet, but what cannot be encrypted now could not be later either.
                Some(piece) => Some(
                    self.veil
                        .put_on(key, number, piece.value())
                        .map_err(|e| self.fail(format!("cannot encrypt: {e}"), false))?,
                ),
            };
            if follower.as_ref().is_some_and(|follower| follower.has(key)) {
                match value.clone() {
                    Some(value) => followed.insert(key, value),
                    None => followed.remove(key),
                }
            }
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        if self.kind == Kind::Building {
            return self.run(|db| db.apply_batch(batch));
        }
        self.run(|db| {
            db.apply_batch(batch)?;
            db.flush()?;
            Ok(())
        })?;
        // Nothing may be acknowledged, or written after it, once this has failed: the kernel may have dropped the dirty pages.
        self.file.sync_data().map_err(|error| self.fail(format!("cannot sync the store: {error}"), false))?;
        if let Some(follower) = &mut *follower {
            follower.apply(followed);
        }
        Ok(())
    }

    /// The number that the next commit will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Begins a copy in a folder that is not there yet.
    pub(crate) fn follow(&self, dir: &Path, cache_bytes: u64) -> Result<(), Fault> {
        // It goes on with this store's numbers.
        let copy = Engine::open_unnumbered(dir, cache_bytes, Kind::Building, &self.veil)?;
        let follower = Follower { copy: Box::new(copy), next: Some(Vec::new()), copied: 0, fault: None };
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(follower);
        Ok(())
    }

    /// Copies about this many bytes more. Returns whether all is copied.
    ///
    /// The engine's tree divides a leaf of 17 in the middle, so keys that come in order leave it half empty, and there is something in
    /// memory for each leaf. Three keys of five are set first, which makes leaves of nine, and then the two between: fifteen.
    pub(crate) fn copy_on(&self, bytes: usize) -> Result<bool, Fault> {
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(follower) = &mut *follower else {
            return Err(Fault { detail: "no copy is being made".into(), damaged: false });
        };
        if let Some(fault) = &follower.fault {
            return Err(fault.clone());
        }
        let Some(next) = follower.next.clone() else { return Ok(true) };
        let mut entries: Vec<(Value, Value)> = Vec::new();
        let mut read = 0;
        let mut unopened = None;
        let rest = self.run(|db| {
            for entry in db.range(next..) {
                let (key, value) = entry?;
                read += key.len() + value.len();
                if key.first() != Some(&keys::TOMB) {
                    match self.veil.renew(&key, value) {
                        Ok(value) => entries.push((key.clone(), value)),
                        Err(why) => {
                            unopened = Some(why);
                            return Ok(None);
                        }
                    }
                }
                if read >= bytes {
                    return Ok(Some(keys::successor(&key)));
                }
            }
            Ok(None)
        })?;
        if let Some(why) = unopened {
            return Err(self.unopened(&why));
        }
        for first in [true, false] {
            let numbered = (follower.copied..).zip(&entries);
            let these = numbered.filter(|(n, _)| (n % 5 % 2 == 0) == first).map(|(_, entry)| entry);
            follower.insert(these);
        }
        follower.copied += entries.len();
        follower.next = rest;
        match &follower.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(follower.next.is_none()),
        }
    }

    /// The file of the copy, to be synced beside the writing.
    pub(crate) fn copy_file(&self) -> Option<std::io::Result<File>> {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        follower.as_ref().map(|follower| follower.copy.file.try_clone())
    }

    /// Ends the copy: brings it to the disk and returns it, as live.
    pub(crate) fn take_copy(&self) -> Result<Engine, Fault> {
        let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        match follower {
            Some(Follower { copy, next: None, fault: None, .. }) => {
                copy.number.store(self.next_number(), Ordering::Relaxed);
                copy.finish()
            }
            Some(Follower { fault: Some(fault), .. }) => Err(fault),
            _ => Err(Fault { detail: "the copy is not complete".into(), damaged: false }),
        }
    }

    /// Gives the copy up.
    pub(crate) fn drop_copy(&self) {
        self.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Brings a store under construction to the disk and makes it live.
    pub(crate) fn finish(mut self) -> Result<Engine, Fault> {
        self.run(|db| db.flush().map(|_| ()))?;
        self.file.sync_all().map_err(|error| self.fail(format!("cannot sync the store: {error}"), false))?;
        self.kind = Kind::Live;
        Ok(self)
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

    fn unsealed_entry(&self, entry: Option<(Value, Value)>) -> Result<Option<(Value, Value)>, Fault> {
        match entry {
            Some((key, value)) => self.unsealed(&key, value).map(|value| Some((key, value))),
            None => Ok(None),
        }
    }

    fn unsealed(&self, key: &[u8], value: Value) -> Result<Value, Fault> {
        if self.kind == Kind::Old {
            return Ok(value);
        }
        self.veil.take_off(key, value).map_err(|why| self.unopened(&why))
    }

    fn unopened(&self, why: &Unopened) -> Fault {
        self.fail(why.to_string(), true)
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
    fn veil(&self) -> &Veil {
        &self.veil
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        match self.run(|db| db.get(key))? {
            Some(value) => Ok(Some(self.unsealed(key, value)?)),
            None => Ok(None),
        }
    }

    fn first_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        if low >= high {
            return Ok(None);
        }
        self.unsealed_entry(self.run(|db| db.range(low..high).next().transpose())?)
    }

    fn last_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        if low >= high {
            return Ok(None);
        }
        self.unsealed_entry(self.run(|db| db.range(low..high).next_back().transpose())?)
    }

    /// One walk of the engine's own: it stays on a leaf while there is more in it, where a look for each entry reads the leaf anew.
    fn each_in(
        &self,
        low: &[u8],
        high: &[u8],
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Fault> {
        if low >= high {
            return Ok(());
        }
        let mut unreadable = None;
        self.run(|db| {
            let mut range = db.range(low..high);
            let mut next = || match order {
                Order::NewestFirst => range.next_back(),
                Order::OldestFirst => range.next(),
            };
            while let Some(entry) = next() {
                let (key, value) = entry?;
                match self.unsealed(&key, value) {
                    Ok(value) if each(&key, &value) => {}
                    Ok(_) => break,
                    Err(fault) => {
                        unreadable = Some(fault);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        unreadable.map_or(Ok(()), Err)
    }
}

impl Follower {
    /// Whether changes of this key are its own already.
    fn has(&self, key: &[u8]) -> bool {
        // Marks of removed deliveries are not copied; those that are set meanwhile belong to what was copied.
        key.first() == Some(&keys::TOMB) || self.next.as_ref().is_none_or(|next| key < &next[..])
    }

    /// Sets these one by one: a batch has no order, and need not be one here.
    fn insert<'a>(&mut self, mut entries: impl Iterator<Item = &'a (Value, Value)>) {
        if self.fault.is_none() {
            let set = self.copy.run(|db| entries.try_for_each(|(key, value)| db.insert(key, value).map(|_| ())));
            self.fault = set.err();
        }
    }

    fn apply(&mut self, batch: sled::Batch) {
        if self.fault.is_none() {
            self.fault = self.copy.run(|db| db.apply_batch(batch)).err();
        }
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

/// Brings everything that opening may have created to the disk, for its owner alone: sled's small files, its folders' entries, its log. Returns the log.
fn sync_files(dir: &Path) -> std::io::Result<File> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        tunnel_vault::tighten(&entry.path())?;
        File::open(entry.path())?.sync_all()?;
    }
    tunnel_vault::tighten(dir)?;
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
