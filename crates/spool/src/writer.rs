//! The one thread that writes: it takes all that waits, writes it in one transaction, syncs once, and only then answers.
//!
//! What a batch does to the deliveries and records is in batch.rs; here is when there is one, and what comes after it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::Database;
use tunnel_vault::Vault;

use crate::anew::{Anew, write_anew};
use crate::batch::{Batch, Draft};
use crate::redb_spool::join_runs;
use crate::state::{Order, Shared, State, Tunnel};
use crate::{SpoolError, disk};

/// How long what devices have taken may wait for a commit, so that commits of deliveries can carry it.
const LAZY: Duration = Duration::from_millis(200);
/// How often the disk's free space is looked at while the disk is full, and whether a copy has ended that something waits for.
const LOOK: Duration = Duration::from_millis(250);

/// Which part of the reserve must be free beyond it before a disk that was full counts as having room.
const MARGIN: u64 = 32;

/// The most runs of dropped deliveries that are kept for who asks for them; the tunnels' own figures count all.
const RUNS: usize = 4096;

/// The least time between two compactions: one takes some ten commits' time, and a file that is needed again would only grow again.
const REST: Duration = Duration::from_secs(10);

/// When it is tried again to write the file anew.
const AGAIN: Duration = Duration::from_mins(1);

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    /// Locked by readers too; by itself only for compacting, which must be alone, and for putting another file in its place.
    pub(crate) db: Arc<RwLock<Database>>,
    pub(crate) dir: PathBuf,
    /// What deliveries are encrypted with.
    pub(crate) vault: Option<Arc<Vault>>,
    /// The number that the next new tunnel gets.
    pub(crate) next_id: u32,
    /// Something was removed whose bytes are still in the file's free pages: it met a copy, or the end of the process.
    pub(crate) owed: bool,
}

/// Tells everybody that nobody writes any more, however the thread ends.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() { "its writer panicked" } else { "it was closed" };
        self.0.lock().fail(&Arc::from(reason));
    }
}

/// While the file is laid out anew; whoever wants to copy it is told so.
struct Compacting<'a>(&'a Shared);

impl Compacting<'_> {
    fn begin(shared: &Shared) -> Compacting<'_> {
        shared.compacting.store(true, Ordering::Relaxed);
        Compacting(shared)
    }
}

impl Drop for Compacting<'_> {
    fn drop(&mut self) {
        self.0.compacting.store(false, Ordering::Relaxed);
    }
}

