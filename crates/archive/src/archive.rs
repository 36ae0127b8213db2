//! The handle: what the rest of the agent sees of the archive.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tunnel_delivery::{Attempt, DeliveryId, Stored, Summary, Timestamp};
use tunnel_vault::UserKey;

use crate::check;
use crate::compact::Compacted;
use crate::engine::{Engine, Fault, Kind, Value};
use crate::error::ArchiveError;
use crate::folder::Folder;
use crate::keep::{Keep, Removed, Spare, Trimmed};
use crate::ledger::{Counters, Inserted, Intake};
use crate::pending::Kv;
use crate::query::{Page, Query};
use crate::queue::{Haste, Queue, Work};
use crate::reader::{self, ReadError};
use crate::report::{Progress, Report};
use crate::slot::Slot;
use crate::space::Space;
use crate::veil::Veil;
use crate::{migrate, pending, writer};

/// How the archive is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// About how much memory the storage engine may use to keep pages at hand, in bytes.
    pub cache_bytes: u64,
    /// The size of the reserve file, which is given up to finish what has begun when the disk fills up; 0 for none.
    pub reserve_bytes: u64,
    /// Nothing new is written while fewer bytes than this are free.
    pub min_free_bytes: u64,
    /// The key that the archive is encrypted with, or is to be from now on.
    pub key: Option<UserKey>,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 2 << 20, reserve_bytes: 8 << 20, min_free_bytes: 64 << 20, key: None }
    }
}

/// A file shorter than this is not worth a compaction of its own accord.
const WORTH_IT: u64 = 16 << 20;

/// Figures about the whole archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// How many deliveries are stored.
    pub deliveries: u64,
    /// How many attempts are stored.
    pub attempts: u64,
    /// The length of all stored bodies together, in bytes.
    pub body_bytes: u64,
    /// The encoded length of all records together (lines, requests, attempts, notes), in bytes; what [`Keep::bytes`] limits.
    pub record_bytes: u64,
    /// The length of the store's file, in bytes.
    pub disk_bytes: u64,
}

/// The archive, open. Clones share it; it is closed by [`Archive::close`] or when the last clone is dropped.
///
/// The async functions return when what they did is on the disk. If one is dropped before it returns, its work may still be done.
/// The others read, and block while they do.
#[derive(Clone)]
pub struct Archive {
    handle: Arc<Handle>,
}

/// Ends the writer when the last clone goes.
struct Handle {
    shared: Arc<Shared>,
}

/// What the handles and the writer share.
pub(crate) struct Shared {
    pub(crate) engine: Slot,
    pub(crate) queue: Queue,
    pub(crate) counters: Mutex<Counters>,
    /// How large the file was after the last compaction of this process, in thousandths of what was expected: where that was too little, it
    /// must not be expected again and again.
    pub(crate) compacted: AtomicU64,
    pub(crate) cache_bytes: u64,
    pub(crate) veil: Veil,
    dir: PathBuf,
    ended: (Mutex<bool>, Condvar),
}

impl Archive {
    /// Opens the archive in this folder, or creates it. Blocks; opening again after a kill reads what was written since the last open.
    ///
    /// # Errors
    /// [`ArchiveError::Held`] if somebody has it open, [`ArchiveError::Key`] if it has another key, [`ArchiveError::Damaged`] if it cannot be read, [`ArchiveError::Newer`] if a
    /// newer program wrote it, [`ArchiveError::DiskFull`], [`ArchiveError::Io`].
    pub fn open(dir: &Path, options: Options) -> Result<Archive, ArchiveError> {
        let mut folder = Folder::open(dir)?;
        let veil = folder.veil(options.key.as_ref())?;
        let space = Space::new(dir, options.reserve_bytes, options.min_free_bytes);
        // Opening writes too: the end of a torn segment, a table of pages.
        space.make_room(space.look(), 1 << 20);
        Space::new(dir, 0, 0).check(space.look(), 1 << 20)?;
        if folder.is_old() {
            folder.tidy()?;
            migrate::migrate(&mut folder, &space, options.cache_bytes, &veil)?;
        }
        let opened = Engine::open(&folder.store(), options.cache_bytes, Kind::Live, &veil).and_then(|engine| {
            let swept = pending::sweep(&engine)?;
            if swept > 0 {
                tracing::info!(swept, "removed what was being written when the program ended");
            }
            let counters = Counters::load(&engine)?;
            Ok((engine, counters))
        });
        let (engine, counters) = opened.map_err(|fault| match fault.damaged {
            true => folder.damaged(fault.detail),
            false => ArchiveError::Failed { detail: fault.detail },
        })?;
        folder.check_closed(&counters)?;
        folder.remove_closed()?;
        // Nothing that needs the newer number was written yet.
        folder.renew()?;
        for aside in folder.tidy()? {
            tracing::info!(aside = %aside.display(), "put what was damaged aside");
        }
        space.lay_up(space.look());
        let shared = Arc::new(Shared {
            engine: Slot::new(engine),
            queue: Queue::new(),
            counters: Mutex::new(counters),
            compacted: AtomicU64::new(0),
            cache_bytes: options.cache_bytes,
            veil,
            dir: dir.to_owned(),
            ended: (Mutex::new(false), Condvar::new()),
        });
        let writers = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("archive".into())
            .spawn(move || writer::run(&writers, folder, &space))
            .map_err(crate::folder::io("start the writer of", dir))?;
        Ok(Archive { handle: Arc::new(Handle { shared }) })
    }

