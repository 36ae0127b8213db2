//! Deliveries that are stored and wait to be forwarded, in order, so many at once.
//!
//! The archive knows what waits (`queued`), so only the next few are held in memory: what does not fit, and what waited when the agent
//! started, is read back from the archive when its turn comes. A slow handler therefore holds up neither the relay nor the memory.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, watch};
use tunnel_archive::{ArchiveError, Cursor, Order, Query};
use tunnel_delivery::{AnswerClass, Cause, Delivery, DeliveryId, Summary};
use tunnel_signature::Match;

use crate::forward::TargetUrl;
use crate::hand::{Hand, Try};
use crate::inflight::Inflight;
use crate::pause::Pause;
use crate::policy::Policy;

/// The most deliveries held in memory, and the most bytes of their bodies.
const MOST: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// The most attempts that wait to be recorded while others are made.
const UNRECORDED: usize = 256;
/// How many are read back from the archive at a time.
const PAGE: usize = 64;

/// A delivery that is due.
pub(crate) struct Job {
    /// The delivery.
    pub(crate) delivery: Arc<Delivery>,
    /// What signing it again needs.
    pub(crate) matched: Option<Match>,
    /// Where it goes.
    pub(crate) target: TargetUrl,
    /// As it stands before the attempt.
    pub(crate) summary: Summary,
}

#[derive(Default)]
struct Inner {
    ready: VecDeque<Job>,
    bytes: usize,
    /// In `ready`, under way, or tried without a record of it: not to be read back.
    busy: HashSet<DeliveryId>,
    /// The archive has some that are not in `busy`.
    spilled: bool,
    /// How many were left to the archive so far.
    spills: u64,
}

/// The deliveries that wait.
pub(crate) struct Backlog {
    inner: Mutex<Inner>,
    more: Notify,
}

impl Default for Backlog {
    /// Whatever an earlier run left queued is due.
    fn default() -> Backlog {
        Backlog { inner: Mutex::new(Inner { spilled: true, ..Inner::default() }), more: Notify::new() }
    }
}