impl Writer {
    /// Writes until the spool is closed or storage fails.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _end = End(&shared);
        self.look_at_disk();
        let mut looked = Instant::now();
        let (mut compacted, mut failed) = (None, None);
        loop {
            let Some(mut batch) = self.wait(looked) else {
                // Whoever copies holds the spool open, so nobody does any more.
                if self.owed
                    && let Err(error) = self.tidy()
                {
                    tracing::warn!(%error, "what was purged may still stand in free pages of the spool's file");
                }
                return;
            };
            // Before every commit: one that meets a disk that somebody else has filled meanwhile stops the spool for good. It takes microseconds,
            // and the commit's sync milliseconds.
            self.look_at_disk();
            looked = Instant::now();
            let (full, bounds) = {
                let state = shared.lock();
                (state.disk_full, state.bounds.clone())
            };
            if let Some(free) = full {
                for append in batch.refuse_appends() {
                    let error = SpoolError::DiskFull { free, reserve: shared.limits.min_free_bytes };
                    drop(append.answer.send(Err(error)));
                }
            }
            let deletes = batch.lazy || full.is_some();
            let mut done = {
                let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
                batch.write(&db, &bounds, self.vault.as_deref(), &mut self.next_id)
            };
            // What is about to be deleted would only be moved about by a compaction, and the next one has to wait.
            let deletes = deletes && (!batch.overdue || full.is_some());
            let asked = std::mem::take(&mut batch.compact);
            let tidied = std::mem::take(&mut batch.tidied);
            let batch = match &done {
                Ok(()) => {
                    self.finish(batch);
                    None
                }
                Err(_) => Some(batch),
            };
            // What could not be done is not tried at every look.
            let again = self.owed && failed.is_none_or(|at: Instant| at.elapsed() >= AGAIN);
            if done.is_ok() && (asked || again) {
                // Behind the answers: what was removed cannot be read any more, and a long file takes its time. While somebody copies the spool the file cannot be
                // compacted at all, and nobody is kept waiting for a copy's end.
                if let Some(_whole) = shared.alone() {
                    done = self.tidy();
                    compacted = Some(Instant::now());
                    failed = self.owed.then(Instant::now);
                } else {
                    if !self.owed {
                        tracing::warn!(
                            "the spool is being copied: what was purged leaves its file when that has ended"
                        );
                    }
                    self.owed = true;
                }
            }
            if done.is_ok() {
                tidied.into_iter().for_each(|answer| drop(answer.send(Ok(!self.owed))));
            }
            let rested = compacted.is_none_or(|at: Instant| at.elapsed() >= REST);
            if done.is_ok()
                && deletes
                && rested
                && disk::is_mostly_empty(&self.dir, shared.live_bytes(), full.is_some())
                && let Some(_whole) = shared.alone()
            {
                compacted = Some(Instant::now());
                done = self.compact();
            }
            if let Err(error) = done {
                tracing::error!(%error, "the spool has stopped: its storage failed");
                shared.lock().fail(&Arc::from(error.to_string()));
                // Only now may those who wait in it find their answer gone: they look up the reason.
                drop(batch);
                return;
            }
        }
    }

    fn compact(&self) -> Result<(), redb::Error> {
        let _compacting = Compacting::begin(&self.shared);
        disk::compact(&mut self.db.write().unwrap_or_else(PoisonError::into_inner), &self.dir)
    }

    /// Has the bytes of what was removed leave the file. Where that cannot be done it is owed still, and told.
    fn tidy(&mut self) -> Result<(), redb::Error> {
        let shared = Arc::clone(&self.shared);
        let _compacting = Compacting::begin(&shared);
        tracing::info!(
            bytes = shared.live_bytes(),
            "the spool's file is written anew, so that nothing of what was removed is left in it; deliveries wait until that is done"
        );
        let room = self.shared.live_bytes().saturating_mul(2).saturating_add(self.shared.limits.min_free_bytes);
        let anew = {
            // This thread alone writes: all that is in the file now is all that there is.
            let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
            write_anew(&db, &self.dir, room)?
        };
        match anew {
            Anew::Done(db) => {
                *self.db.write().unwrap_or_else(PoisonError::into_inner) = db;
                self.owed = false;
            }
            Anew::NotDone(reason) => {
                tracing::warn!(
                    reason,
                    "what was removed still stands in free pages of the spool's file; it is tried again"
                );
                self.owed = true;
            }
        }
        Ok(())
    }

    /// Sleeps until there is something to do; none when the spool is closed and all is written.
    ///
    /// Where a compaction is owed, it also wakes up every now and then for that.
    fn wait(&self, looked: Instant) -> Option<Batch> {
        let mut state = self.shared.lock();
        loop {
            let now = Instant::now();
            let flush = state.closing || state.orders.iter().any(|o| matches!(o, Order::Flush { .. }));
            let lazy_at = state.lazy_since.map(|since| if flush { now } else { since + LAZY });
            let lazy = lazy_at.is_some_and(|at| at <= now);
            if lazy || !state.appends.is_empty() || !state.orders.is_empty() {
                return Some(take(&mut state, lazy));
            }
            if state.closing {
                return None;
            }
            let look_at = (self.owed || state.disk_full.is_some() || state.short_of_room).then(|| looked + LOOK);
            if look_at.is_some_and(|at| at <= now) {
                return Some(take(&mut state, lazy)); // empty: only the disk is looked at, or a copy's end
            }
            state.writer_sleeps = true;
            let alarm = lazy_at.into_iter().chain(look_at).min();
            let wake = &self.shared.wake;
            state = match alarm {
                Some(at) => match wake.wait_timeout(state, at - now) {
                    Ok((state, _)) => state,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.writer_sleeps = false;
        }
    }

    fn look_at_disk(&self) {
        let reserve = self.shared.limits.min_free_bytes;
        // A file system that cannot tell how full it is, is taken to have room: a full one then fails the commit.
        let (free, file) = (disk::free_bytes(&self.dir).ok(), disk::file_len(&self.dir));
        let (before, full) = {
            let mut guard = self.shared.lock();
            let State { disk_full, short_of_room, bounds, tunnels, .. } = &mut *guard;
            *short_of_room = false;
            let live = || tunnels.values().fold(0, |sum: u64, tunnel| sum.saturating_add(tunnel.record.bytes));
            bounds.looked_at_disk(free, file, live);
            // A disk that was full has room again with a little more than that: what comes and goes around the reserve must not turn the spool off and on.
            let wanted = if disk_full.is_some() { reserve.saturating_add(reserve / MARGIN) } else { reserve };
            let full = free.filter(|free| *free < wanted);
            (std::mem::replace(disk_full, full), full)
        };
        match (before, full) {
            (None, Some(free)) => {
                tracing::warn!(free, reserve, "the spool's disk is nearly full: deliveries are refused");
            }
            (Some(_), None) => tracing::info!("the spool's disk has room again"),
            _ => {}
        }
    }

    /// Makes a committed batch visible and answers everybody in it.
    fn finish(&self, batch: Batch) {
        let Batch { drafts, lazy, overdue, answers, dropped, further, committed, .. } = batch;
        let mut appended = 0;
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        join_runs(&mut state.made_room, dropped);
        // Nobody asks for them.
        if state.made_room.len() > RUNS {
            state.made_room.clear();
        }
        for (name, draft) in drafts {
            let Draft { mut record, fresh, touched, written, queued, .. } = draft;
            if let Some(tunnel) = state.tunnels.get_mut(&name) {
                tunnel.queued = tunnel.queued.saturating_sub(queued);
            }
            if !touched {
                continue;
            }
            let tunnel = state.tunnels.entry(name.clone()).or_insert_with(|| Tunnel::new(record.clone()));
            // Devices may have gone on while the batch was written.
            let mut moved = false;
            for device in tunnel.record.devices.iter().filter(|d| !fresh.contains(&d.name)) {
                moved |= record.taken(&device.name, device.after);
                moved |= record.came(&device.name, device.joined);
            }
            tunnel.record = record;
            let was_lazy = tunnel.lazy;
            tunnel.lazy = moved || tunnel.record.needed_from() > tunnel.record.first || (was_lazy && !lazy);
            if tunnel.lazy && (lazy || !was_lazy) {
                state.lazy.push(name);
            }
            appended += written.len() as u64;
            let record = &tunnel.record;
            if record.devices.is_empty() {
                // Nobody is there to read it, and what is kept must end with the last delivery.
                state.recent.forget_upto(record.id, record.last());
                continue;
            }
            for (seq, delivery, bytes) in written {
                state.recent.push(record.id, seq, delivery, bytes);
            }
            state.recent.forget_upto(record.id, record.needed_from().prev());
        }
        // One that is closed is not kept open by it: the next one goes on.
        if !state.closing {
            state.orders.extend(further);
        }
        if lazy {
            state.lazy_since = None;
        }
        if !state.lazy.is_empty() && state.lazy_since.is_none() {
            let now = Instant::now();
            state.lazy_since = if overdue { now.checked_sub(LAZY) } else { None }.or(Some(now));
        }
        drop(guard);
        self.shared.appended.fetch_add(appended, Ordering::Relaxed);
        self.shared.commits.fetch_add(u64::from(committed), Ordering::Relaxed);
        for answer in answers {
            answer.send();
        }
    }
}

/// Takes the queue, and copies of the records that it may change.
fn take(state: &mut State, lazy: bool) -> Batch {
    let (appends, orders) = state.take_queue();
    let lazy_names = if lazy { std::mem::take(&mut state.lazy) } else { Vec::new() };
    let mut batch = Batch::new(appends, orders, lazy);
    for (name, queued) in batch.names(lazy_names, &state.tunnels) {
        let known = state.tunnels.get(&name).map(|tunnel| tunnel.record.clone());
        batch.draft(name, known, queued);
    }
    batch
}
