//! Deliveries that are stored and wait to be forwarded, in order, so many at once.
//!
//! The archive knows what waits (`queued`), so only the next few are held in memory: what does not fit, and what waited when the agent
//! started, is read back from the archive when its turn comes. A slow handler therefore holds up neither the relay nor the memory.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tunnel_archive::{ArchiveError, Cursor, Order, Query};
use tunnel_delivery::{AnswerClass, Attempt, Cause, Delivery, DeliveryId, Stored, Summary};
use tunnel_signature::Match;

use crate::again::{Again, Waiting, Whom};
use crate::exec::Exec;
use crate::forward::TargetUrl;
use crate::hand::{Hand, Try};
use crate::inflight::Inflight;
use crate::listen::Chance;
use crate::pause::Pause;
use crate::policy::Policy;
use crate::summary;
use crate::trail::Trail;

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
    /// The handler that it goes to.
    pub(crate) target: Option<TargetUrl>,
    /// The command that it is given to.
    pub(crate) command: Option<Exec>,
    /// As it stands before the attempt.
    pub(crate) summary: Summary,
    /// Its trace, while it is in memory.
    pub(crate) trail: Trail,
}

/// How many at once, and when.
pub(crate) struct Pace {
    /// How many deliveries are handed over at once.
    pub(crate) concurrency: usize,
    /// Whether any are.
    pub(crate) pause: Pause,
    /// Spreads the pauses before what is tried again.
    pub(crate) chance: Chance,
}

/// What is to be done.
#[expect(clippy::large_enum_variant, reason = "one at a time is on its way, and most are the large one")]
enum Due {
    /// A delivery that came.
    Job(Job),
    /// One that was tried.
    Again(Again),
}

#[derive(Default)]
struct Inner {
    ready: VecDeque<Job>,
    bytes: usize,
    /// In `ready`, under way, tried without a record of it, or not to be read: not to be read back.
    busy: HashSet<DeliveryId>,
    /// The archive has some that are not in `busy`.
    spilled: bool,
    /// How many were left to the archive so far.
    spills: u64,
    /// What was tried and waits to be tried again.
    again: Waiting,
    /// Whether the last that was begun was one of those.
    was_again: bool,
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

    /// What is to be done now, if there is anything in hand. What came and what is tried again take turns, so that neither keeps the other waiting.
    fn take(&self) -> Option<Due> {
        let mut inner = self.lock();
        let nothing_came = inner.ready.is_empty() && !inner.spilled;
        if (nothing_came || !inner.was_again)
            && let Some(again) = inner.again.take(Instant::now())
        {
            inner.was_again = true;
            return Some(Due::Again(again));
        }
        let job = inner.ready.pop_front()?;
        inner.was_again = false;
        inner.bytes -= job.delivery.body.len();
        Some(Due::Job(job))
    }

    /// Those that wait in memory, out of these.
    pub(crate) fn in_hand(&self, ids: &[DeliveryId]) -> Vec<DeliveryId> {
        let ids: HashSet<&DeliveryId> = ids.iter().collect();
        self.lock().ready.iter().map(|job| job.delivery.id).filter(|id| ids.contains(id)).collect()
    }

    /// These are not stored any more, and so are not handed over.
    pub(crate) fn forget(&self, gone: &[DeliveryId]) {
        let mut inner = self.lock();
        let Inner { ready, bytes, busy, .. } = &mut *inner;
        ready.retain(|job| {
            let stays = !gone.contains(&job.delivery.id);
            if !stays {
                *bytes -= job.delivery.body.len();
                busy.remove(&job.delivery.id);
            }
            stays
        });
    }

    /// How many wait to be tried again.
    pub(crate) fn to_retry(&self) -> u64 {
        self.lock().again.len() as u64
    }