impl Backlog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery was stored as queued.
    pub(crate) fn push(&self, job: Job) {
        let mut inner = self.lock();
        let len = job.delivery.body.len();
        if inner.busy.contains(&job.delivery.id) {
            // Read back from the archive between its being stored and this call.
            return;
        }
        // Once some are only in the archive, all that follow must wait behind them.
        if inner.spilled || inner.ready.len() >= MOST || inner.bytes + len > MOST_BYTES {
            inner.spilled = true;
            inner.spills += 1;
        } else {
            inner.bytes += len;
            inner.busy.insert(job.delivery.id);
            inner.ready.push_back(job);
        }
        drop(inner);
        self.more.notify_one();
    }

    fn pop(&self) -> Option<Job> {
        let mut inner = self.lock();
        let job = inner.ready.pop_front()?;
        inner.bytes -= job.delivery.body.len();
        Some(job)
    }

    /// Hands over what waits until `stop` says so, `concurrency` at a time, started in order.
    pub(crate) async fn run(
        self: Arc<Self>,
        hand: Hand,
        policy: Arc<Policy>,
        concurrency: usize,
        pause: Pause,
        mut stop: watch::Receiver<bool>,
        inflight: Inflight,
    ) {
        let permits = Arc::new(Semaphore::new(concurrency.max(1)));
        let records = Arc::new(Semaphore::new(UNRECORDED));
        while !*stop.borrow_and_update() {
            let permit = tokio::select! {
                biased;
                permit = Arc::clone(&permits).acquire_owned() => permit,
                _ = stop.changed() => return,
            };
            let job = tokio::select! {
                biased;
                job = self.next(&hand, &policy, &pause) => job,
                _ = stop.changed() => return,
            };
            let (hand, forward_as, backlog, inflight) =
                (hand.clone(), policy.forward_as, Arc::clone(&self), inflight.clone());
            let records = Arc::clone(&records);
            tokio::spawn(async move {
                let how = Try { cause: Cause::Forward, number: job.summary.attempts + 1, for_sender: false };
                let done = hand.over(&job.delivery, job.matched.as_ref(), &job.target, forward_as, how).await;
                // The handler is free for the next one while this attempt waits for its commit.
                let recording = records.acquire_owned().await;
                drop(permit);
                // What could not be recorded stays busy: it must not be handed over again and again while the disk is full.
                if hand.record_with_next(&job.summary, done.attempt).await.is_ok() {
                    backlog.lock().busy.remove(&job.delivery.id);
                }
                drop((recording, inflight));
            });
        }
    }

    async fn next(&self, hand: &Hand, policy: &Arc<Policy>, pause: &Pause) -> Job {
        loop {
            // Nothing is taken in hand during a pause: it waits here, in order, and what does not fit waits in the archive.
            pause.over().await;
            if let Some(job) = self.pop() {
                return job;
            }
            let spilled = self.lock().spilled;
            if spilled {
                if let Err(e) = self.refill(hand, policy).await {
                    hand.announcer.warn(format!("what waits to be forwarded cannot be read: {e}"));
                    self.more.notified().await;
                }
                continue;
            }
            self.more.notified().await;
        }
    }

    /// Reads the next of what waits back from the archive.
    async fn refill(&self, hand: &Hand, policy: &Arc<Policy>) -> Result<(), ArchiveError> {
        // Taken before the list is read: what finishes meanwhile may still be in the list, and must not go out twice. While `spilled` is set
        // nothing new gets past the archive.
        let (busy, spills) = {
            let inner = self.lock();
            (Arc::new(inner.busy.clone()), inner.spills)
        };
        let mut cursor = None;
        loop {
            let Part { found, next } = page(hand, policy, cursor, &busy).await?;
            let mut inner = self.lock();
            let some = !found.is_empty();
            for job in found {
                inner.bytes += job.delivery.body.len();
                inner.busy.insert(job.delivery.id);
                inner.ready.push_back(job);
            }
            match next {
                // All that waited is in hand. What came while it was read is looked for once more.
                Next::End => {
                    inner.spilled = inner.spills != spills;
                    return Ok(());
                }
                Next::Full => return Ok(()),
                Next::At(_) if some => return Ok(()),
                Next::At(next) => cursor = Some(next),
            }
        }
    }
}

/// A part of what is queued.
struct Part {
    found: Vec<Job>,
    next: Next,
}

/// What is behind a part.
enum Next {
    /// Nothing.
    End,
    /// Something that there was no room for.
    Full,
    /// Another page.
    At(Cursor),
}

/// What is due in one page of the queued deliveries, oldest first.
async fn page(
    hand: &Hand,
    policy: &Arc<Policy>,
    cursor: Option<Cursor>,
    busy: &Arc<HashSet<DeliveryId>>,
) -> Result<Part, ArchiveError> {
    let (keep, signing, policy, busy) =
        (Arc::clone(&hand.keep), Arc::clone(&hand.signing), Arc::clone(policy), Arc::clone(busy));
    let blocks = keep.blocks();
    let read = move || {
        let query = Query {
            order: Order::OldestFirst,
            limit: PAGE,
            cursor,
            answer: vec![AnswerClass::Queued],
            ..Query::default()
        };
        let page = keep.list(&query)?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for summary in page.items {
            if bytes > MOST_BYTES {
                return Ok(Part { found, next: Next::Full });
            }
            if busy.contains(&summary.id) {
                continue;
            }
            let Some(target) = policy.target(summary.event_type.as_deref(), summary.signature) else { continue };
            let Some(stored) = keep.get(summary.id)? else { continue };
            if stored.attempts.iter().any(|a| a.cause == Cause::Forward) {
                continue;
            }
            let matched = signing.check_with_digest(&stored.delivery, stored.body_sha256).matched;
            bytes += stored.delivery.body.len();
            found.push(Job { delivery: Arc::new(stored.delivery), matched, target: target.clone(), summary });
        }
        Ok(Part { found, next: page.next.map_or(Next::End, Next::At) })
    };
    if !blocks {
        return read();
    }
    tokio::task::spawn_blocking(read).await.unwrap_or(Err(ArchiveError::Closed))
}
