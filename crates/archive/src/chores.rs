//! What the writer does between batches: retention, removals, what they leave behind, compaction when there is nothing of those, and sketching
//! when there is nothing at all. One slice at a time, in turn.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tunnel_delivery::{DeliveryId, Timestamp};

use crate::archive::Shared;
use crate::compact::{Compacted, Compaction, Step};
use crate::engine::{Engine, Fault};
use crate::erase;
use crate::error::ArchiveError;
use crate::folder::{self, Folder};
use crate::keep::{Keep, Removed, Spare, Trimmed};
use crate::ledger::Ledger;
use crate::pending::Kv as _;
use crate::queue::Reply;
use crate::reindex;
use crate::sketching::Sketching;
use crate::slot;
use crate::space::Space;
use crate::trim::{Removal, Trim};

enum Chore {
    Trim(Trim, Reply<Trimmed>),
    Remove(Removal, Reply<Removed>),
    /// Pieces whose owner is gone.
    Sweep,
    /// Index entries that were written before a key came or went.
    Reindex,
    Compact(Box<Compaction>),
}

/// Everything that is under way.
#[derive(Default)]
pub(crate) struct Chores {
    line: VecDeque<Chore>,
    pause: Duration,
    /// What is done when there is nothing else.
    pub(crate) sketching: Sketching,
    /// Old stores on their way out.
    leaving: Vec<JoinHandle<()>>,
}

impl Chores {
    /// How long the writer may wait for something else to do; `None` if it may wait for good.
    pub(crate) fn pause(&self) -> Option<Duration> {
        (!self.line.is_empty()).then_some(self.pause)
    }

    pub(crate) fn retain(&mut self, keep: Keep, now: Timestamp, reply: Reply<Trimmed>) {
        self.line.push_back(Chore::Trim(Trim::new(keep, now), reply));
    }

    pub(crate) fn remove(&mut self, ids: Vec<DeliveryId>, spare: Spare, reply: Reply<Removed>) {
        self.line.push_back(Chore::Remove(Removal::new(ids, spare), reply));
    }