    /// Hands over what waits until `stop` says so, `concurrency` at a time, started in order. What is tried again is out of order.
    pub(crate) async fn run(
        self: Arc<Self>,
        hand: Hand,
        policy: Arc<Policy>,
        Pace { concurrency, pause, chance }: Pace,
        mut stop: watch::Receiver<bool>,
        inflight: Inflight,
    ) {
        let permits = Arc::new(Semaphore::new(concurrency.max(1)));
        let records = Arc::new(Semaphore::new(UNRECORDED));
        while !*stop.borrow_and_update() {
            let permit = tokio::select! {
                biased;
                permit = Arc::clone(&permits).acquire_owned() => permit,
                _ = stop.changed() => break,
            };
            let due = tokio::select! {
                biased;
                due = self.next(&hand, &policy, &pause) => due,
                _ = stop.changed() => break,
            };
            let one = One {
                hand: hand.clone(),
                policy: Arc::clone(&policy),
                backlog: Arc::clone(&self),
                chance: Arc::clone(&chance),
                records: Arc::clone(&records),
            };
            let inflight = inflight.clone();
            tokio::spawn(async move {
                one.hand_over(due, permit).await;
                drop(inflight);
            });
        }
        let left = self.to_retry();
        if left > 0 {
            hand.announcer
                .warn(format!("{left} attempts that failed were to be made again; with the agent's end they are not"));
        }
    }

