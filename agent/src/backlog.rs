//! Deliveries that are stored and wait to be forwarded, in order, so many at once.
//!
//! The archive knows what waits (`queued`), so only the next few are held in memory: what does not fit, and what waited when the agent
//! started, is read back from the archive when its turn comes. A slow handler therefore holds up neither the relay nor the memory.
//!
//! Deliveries are stored in many tasks at once, so the archive may show one before those that came ahead of it. Reading back therefore stops at the
//! first that is still coming: it is pushed in its turn, or left to the archive in its turn.

mod handing;
mod page;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tunnel_archive::ArchiveError;
use tunnel_delivery::{Delivery, DeliveryId, Summary};
use tunnel_signature::Match;

use crate::again::{Again, Waiting};
use crate::exec::Exec;
use crate::forward::TargetUrl;
use crate::hand::Hand;
use crate::inflight::Inflight;
use crate::listen::Chance;
use crate::pause::Pause;
use crate::policy::Policy;
use crate::trail::Trail;
use handing::One;
use page::{Next, Part, page};

/// The most deliveries held in memory, and the most bytes of their bodies.
const MOST: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// The most attempts that wait to be recorded while others are made.
const UNRECORDED: usize = 256;
/// How many are read back from the archive at a time.
const PAGE: usize = 64;
/// What waits and could not be read is looked for again after this time.
const UNREAD: Duration = Duration::from_secs(30);

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
    /// What came and was not pushed yet.
    coming: HashMap<DeliveryId, Underway>,
    /// While the archive is read: what came since that began.
    since: Option<HashSet<DeliveryId>>,
    /// What was tried and waits to be tried again.
    again: Waiting,
    /// Whether the last that was begun was one of those.
    was_again: bool,
    /// Why what waits could not be read when it was last tried.
    unread: Option<String>,
}

impl Inner {
    /// Begins to read what waits back from the archive. What is under way and what is coming is taken before the list is read: what finishes meanwhile may
    /// still be in the list and must not go out twice, and of what comes meanwhile the list may lack one that is before another. While `spilled` is
    /// set nothing new gets past the archive.
    fn begin_reading(&mut self) -> Reading {
        self.since = Some(HashSet::new());
        self.coming.values_mut().for_each(|underway| underway.stopped_at = true);
        Reading { busy: self.busy.clone(), coming: self.coming.keys().copied().collect(), spills: self.spills }
    }

    /// Takes in what was read and what is behind it; whether there is more to do at once.
    fn take_in(&mut self, found: Vec<Job>, next: &Next, reading: &Reading) -> bool {
        let mut some = false;
        for job in found {
            let id = job.delivery.id;
            if self.since.as_ref().is_some_and(|since| since.contains(&id)) {
                return match self.coming.get_mut(&id) {
                    Some(underway) => {
                        underway.stopped_at = true;
                        some
                    }
                    // Nobody will say any more that it came.
                    None => true,
                };
            }
            self.bytes += job.delivery.body.len();
            self.busy.insert(id);
            self.ready.push_back(job);
            some = true;
        }
        match next {
            // All that waited is in hand. What came while it was read is looked for once more.
            Next::End => {
                self.spilled = self.spills != reading.spills;
                true
            }
            Next::Coming => some,
            Next::Full | Next::At(_) => true,
        }
    }

    /// There is something that only the archive has.
    fn spill(&mut self) {
        self.spilled = true;
        self.spills += 1;
    }
}

/// A delivery that came and was not pushed yet.
#[derive(Default)]
struct Underway {
    /// So often: one that comes again over another connection may find itself still under way.
    times: usize,
    /// Reading back may have stopped at it.
    stopped_at: bool,
}

/// What is not to be read back, as it was when reading began.
struct Reading {
    busy: HashSet<DeliveryId>,
    coming: HashSet<DeliveryId>,
    spills: u64,
}