    /// Begins a compaction, or waits for the one that is under way; where that has copied what was removed since, another one follows it.
    pub(crate) fn compact(
        &mut self,
        engine: &Engine,
        folder: &Folder,
        shared: &Shared,
        space: &Space,
        reply: Reply<Compacted>,
    ) {
        for chore in &mut self.line {
            if let Chore::Compact(compaction) = chore {
                match compaction.stale {
                    false => compaction.replies.push(reply),
                    true => compaction.again.push(reply),
                }
                return;
            }
        }
        if engine.veil().vault().is_some() {
            // It is done before the copy is begun with.
            self.line.push_back(Chore::Reindex);
        }
        let live = shared.live_bytes().min(engine.disk_bytes());
        match Compaction::begin(engine, folder, space, live, shared.cache_bytes) {
            Ok(mut compaction) => {
                compaction.replies.push(reply);
                self.line.push_back(Chore::Compact(Box::new(compaction)));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// One slice of the chore whose turn it is. A fault is the store's and ends everything.
    pub(crate) fn run(&mut self, shared: &Shared, folder: &mut Folder, space: &Space) -> Result<(), Fault> {
        self.pause = Duration::ZERO;
        if self.line.is_empty() {
            return with_engine(shared, |engine| self.sketching.slice(engine, space));
        }
        // What removes goes first: what it leaves need not be copied.
        let next = self.line.iter().position(|chore| !matches!(chore, Chore::Compact(_))).unwrap_or(0);
        let Some(chore) = self.line.remove(next) else { return Ok(()) };
        let chore = match chore {
            Chore::Compact(compaction) => self.compact_on(compaction, shared, folder, space)?,
            other => with_engine(shared, |engine| self.write_on(other, engine, shared, space))?,
        };
        self.line.extend(chore);
        Ok(())
    }

    fn write_on(
        &mut self,
        mut chore: Chore,
        engine: &Engine,
        shared: &Shared,
        space: &Space,
    ) -> Result<Option<Chore>, Fault> {
        // What removes may use what is kept free for what has begun: it is the way to more room.
        if let Err(full) = space.check_bare() {
            match chore {
                Chore::Trim(_, reply) => drop(reply.send(Err(full))),
                Chore::Remove(_, reply) => drop(reply.send(Err(full))),
                // The next open does it.
                _ => {}
            }
            return Ok(None);
        }
        let counters = *shared.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ledger = Ledger::new(engine, counters);
        let ended = match &mut chore {
            Chore::Trim(trim, _) => trim.slice(&mut ledger)?,
            Chore::Remove(removal, _) => removal.slice(&mut ledger)?,
            Chore::Reindex => reindex::slice(&mut ledger.batch)?,
            Chore::Sweep | Chore::Compact(_) => !erase::sweep_some(&mut ledger.batch)?,
        };
        ledger.batch.commit()?;
        for other in &mut self.line {
            if let Chore::Compact(compaction) = other {
                compaction.stale |= compaction.begun;
            }
        }
        *shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = ledger.counters;
        if !ended {
            return Ok(Some(chore));
        }
        if !matches!(chore, Chore::Reindex) {
            self.sketching.prune();
        }
        match chore {
            Chore::Trim(trim, reply) => {
                self.sweep();
                drop(reply.send(Ok(trim.done)));
            }
            Chore::Remove(removal, reply) => {
                self.sweep();
                drop(reply.send(Ok(removal.done)));
            }
            Chore::Sweep | Chore::Reindex | Chore::Compact(_) => {}
        }
        Ok(None)
    }

    fn sweep(&mut self) {
        if !self.line.iter().any(|chore| matches!(chore, Chore::Sweep)) {
            self.line.push_back(Chore::Sweep);
        }
    }

    fn compact_on(
        &mut self,
        mut compaction: Box<Compaction>,
        shared: &Shared,
        folder: &mut Folder,
        space: &Space,
    ) -> Result<Option<Chore>, Fault> {
        let store = shared.engine.current();
        let engine = store.read().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = &*engine else { return Ok(None) };
        match compaction.slice(live, space) {
            Ok(Step::Again) => return Ok(Some(Chore::Compact(compaction))),
            Ok(Step::Wait(pause)) => {
                if self.line.is_empty() {
                    self.pause = pause;
                }
                return Ok(Some(Chore::Compact(compaction)));
            }
            Ok(Step::Ready) => {}
            Err(error) => {
                tracing::warn!(%error, "the archive was not compacted");
                compaction.give_up(Some(live), &error);
                return Ok(None);
            }
        }
        let copy = match live.take_copy() {
            Ok(copy) => copy,
            Err(fault) => {
                compaction.give_up(Some(live), &ArchiveError::Failed { detail: fault.detail });
                return Ok(None);
            }
        };
        let old_dir = folder.store();
        if let Err(error) = folder.switch(&compaction.dir, &[]) {
            if !folder.is_current() {
                // Which of the two a crash would leave is not known: nothing more may be written to either.
                return Err(Fault {
                    detail: format!("cannot go over to the compacted store: {error}"),
                    damaged: false,
                });
            }
            drop(copy);
            compaction.give_up(None, &error);
            return Ok(None);
        }
        drop(engine);
        let after = copy.disk_bytes();
        reindex::retire(&copy);
        let old = shared.engine.replace(copy);
        shared.compacted.store(after / (shared.live_bytes() / 1000).max(1), Ordering::Relaxed);
        let leave = move || {
            drop(slot::take(&old));
            if let Err(error) = folder::remove_store(&old_dir) {
                tracing::warn!(%error, "the store from before compaction stays until the next start");
            }
        };
        self.leaving.retain(|old| !old.is_finished());
        self.leaving.extend(std::thread::Builder::new().name("archive-old".into()).spawn(leave));
        let done = Compacted { before: compaction.before, after };
        tracing::debug!(before = done.before, after = done.after, "compacted the archive");
        let Compaction { replies, again, .. } = *compaction;
        replies.into_iter().for_each(|reply| drop(reply.send(Ok(done))));
        if !again.is_empty() {
            shared.engine.using(|engine| {
                let Some(engine) = engine else { return };
                again.into_iter().for_each(|reply| self.compact(engine, folder, shared, space, reply));
            });
        }
        Ok(None)
    }

    /// Ends everything: what was done stays done, and whoever waits is told.
    pub(crate) fn end(self, shared: &Shared, error: &ArchiveError) {
        for chore in self.line {
            match chore {
                Chore::Trim(_, reply) => drop(reply.send(Err(error.clone()))),
                Chore::Remove(_, reply) => drop(reply.send(Err(error.clone()))),
                Chore::Sweep | Chore::Reindex => {}
                Chore::Compact(compaction) => {
                    shared.engine.using(|engine| compaction.give_up(engine, error));
                }
            }
        }
        self.leaving.into_iter().for_each(|old| drop(old.join()));
    }
}

fn with_engine<T: Default>(shared: &Shared, work: impl FnOnce(&Engine) -> Result<T, Fault>) -> Result<T, Fault> {
    shared.engine.using(|engine| engine.map_or_else(|| Ok(T::default()), work))
}
