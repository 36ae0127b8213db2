//! What waits for the writer: bounded by weight, with one place where a writer waits and one where callers wait for room.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tunnel_delivery::{Attempt, DeliveryId, Timestamp};

use crate::compact::Compacted;
use crate::error::ArchiveError;
use crate::keep::{Keep, Removed, Spare, Trimmed};
use crate::ledger::{Inserted, Intake};

/// How much may wait, in KiB. One thing heavier than that waits alone.
const ROOM: usize = 8 * 1024;

/// How long what nobody's answer depends on may wait for company.
const LINGER: Duration = Duration::from_millis(10);

/// How long callers who wait may be kept for as many as came together the last time. A commit costs about as much for one delivery as
/// for twenty: where several senders each wait for their answer, they are served sooner together. One that is alone never waits.
const GATHER: Duration = Duration::from_micros(600);

pub(crate) type Reply<T> = oneshot::Sender<Result<T, ArchiveError>>;

/// Whether a commit is made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Somebody's answer depends on it.
    Now,
    /// It goes with the next one, or with one of its own after [`LINGER`].
    Soon,
}

/// Something for the writer to do.
pub(crate) enum Work {
    Insert(Box<Intake>, Reply<Inserted>),
    Record(DeliveryId, Box<Attempt>, Haste, Option<Reply<u32>>),
    SetPinned(DeliveryId, bool, Reply<()>),
    SetNote(DeliveryId, Option<String>, Reply<()>),
    Retain(Keep, Timestamp, Reply<Trimmed>),
    Remove(Vec<DeliveryId>, Spare, Reply<Removed>),
    Compact(Reply<Compacted>),
}

impl Work {
    /// Roughly how many bytes it takes, here and on the disk.
    pub(crate) fn weight(&self) -> usize {
        let headers = |h: &tunnel_delivery::Headers| h.iter().map(|l| l.name.len() + l.value.len() + 8).sum::<usize>();
        1024 + match self {
            // The event repeats what is in the body.
            Work::Insert(intake, _) => 2 * intake.delivery.body.len() + headers(&intake.delivery.headers),
            Work::Record(_, attempt, ..) => attempt.response_body.len() + headers(&attempt.response_headers),
            Work::SetPinned(..) | Work::Retain(..) | Work::Compact(_) => 0,
            Work::Remove(ids, ..) => 16 * ids.len(),
            Work::SetNote(_, note, _) => note.as_ref().map_or(0, String::len),
        }
    }

    fn is_urgent(&self) -> bool {
        !matches!(self, Work::Record(_, _, Haste::Soon, _))
    }

    /// Tells whoever waits that it was not done.
    pub(crate) fn refuse(self, error: ArchiveError) {
        // Whoever gave up waiting needs no answer.
        match self {
            Work::Insert(_, reply) => drop(reply.send(Err(error))),
            Work::Record(_, _, _, Some(reply)) => drop(reply.send(Err(error))),
            Work::Record(id, _, _, None) => tracing::warn!(%id, %error, "an attempt was not stored"),
            Work::SetPinned(_, _, reply) | Work::SetNote(_, _, reply) => drop(reply.send(Err(error))),
            Work::Retain(_, _, reply) => drop(reply.send(Err(error))),
            Work::Remove(_, _, reply) => drop(reply.send(Err(error))),
            Work::Compact(reply) => drop(reply.send(Err(error))),
        }
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Work, OwnedSemaphorePermit)>,
    /// How many of them somebody waits for.
    urgent: usize,
    /// How many of them there were the last time.
    company: usize,
    /// When the first of them came.
    urgent_since: Option<Instant>,
    /// When the oldest thing began to wait.
    since: Option<Instant>,
    /// Why nothing more is taken.
    end: Option<ArchiveError>,
}

