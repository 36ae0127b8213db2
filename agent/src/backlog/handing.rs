//! Handing one delivery of the backlog over, to the handler and to the command, and recording it. When its turn is, the backlog says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tunnel_archive::ArchiveError;
use tunnel_delivery::{Attempt, Cause, DeliveryId, Stored};

use super::{Backlog, Due, Job};
use crate::again::{Again, Whom};
use crate::hand::{Hand, Try};
use crate::listen::Chance;
use crate::policy::Policy;
use crate::summary;
use crate::trail::Trail;

/// What it takes to hand one delivery over.
pub(super) struct One {
    pub(super) hand: Hand,
    pub(super) policy: Arc<Policy>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) chance: Chance,
    pub(super) records: Arc<Semaphore>,
}

impl One {
    /// Hands it over, records what came of it, and puts it where it waits to be tried again.
    pub(super) async fn hand_over(self, due: Due, permit: Result<OwnedSemaphorePermit, AcquireError>) {
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
