//! An agent's store in memory that keeps the promise of `Keep` and no more: what was answered is on its disk, what was not may be or not. The disk
//! outlives the process.
//!
//! sled behind it would have threads of its own, a writer that waits for the disk, and files to be opened for every crash of every seed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use healthie_tunnel::keep::{Keep, Later};
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use tunnel_archive::{ArchiveError, Inserted, Intake, Page, Query};
use tunnel_delivery::{Answer, AnswerClass, Attempt, Delivery, DeliveryId, Stored, Summary};

use crate::chance::Chance;
use crate::log::Log;

/// A delivery on the disk of an agent.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) attempts: Vec<Attempt>,
    /// Whether it was stored as waiting to be forwarded.
    pub(crate) queued: bool,
    intake: Arc<Intake>,
}

/// What outlives the process.
#[derive(Clone, Default)]
pub(crate) struct ArchiveDisk(Arc<Mutex<Durable>>);

#[derive(Default)]
struct Durable {
    kept: BTreeMap<DeliveryId, Kept>,
    /// In the order of first storing.
    order: Vec<DeliveryId>,
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ArchiveDisk {
    /// Everything, in the order of first storing.
    pub(crate) fn all(&self) -> Vec<Kept> {
        let durable = lock(&self.0);
        durable.order.iter().filter_map(|id| durable.kept.get(id).cloned()).collect()
    }

    /// How many there are, and how many of them wait for their first attempt.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let durable = lock(&self.0);
        (durable.order.len(), durable.kept.values().filter(|k| k.queued && k.attempts.is_empty()).count())
    }
}

enum Work {
    Insert(Arc<Intake>, oneshot::Sender<Result<Inserted, ArchiveError>>),
    Record(DeliveryId, Attempt, oneshot::Sender<Result<u32, ArchiveError>>),
}

struct Inner {
    disk: ArchiveDisk,
    waiting: Mutex<Vec<Work>>,
    rung: Notify,
    chance: Chance,
    /// One in so many insertions fails because the disk is full for now; 0 for none.
    refuse: u64,
    /// Nothing fails any more.
    calm: Arc<AtomicBool>,
    log: Log,
    device: String,
}

/// The store of one agent process.
pub(crate) struct MemoryKeep(Arc<Inner>);

impl MemoryKeep {
    /// Opens what is on the disk. Must be called on the agent's host, where its writer is to run.
    pub(crate) fn open(
        disk: ArchiveDisk,
        chance: Chance,
        (refuse, calm): (u64, Arc<AtomicBool>),
        log: Log,
        device: String,
    ) -> MemoryKeep {
        let (waiting, rung) = (Mutex::default(), Notify::new());
        let inner = Arc::new(Inner { disk, waiting, rung, chance, refuse, calm, log, device });
        tokio::spawn(write(Arc::clone(&inner)));
        MemoryKeep(inner)
    }

    fn put(&self, order: Work) {
        lock(&self.0.waiting).push(order);
        self.0.rung.notify_one();
    }
}

/// The writer: everything that waits in one commit, which is on the disk some time before anybody hears of it.
async fn write(keep: Arc<Inner>) {
    loop {
        keep.rung.notified().await;
        let mut batch = std::mem::take(&mut *lock(&keep.waiting));
        sleep(keep.chance.millis(0, 20)).await;
        batch.append(&mut lock(&keep.waiting));
        let mut answers: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        {
            let mut durable = lock(&keep.disk.0);
            for order in batch {
                match order {
                    Work::Insert(intake, answer) => {
                        let id = intake.delivery.id;
                        let Durable { kept, order } = &mut *durable;
                        let came = match kept.entry(id) {
                            Entry::Occupied(_) => Inserted::AlreadyThere,
                            Entry::Vacant(place) => {
                                let (queued, delivery) = (intake.queued, Arc::clone(&intake.delivery));
                                place.insert(Kept { delivery, attempts: Vec::new(), queued, intake });
                                order.push(id);
                                keep.log.say(format_args!("{} stores number {}", keep.device, order.len()));
                                Inserted::New { duplicate_of: None }
                            }
                        };
                        answers.push(Box::new(move || drop(answer.send(Ok(came)))));
                    }
                    Work::Record(id, attempt, answer) => {
                        let done = match durable.kept.get_mut(&id) {
                            Some(kept) => {
                                kept.attempts.push(attempt);
                                u32::try_from(kept.attempts.len()).map_err(|_| ArchiveError::Busy)
                            }
                            None => Err(ArchiveError::Unknown(id)),
                        };
                        answers.push(Box::new(move || drop(answer.send(done))));
                    }
                }
            }
        }
        sleep(keep.chance.millis(0, 20)).await;
        answers.into_iter().for_each(|answer| answer());
    }
}