    /// Stores a delivery. Returns when it is on the disk.
    ///
    /// # Errors
    /// [`ArchiveError::DiskFull`], [`ArchiveError::TooLarge`]; [`ArchiveError::Failed`] and [`ArchiveError::Closed`] for good.
    pub async fn insert(&self, intake: Intake) -> Result<Inserted, ArchiveError> {
        self.ask(|reply| Work::Insert(Box::new(intake), reply)).await
    }

    /// Stores an attempt at a delivery and returns its number, from 1, when it is on the disk.
    ///
    /// # Errors
    /// [`ArchiveError::Unknown`] besides those of [`Archive::insert`].
    pub async fn record(&self, id: DeliveryId, attempt: Attempt) -> Result<u32, ArchiveError> {
        self.ask(|reply| Work::Record(id, Box::new(attempt), Haste::Now, Some(reply))).await
    }

    /// As [`Archive::record`], but in no haste: it goes with whatever is committed next, within some 10 ms. For attempts whose answer
    /// is given already; a commit of their own would only take time from deliveries that wait for theirs.
    ///
    /// # Errors
    /// As [`Archive::record`].
    pub async fn record_with_next(&self, id: DeliveryId, attempt: Attempt) -> Result<u32, ArchiveError> {
        self.ask(|reply| Work::Record(id, Box::new(attempt), Haste::Soon, Some(reply))).await
    }

    /// Stores an attempt with the next batch, within some 10 ms when the disk keeps up, and does not wait for it. If it cannot be
    /// stored then, a warning is logged.
    ///
    /// # Errors
    /// [`ArchiveError::Busy`] if the queue is full; [`ArchiveError::Failed`], [`ArchiveError::Closed`].
    pub fn record_soon(&self, id: DeliveryId, attempt: Attempt) -> Result<(), ArchiveError> {
        self.shared().queue.try_push(Work::Record(id, Box::new(attempt), Haste::Soon, None))
    }

    /// Pins a delivery, so that it is kept whatever its age, or lets it go.
    ///
    /// # Errors
    /// As [`Archive::record`].
    pub async fn set_pinned(&self, id: DeliveryId, pinned: bool) -> Result<(), ArchiveError> {
        self.ask(|reply| Work::SetPinned(id, pinned, reply)).await
    }

    /// Writes a note about a delivery in place of the one it has, or removes it. At most 64 KiB.
    ///
    /// # Errors
    /// As [`Archive::record`].
    pub async fn set_note(&self, id: DeliveryId, note: Option<String>) -> Result<(), ArchiveError> {
        self.ask(|reply| Work::SetNote(id, note, reply)).await
    }

    /// Removes what the limits do not keep, oldest first. What is written meanwhile is held up by a few milliseconds at a time. Removing gives no disk space back:
    /// the room is used again for what comes, and [`Archive::compact`] shrinks the file.
    ///
    /// # Errors
    /// [`ArchiveError::DiskFull`] if there is not even room to note the removals (what was removed until then stays removed),
    /// [`ArchiveError::Failed`], [`ArchiveError::Closed`].
    pub async fn retain(&self, keep: &Keep, now: Timestamp) -> Result<Trimmed, ArchiveError> {
        let keep = *keep;
        if keep.is_everything() {
            return Ok(Trimmed::default());
        }
        self.ask(|reply| Work::Retain(keep, now, reply)).await
    }