/// The writer's queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue { state: Mutex::default(), arrived: Condvar::new(), room: Arc::new(Semaphore::new(ROOM)) }
    }

    /// Waits for room and puts it in line.
    pub(crate) async fn push(&self, work: Work) -> Result<(), ArchiveError> {
        let permit = Arc::clone(&self.room).acquire_many_owned(permits(&work)).await;
        let Ok(permit) = permit else { return Err(self.ended()) };
        self.put(work, permit)
    }

    /// Puts it in line if there is room.
    pub(crate) fn try_push(&self, work: Work) -> Result<(), ArchiveError> {
        match Arc::clone(&self.room).try_acquire_many_owned(permits(&work)) {
            Ok(permit) => self.put(work, permit),
            Err(TryAcquireError::NoPermits) => Err(ArchiveError::Busy),
            Err(TryAcquireError::Closed) => Err(self.ended()),
        }
    }

    fn put(&self, work: Work, permit: OwnedSemaphorePermit) -> Result<(), ArchiveError> {
        let mut state = self.state();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        let urgent = work.is_urgent();
        state.since.get_or_insert_with(Instant::now);
        if urgent {
            state.urgent += 1;
            state.urgent_since.get_or_insert_with(Instant::now);
        }
        let wake = state.waiting.is_empty() || (urgent && (state.urgent == 1 || state.urgent >= state.company));
        state.waiting.push_back((work, permit));
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for something to do and takes all of it; `None` when nothing more will come. The permits say how much is under way and
    /// go when it is done.
    pub(crate) fn take(&self) -> Option<VecDeque<(Work, OwnedSemaphorePermit)>> {
        let mut state = self.state();
        loop {
            if state.waiting.is_empty() {
                if state.end.is_some() {
                    return None;
                }
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let pause = match state.urgent_since {
                _ if state.end.is_some() || self.room.available_permits() < ROOM / 2 => Duration::ZERO,
                Some(_) if state.urgent >= state.company => Duration::ZERO,
                Some(since) => GATHER.saturating_sub(since.elapsed()),
                None => LINGER.saturating_sub(state.since.map_or(LINGER, |since| since.elapsed())),
            };
            if pause.is_zero() {
                // Half of the company that was: where fewer come from now on, nobody is waited for in vain for long.
                state.company = state.urgent.max(state.company / 2);
                state.urgent = 0;
                state.urgent_since = None;
                state.since = None;
                return Some(std::mem::take(&mut state.waiting));
            }
            let (next, _) = self.arrived.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
    }

    /// Takes what waits, if need be after waiting for this long, and be it nothing; `None` when nothing more will come. For a writer that has
    /// something else to do.
    pub(crate) fn take_within(&self, pause: Duration) -> Option<VecDeque<(Work, OwnedSemaphorePermit)>> {
        let mut state = self.state();
        if state.waiting.is_empty() && state.end.is_none() && !pause.is_zero() {
            state = self.arrived.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.waiting.is_empty() && state.end.is_some() {
            return None;
        }
        state.company = state.urgent.max(state.company / 2);
        state.urgent = 0;
        state.urgent_since = None;
        state.since = None;
        Some(std::mem::take(&mut state.waiting))
    }

    /// Takes nothing more, for this reason. What waits is still taken out.
    pub(crate) fn end(&self, reason: ArchiveError) {
        self.state().end.get_or_insert(reason);
        self.room.close();
        self.arrived.notify_one();
    }

    /// Why nothing is taken any more.
    pub(crate) fn ended(&self) -> ArchiveError {
        self.state().end.clone().unwrap_or(ArchiveError::Closed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn permits(work: &Work) -> u32 {
    // At most ROOM, which fits.
    u32::try_from((work.weight() / 1024).clamp(1, ROOM)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin() -> Work {
        Work::SetPinned(DeliveryId::from_bytes([0; 16]), true, oneshot::channel().0)
    }

    #[test]
    fn a_full_queue_says_so_and_an_ended_one_why() {
        let queue = Queue::new();
        for _ in 0..ROOM {
            queue.try_push(pin()).unwrap();
        }
        assert!(matches!(queue.try_push(pin()), Err(ArchiveError::Busy)));
        assert_eq!(queue.take().map(|taken| taken.len()), Some(ROOM));
        queue.try_push(pin()).unwrap();
        queue.end(ArchiveError::Closed);
        assert!(matches!(queue.try_push(pin()), Err(ArchiveError::Closed)));
        assert_eq!(queue.take().map(|taken| taken.len()), Some(1));
        assert!(queue.take().is_none());
    }
}