fn summary(kept: &Kept) -> Summary {
    let (d, intake) = (&kept.delivery, &kept.intake);
    let last = kept.attempts.last();
    let class = match last {
        Some(attempt) => AnswerClass::of(attempt),
        None if kept.queued => AnswerClass::Queued,
        None => AnswerClass::None,
    };
    Summary {
        id: d.id,
        received_at: d.received_at,
        tunnel: d.tunnel.clone(),
        environment: d.environment,
        method: d.method.as_str().to_owned(),
        target: d.target.as_str().to_owned(),
        event_type: intake.event.as_ref().map(|e| e.event_type.clone()),
        resource_id_type: None,
        resource_id: None,
        signature: intake.signature.status,
        profile: None,
        body_len: d.body.len() as u64,
        duplicate_of: None,
        repeats: 0,
        pinned: false,
        attempts: u32::try_from(kept.attempts.len()).unwrap_or(u32::MAX),
        answer: Answer { class, status: last.and_then(|a| a.status), duration_us: 0 },
    }
}

impl Keep for MemoryKeep {
    fn insert(&self, intake: Intake) -> Later<'_, Inserted> {
        if self.0.refuse > 0 && !self.0.calm.load(Ordering::Relaxed) && self.0.chance.once_in(self.0.refuse) {
            let full = ArchiveError::DiskFull { dir: "memory".into(), free: 0, needed: 1 };
            return Box::pin(std::future::ready(Err(full)));
        }
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.put(Work::Insert(Arc::new(intake), answer));
            answered.await.unwrap_or(Err(ArchiveError::Closed))
        })
    }

    fn record(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.put(Work::Record(id, attempt, answer));
            answered.await.unwrap_or(Err(ArchiveError::Closed))
        })
    }

    fn record_with_next(&self, id: DeliveryId, attempt: Attempt) -> Later<'_, u32> {
        self.record(id, attempt)
    }

    /// Only what the backlog asks for: what is queued, oldest first.
    fn list(&self, query: &Query) -> Result<Page, ArchiveError> {
        assert_eq!(query.answer, [AnswerClass::Queued]);
        let durable = lock(&self.0.disk.0);
        let after = query.cursor.and_then(|c| c.to_string().parse::<DeliveryId>().ok());
        let mut items: Vec<Summary> = durable
            .kept
            .iter()
            .filter(|(id, kept)| after.is_none_or(|after| **id > after) && kept.queued && kept.attempts.is_empty())
            .take(query.limit + 1)
            .map(|(_, kept)| summary(kept))
            .collect();
        let more = items.len() > query.limit;
        items.truncate(query.limit);
        let next = items.last().filter(|_| more).and_then(|last| last.id.to_string().parse().ok());
        Ok(Page { scanned: items.len(), items, next, damaged: Vec::new() })
    }

    fn get(&self, id: DeliveryId) -> Result<Option<Stored>, ArchiveError> {
        let durable = lock(&self.0.disk.0);
        Ok(durable.kept.get(&id).map(|kept| Stored {
            delivery: (*kept.delivery).clone(),
            body_sha256: kept.intake.body_sha256,
            event: kept.intake.event.clone(),
            signature: kept.intake.signature.clone(),
            duplicate_of: None,
            repeats: Vec::new(),
            pinned: false,
            note: None,
            attempts: kept.attempts.clone(),
        }))
    }

    fn blocks(&self) -> bool {
        false
    }
}