    /// Removes these deliveries and everything that belongs to them, pinned ones too. Ids that are not there are passed over. Returns
    /// how many were removed.
    ///
    /// # Errors
    /// As [`Archive::retain`].
    pub async fn remove(&self, ids: Vec<DeliveryId>) -> Result<u64, ArchiveError> {
        Ok(self.remove_sparing(ids, Spare::default()).await?.removed)
    }

    /// As [`Archive::remove`], but passes over what is to be spared, as it is when its turn comes.
    ///
    /// # Errors
    /// As [`Archive::retain`].
    pub async fn remove_sparing(&self, ids: Vec<DeliveryId>, spare: Spare) -> Result<Removed, ArchiveError> {
        self.ask(|reply| Work::Remove(ids, spare, reply)).await
    }

    /// Copies what is live into a new store and removes the old one, so that the disk gets back what is not used. Everything else
    /// goes on meanwhile. Ended half way, it leaves the old store as it is. A second call waits for the first one and returns the same.
    ///
    /// # Errors
    /// [`ArchiveError::DiskFull`] if there is no room for the copy; [`ArchiveError::Io`]; [`ArchiveError::Failed`] if the copy
    /// failed, which does no harm to the store; [`ArchiveError::Closed`].
    pub async fn compact(&self) -> Result<Compacted, ArchiveError> {
        self.ask(Work::Compact).await
    }

    /// Whether most of the file is not used and it is large enough for that to matter. Cheap.
    pub fn wants_compaction(&self) -> bool {
        let disk = self.stats().disk_bytes;
        disk >= WORTH_IT
            && disk / 3 > self.shared().live_bytes() / 1000 * self.shared().compacted.load(Ordering::Relaxed).max(1000)
    }

    /// Reads everything there is and reports what is wrong, while writing goes on. Blocks, for seconds to minutes.
    ///
    /// # Errors
    /// [`ArchiveError::Closed`]. That the store cannot be read is part of the report.
    pub fn check(&self, progress: impl FnMut(Progress)) -> Result<Report, ArchiveError> {
        let shared = self.shared();
        let mut progress = progress;
        let mut report = Report::default();
        if shared.engine.using(|engine| engine.is_none()) {
            return Err(shared.queue.ended());
        }
        if let Err(fault) = check::live(&Live(shared), &mut progress, &mut report) {
            report.unreadable = Some(fault.detail);
        }
        Ok(report)
    }

    /// The delivery with this id and everything that belongs to it. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`], [`ArchiveError::Failed`], [`ArchiveError::Closed`].
    pub fn get(&self, id: DeliveryId) -> Result<Option<Stored>, ArchiveError> {
        self.read(|engine| reader::stored(engine, id))
    }

    /// The delivery with this id without its attempts, which need not be read however many there are, and its line in a list. Blocks.
    ///
    /// # Errors
    /// As [`Archive::get`].
    pub fn without_attempts(&self, id: DeliveryId) -> Result<Option<(Stored, Summary)>, ArchiveError> {
        self.read(|engine| reader::without_attempts(engine, id))
    }

    /// A page of a list. Blocks. What is stored or changes while a list is read may or may not be in it.
    ///
    /// # Errors
    /// As [`Archive::get`].
    pub fn list(&self, query: &Query) -> Result<Page, ArchiveError> {
        self.read(|engine| reader::list(engine, query))
    }

    /// Up to ten ids that a person may mean: `latest`, an id, or the beginning or end of one (the latest 100,000 are compared with
    /// an end). Empty if there is none, or if the text is no such thing. Blocks.
    ///
    /// # Errors
    /// As [`Archive::get`].
    pub fn find(&self, text: &str) -> Result<Vec<DeliveryId>, ArchiveError> {
        self.read(|engine| reader::find(engine, text, 10, 100_000))
    }

    /// Figures about the whole archive. Cheap.
    pub fn stats(&self) -> Stats {
        let c = *self.shared().counters.lock().unwrap_or_else(PoisonError::into_inner);
        let disk_bytes = self.shared().engine.using(|engine| engine.map_or(0, Engine::disk_bytes));
        Stats {
            deliveries: c.deliveries,
            attempts: c.attempts,
            body_bytes: c.body_bytes,
            record_bytes: c.record_bytes,
            disk_bytes,
        }
    }

