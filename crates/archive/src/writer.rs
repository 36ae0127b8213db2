//! The one thread that writes: takes what waits, makes one batch of it, brings it to the disk, and then answers. Between batches it goes
//! on with its chores (`chores`).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use tokio::sync::OwnedSemaphorePermit;

use crate::archive::Shared;
use crate::chores::Chores;
use crate::engine::{Engine, Fault};
use crate::error::ArchiveError;
use crate::folder::Folder;
use crate::ledger::{Ledger, Refusal};
use crate::queue::{Queue, Work};
use crate::slot;
use crate::space::{Free, Space};

/// Runs until the queue ends or the store fails, then closes the store and lets the folder go.
pub(crate) fn run(shared: &Shared, mut folder: Folder, space: &Space) {
    let mut chores = Chores::default();
    let outcome = catch_unwind(AssertUnwindSafe(|| work(shared, &mut folder, space, &mut chores)));
    let fault = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault),
        Err(_) => Some(Fault { detail: "the archive's writer gave up".into(), damaged: false }),
    };
    if let Some(fault) = &fault {
        // Whoever waits is told first: giving up a copy touches a disk that may not answer any more.
        let error = ArchiveError::Failed { detail: fault.detail.clone() };
        tracing::error!(%error, "archive");
        shared.queue.end(error.clone());
        refuse_all(&shared.queue, &error);
    }
    chores.end(shared, &shared.queue.ended());
    let engine = slot::take(&shared.engine.current());
    if let (Some(fault), Some(engine)) = (&fault, &engine) {
        engine.fail(fault.detail.clone(), fault.damaged);
    }
    drop(engine);
    if fault.is_none() {
        // The store is on the disk already; this only lets the next opener check it.
        let counters = *shared.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = folder.write_closed(&counters) {
            tracing::warn!(%error, "archive");
        }
    }
    drop(folder);
    shared.set_ended();
}

fn refuse_all(queue: &Queue, error: &ArchiveError) {
    while let Some(waiting) = queue.take() {
        waiting.into_iter().for_each(|(work, _)| work.refuse(error.clone()));
    }
}

fn work(shared: &Shared, folder: &mut Folder, space: &Space, chores: &mut Chores) -> Result<(), Fault> {
    loop {
        let waiting = match chores.pause() {
            None => shared.queue.take(),
            Some(pause) => shared.queue.take_within(pause),
        };
        let Some(waiting) = waiting else { return Ok(()) };
        if !waiting.is_empty() {
            write(waiting, shared, folder, space, chores)?;
        }
        chores.run(shared, folder, space)?;
    }
}

/// Everything that waited, as one group.
fn write(
    waiting: VecDeque<(Work, OwnedSemaphorePermit)>,
    shared: &Shared,
    folder: &Folder,
    space: &Space,
    chores: &mut Chores,
) -> Result<(), Fault> {
    shared.engine.using(|engine| {
        let Some(engine) = engine else { return Ok(()) };
        let mut group = Group::new(engine, shared, space);
        // Each permit goes at the end of its round, when the record is in the batch or beyond it.
        for (work, _permit) in waiting {
            let work = match work {
                Work::Retain(keep, now, reply) => {
                    chores.retain(keep, now, reply);
                    continue;
                }
                Work::Remove(ids, spare, reply) => {
                    chores.remove(ids, spare, reply);
                    continue;
                }
                Work::Compact(reply) => {
                    chores.compact(engine, folder, shared, space, reply);
                    continue;
                }
                other => other,
            };
            if let Err(fault) = group.add(work) {
                group.fail(&fault);
                return Err(fault);
            }
        }
        if let Err(fault) = group.commit() {
            group.fail(&fault);
            return Err(fault);
        }
        space.lay_up(group.free);
        Ok(())
    })
}

type Answer = Box<dyn FnOnce(Result<(), ArchiveError>) + Send>;

/// What is made durable together.
struct Group<'e> {
    ledger: Ledger<'e>,
    shared: &'e Shared,
    space: &'e Space,
    answers: Vec<Answer>,
    /// What was free when the group began, or at its last commit.
    free: Free,
}

impl<'e> Group<'e> {
    fn new(engine: &'e Engine, shared: &'e Shared, space: &'e Space) -> Group<'e> {
        let counters = *shared.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Group { ledger: Ledger::new(engine, counters), shared, space, answers: Vec::new(), free: space.look() }
    }

    fn add(&mut self, work: Work) -> Result<(), Fault> {
        let weight = self.ledger.batch.weight() + work.weight();
        if let Err(full) = self.space.check(self.free, weight) {
            work.refuse(full);
            return Ok(());
        }
        match work {
            Work::Insert(intake, reply) => {
                let done = self.ledger.insert(&intake);
                self.answer(done, Some(reply))?;
            }
            Work::Record(id, attempt, _, reply) => {
                let done = self.ledger.record(id, &attempt);
                self.answer(done, reply)?;
            }
            Work::SetPinned(id, pinned, reply) => {
                let done = self.ledger.set_pinned(id, pinned);
                self.answer(done, Some(reply))?;
            }
            Work::SetNote(id, note, reply) => {
                let done = self.ledger.set_note(id, note.as_deref());
                self.answer(done, Some(reply))?;
            }
            Work::Retain(..) | Work::Remove(..) | Work::Compact(_) => {} // Chores.
        }
        if self.ledger.batch.is_full() { self.commit() } else { Ok(()) }
    }

    /// Keeps the answer until the batch is on the disk; a refusal is told at once.
    fn answer<T: Send + 'static>(
        &mut self,
        done: Result<T, Refusal>,
        reply: Option<crate::queue::Reply<T>>,
    ) -> Result<(), Fault> {
        match (done, reply) {
            (Ok(value), Some(reply)) => {
                self.answers.push(Box::new(|outcome| drop(reply.send(outcome.map(|()| value)))));
            }
            (Ok(_), None) => {}
            (Err(Refusal::No(error)), Some(reply)) => drop(reply.send(Err(error))),
            (Err(Refusal::No(error)), None) => tracing::warn!(%error, "an attempt was not stored"),
            (Err(Refusal::Fault(fault)), reply) => {
                if let Some(reply) = reply {
                    drop(reply.send(Err(failed(&fault))));
                }
                return Err(fault);
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.space.make_room(self.free, self.ledger.batch.weight());
        self.ledger.batch.commit()?;
        self.free = self.space.look();
        *self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.ledger.counters;
        self.answers.drain(..).for_each(|answer| answer(Ok(())));
        Ok(())
    }

    fn fail(&mut self, fault: &Fault) {
        self.answers.drain(..).for_each(|answer| answer(Err(failed(fault))));
    }
}

fn failed(fault: &Fault) -> ArchiveError {
    ArchiveError::Failed { detail: fault.detail.clone() }
}