    async fn next(&self, hand: &Hand, policy: &Arc<Policy>, pause: &Pause) -> Due {
        loop {
            // Nothing is taken in hand during a pause: it waits here, in order, and what does not fit waits in the archive.
            pause.over().await;
            if let Some(due) = self.take() {
                return due;
            }
            let (spilled, again) = {
                let inner = self.lock();
                (inner.spilled, inner.again.next())
            };
            if spilled {
                if let Err(e) = self.refill(hand, policy).await {
                    hand.announcer.warn(format!("what waits to be forwarded cannot be read: {e}"));
                    self.more.notified().await;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.more.notified() => {}
                () = async { match again { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {}
            }
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
            let Part { found, unreadable, next } = page(hand, policy, cursor, &busy).await?;
            for (id, why) in &unreadable {
                hand.announcer.warn(format!(
                    "{id} waits to be forwarded and cannot be read, so it is passed over: {why}; `healthie-tunnel store check` says what else is damaged"
                ));
            }
            let mut inner = self.lock();
            inner.busy.extend(unreadable.into_iter().map(|(id, _)| id));
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

/// What it takes to hand one delivery over.
struct One {
    hand: Hand,
    policy: Arc<Policy>,
    backlog: Arc<Backlog>,
    chance: Chance,
    records: Arc<Semaphore>,
}

impl One {
    async fn hand_over(self, due: Due, permit: Result<OwnedSemaphorePermit, AcquireError>) {
        let (job, made) = match due {
            Due::Job(job) => (job, 0),
            Due::Again(again) => match self.read_back(again).await {
                Some(job) => (job, again.made),
                None => return,
            },
        };
        let id = job.delivery.id;
        let how = Try { cause: Cause::Forward, number: job.summary.attempts + 1, for_sender: false };
        let handler = async {
            let (target, forward_as) = (job.target.as_ref()?, self.policy.forward_as);
            Some(self.hand.over(&job.delivery, job.matched.as_ref(), target, forward_as, how).await.attempt)
        };
        let command = async {
            let exec = job.command.as_ref()?;
            // A process is started for it: reading it back costs little beside that.
            let stored = self.read(id).await?;
            Some(self.hand.command(exec, &stored, how).await.attempt)
        };
        let (handler, command) = tokio::join!(handler, command);
        let tried = [(Whom::Handler, handler), (Whom::Command, command)];
        let tried = tried.into_iter().filter_map(|(whom, attempt)| Some((whom, attempt?)));
        let mut tried: Vec<_> = tried
            .map(|(whom, attempt)| {
                job.trail.attempt(&attempt);
                let again = self.again(&attempt, id, made).map(|pause| (Instant::now(), pause));
                (whom, attempt, again)
            })
            .collect();
        // What a list shows is the attempt that was recorded last: that one of two succeeded must not hide that the other failed.
        tried.sort_by_key(|(_, attempt, _)| !attempt.succeeded());
        // The handler is free for the next one while this attempt waits for its commit.
        let recording = self.records.acquire().await;
        drop(permit);
        let (mut before, mut recorded) = (job.summary, true);
        for (whom, attempt, again) in tried {
            let after = summary::after(before.clone(), &attempt);
            let kept = self.hand.record_with_next(&before, attempt, again.map(|(_, pause)| pause)).await;
            before = after;
            recorded &= kept.is_ok();
            if let (Ok(()), Some((now, pause))) = (kept, again) {
                self.backlog.lock().again.put(Again { id, whom, made: made + 1 }, now, pause);
                self.backlog.more.notify_one();
            }
        }
        // What could not be recorded stays busy: it must not be handed over again and again while the disk is full.
        if recorded {
            self.backlog.lock().busy.remove(&id);
        }
        drop(recording);
    }

    /// After which pause the attempt is made again, if it is.
    fn again(&self, attempt: &Attempt, id: DeliveryId, made: u32) -> Option<Duration> {
        let pause = self.policy.retry.as_ref()?.after(attempt, made, (self.chance)())?;
        if !self.backlog.lock().again.has_room() {
            self.hand.announcer.warn(format!("too many deliveries wait to be tried again: {id} is not"));
            return None;
        }
        Some(pause)
    }

    /// A delivery that waited to be tried again, as it stands now. One that was removed meanwhile is not tried.
    async fn read_back(&self, again: Again) -> Option<Job> {
        let stored = self.read(again.id).await?;
        let summary = summary::of_stored(&stored);
        let (event, signature) = (summary.event_type.as_deref(), summary.signature);
        let target = self.policy.target(event, signature).filter(|_| again.whom == Whom::Handler).cloned();
        let command = self.policy.command(event, signature).filter(|_| again.whom == Whom::Command).cloned();
        let matched = self.hand.signing.check_with_digest(&stored.delivery, stored.body_sha256).matched;
        Some(Job { delivery: Arc::new(stored.delivery), matched, target, command, summary, trail: Trail::default() })
    }

    /// A delivery from the archive, if it is still there.
    async fn read(&self, id: DeliveryId) -> Option<Stored> {
        let keep = Arc::clone(&self.hand.keep);
        let read = match keep.blocks() {
            false => keep.get(id),
            true => tokio::task::spawn_blocking(move || keep.get(id)).await.unwrap_or(Err(ArchiveError::Closed)),
        };
        read.unwrap_or_else(|e| {
            self.hand.announcer.warn(format!("{id} cannot be read to be handed over: {e}"));
            None
        })
    }
}

/// A part of what is queued.
struct Part {
    found: Vec<Job>,
    /// What is damaged, and how: it must not keep back what waits behind it.
    unreadable: Vec<(DeliveryId, ArchiveError)>,
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
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for summary in page.items {
            if bytes > MOST_BYTES {
                return Ok(Part { found, unreadable, next: Next::Full });
            }
            if busy.contains(&summary.id) {
                continue;
            }
            let event = summary.event_type.as_deref();
            let target = policy.target(event, summary.signature).cloned();
            let command = policy.command(event, summary.signature).cloned();
            if target.is_none() && command.is_none() {
                continue;
            }
            let stored = match keep.get(summary.id) {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                Err(e @ ArchiveError::Damaged { .. }) => {
                    unreadable.push((summary.id, e));
                    continue;
                }
                Err(e) => return Err(e),
            };
            if stored.attempts.iter().any(|a| a.cause == Cause::Forward) {
                continue;
            }
            let matched = signing.check_with_digest(&stored.delivery, stored.body_sha256).matched;
            bytes += stored.delivery.body.len();
            found.push(Job {
                delivery: Arc::new(stored.delivery),
                matched,
                target,
                command,
                summary,
                trail: Trail::default(),
            });
        }
        Ok(Part { found, unreadable, next: page.next.map_or(Next::End, Next::At) })
    };
    if !blocks {
        return read();
    }
    tokio::task::spawn_blocking(read).await.unwrap_or(Err(ArchiveError::Closed))
}

#[cfg(test)]
mod tests;