    /// Takes nothing more, writes what waits, closes the store and lets the folder go. Other clones get [`ArchiveError::Closed`].
    ///
    /// # Errors
    /// [`ArchiveError::Failed`] if the store had failed.
    pub async fn close(self) -> Result<(), ArchiveError> {
        self.shared().queue.end(ArchiveError::Closed);
        let shared = Arc::clone(self.shared());
        // The only way for this to fail is that the runtime ends, and then nobody waits.
        let _ = tokio::task::spawn_blocking(move || shared.wait_ended(Duration::from_secs(60))).await;
        match self.shared().queue.ended() {
            ArchiveError::Closed => Ok(()),
            error => Err(error),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    async fn ask<T>(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<T, ArchiveError>>) -> Work,
    ) -> Result<T, ArchiveError> {
        let (reply, answer) = oneshot::channel();
        self.shared().queue.push(work(reply)).await?;
        match answer.await {
            Ok(answer) => answer,
            // The writer ended without an answer.
            Err(_) => Err(self.shared().queue.ended()),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Engine) -> Result<T, ReadError>) -> Result<T, ArchiveError> {
        let shared = self.shared();
        let Some(done) = shared.engine.using(|engine| engine.map(read)) else { return Err(shared.queue.ended()) };
        let damaged = |detail: String| ArchiveError::Damaged { dir: shared.dir.clone(), detail };
        done.map_err(|error| match error {
            ReadError::Fault(fault) if fault.damaged => damaged(fault.detail),
            ReadError::Fault(fault) => ArchiveError::Failed { detail: fault.detail },
            ReadError::Unreadable(what) => damaged(format!("unreadable {}", what.0)),
        })
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("dir", &self.shared().dir).finish_non_exhaustive()
    }
}

/// The store, whichever it is at each look: what reads for long must not keep others from it.
struct Live<'a>(&'a Shared);

impl Live<'_> {
    fn with<T>(&self, read: impl FnOnce(&Engine) -> Result<T, Fault>) -> Result<T, Fault> {
        self.0.engine.using(|engine| match engine {
            Some(engine) => read(engine),
            None => Err(Fault { detail: "the archive was closed".into(), damaged: false }),
        })
    }
}

impl Kv for Live<'_> {
    fn veil(&self) -> &Veil {
        &self.0.veil
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        self.with(|engine| engine.get(key))
    }

    fn first_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        self.with(|engine| engine.first_in(low, high))
    }

    fn last_in(&self, low: &[u8], high: &[u8]) -> Result<Option<(Value, Value)>, Fault> {
        self.with(|engine| engine.last_in(low, high))
    }
}

impl Shared {
    /// About how long the file of a compacted store would be.
    pub(crate) fn live_bytes(&self) -> u64 {
        let c = *self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        (c.record_bytes / 2 * 3).saturating_add(c.deliveries.saturating_mul(680)).saturating_add(2 << 20)
    }

    pub(crate) fn set_ended(&self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
    }

    fn wait_ended(&self, limit: Duration) {
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.ended.1.wait_timeout_while(ended, limit, |ended| !*ended);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.end(ArchiveError::Closed);
        // The folder is free when this returns. A store that hangs must not take its owner with it.
        self.shared.wait_ended(Duration::from_secs(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long list is being read while a compaction changes over.
    #[tokio::test]
    async fn nobody_waits_for_who_reads_but_who_closes() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { reserve_bytes: 0, min_free_bytes: 1 << 20, ..Options::default() };
        let archive = Archive::open(dir.path(), options).unwrap();
        let (reading, began) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let reader = archive.clone();
        let read = std::thread::spawn(move || {
            reader.read(|engine| {
                reading.send(()).unwrap();
                let _ = ended.recv();
                Ok(engine.disk_bytes())
            })
        });
        began.recv().unwrap();
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, archive.compact()).await.expect("the compaction waits for the reader").unwrap();
        assert!(archive.stats().disk_bytes > 0);
        let unknown = DeliveryId::from_bytes([1; 16]);
        let pinned = tokio::time::timeout(limit, archive.set_pinned(unknown, true)).await.expect("a write waits");
        assert!(matches!(pinned, Err(ArchiveError::Unknown(_))));
        // What it reads stays until it has done.
        assert!(dir.path().join("store").exists());
        end.send(()).unwrap();
        assert!(read.join().unwrap().unwrap() > 0);
        archive.close().await.unwrap();
        assert!(!dir.path().join("store").exists());
    }
}