/// A delivery that came, until it is pushed or will not be. They are pushed in the order in which they came.
pub(crate) struct Coming {
    backlog: Arc<Backlog>,
    id: DeliveryId,
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut inner = self.backlog.lock();
        let Some(underway) = inner.coming.get_mut(&self.id) else { return };
        underway.times -= 1;
        if underway.times > 0 {
            return;
        }
        // It was not pushed: it need not be handed over, or it was there from before and is the archive's to tell.
        if inner.coming.remove(&self.id).is_some_and(|underway| underway.stopped_at) {
            inner.spill();
            drop(inner);
            self.backlog.more.notify_one();
        }
    }
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

    /// A delivery came and will be stored.
    pub(crate) fn coming(self: &Arc<Self>, id: DeliveryId) -> Coming {
        let mut inner = self.lock();
        inner.coming.entry(id).or_default().times += 1;
        if let Some(since) = &mut inner.since {
            since.insert(id);
        }
        Coming { backlog: Arc::clone(self), id }
    }

    /// A delivery was stored as queued.
    pub(crate) fn push(&self, job: Job) {
        let mut inner = self.lock();
        inner.coming.remove(&job.delivery.id);
        let len = job.delivery.body.len();
        if inner.busy.contains(&job.delivery.id) {
            // Read back from the archive between its being stored and this call.
            drop(inner);
            self.more.notify_one();
            return;
        }
        // Once some are only in the archive, all that follow must wait behind them.
        if inner.spilled || inner.ready.len() >= MOST || inner.bytes + len > MOST_BYTES {
            inner.spill();
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
            let mut look = None;
            let (spilled, again) = {
                let inner = self.lock();
                (inner.spilled, inner.again.next())
            };
            if spilled {
                match self.refill(hand, policy).await {
                    Ok(true) => continue,
                    // What comes first is still coming.
                    Ok(false) => {}
                    Err(e) => {
                        self.tell_unread(hand, &e);
                        look = Some(Instant::now() + UNREAD);
                    }
                }
            }
            let at = again.into_iter().chain(look).min();
            tokio::select! {
                biased;
                () = self.more.notified() => {}
                () = async { match at { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Reads the next of what waits back from the archive; whether there is more to do at once. If not, it is notified when there is.
    async fn refill(&self, hand: &Hand, policy: &Arc<Policy>) -> Result<bool, ArchiveError> {
        let reading = Arc::new(self.lock().begin_reading());
        let read = self.read(hand, policy, &reading).await;
        let mut inner = self.lock();
        inner.since = None;
        if !matches!(read, Ok(true)) {
            // Nothing that came can be begun now: what is tried again need not leave it its turn, and would be asked after without end.
            inner.was_again = false;
        }
        if read.is_ok() {
            inner.unread = None;
        }
        drop(inner);
        read
    }

    /// Says why what waits cannot be read, once for as long as that is so.
    fn tell_unread(&self, hand: &Hand, why: &ArchiveError) {
        let why = why.to_string();
        let mut inner = self.lock();
        if inner.unread.as_ref() == Some(&why) {
            return;
        }
        inner.unread = Some(why.clone());
        drop(inner);
        hand.announcer.warn(format!(
            "what waits to be forwarded cannot be read, so nothing is forwarded until it can, which is tried again and again: {why}"
        ));
    }

    async fn read(&self, hand: &Hand, policy: &Arc<Policy>, reading: &Arc<Reading>) -> Result<bool, ArchiveError> {
        let mut cursor = None;
        loop {
            let Part { found, unreadable, next } = page(hand, policy, cursor, reading).await?;
            for (id, why) in &unreadable {
                hand.announcer.warn(format!(
                    "{id} waits to be forwarded and cannot be read, so it is passed over: {why}; `healthie-tunnel store check` says what else is damaged"
                ));
            }
            let none = found.is_empty();
            let more = {
                let mut inner = self.lock();
                inner.busy.extend(unreadable.into_iter().map(|(id, _)| id));
                inner.take_in(found, &next, reading)
            };
            match next {
                Next::At(next) if none => cursor = Some(next),
                _ => return Ok(more),
            }
        }
    }
}

#[cfg(test)]
mod tests;
