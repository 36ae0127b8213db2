//! What happens to a delivery that came down from the relay: receive, verify, store durably, acknowledge, announce, forward.
//!
//! Verifying comes before storing so that one commit holds the delivery and its verdict; it is pure computation of a few microseconds and
//! cannot fail. Where the sender waits for the handler's answer, storing and forwarding go on at once, and the answer goes up only when both
//! are done, so that a 2xx still means that the delivery is kept.

use std::sync::Arc;

use tokio::sync::mpsc;
use tunnel_archive::{Archive, ArchiveError, Inserted};
use tunnel_delivery::{Cause, Delivery, Summary};
use tunnel_protocol::{Answer, AnswerFailure, Incoming};
use tunnel_signature::Reading;
use tunnel_signature::doctor::Note;

use crate::backlog::{Backlog, Job};
use crate::habit::Habits;
use crate::hand::Hand;
use crate::inflight::Inflight;
use crate::notice::Notice;
use crate::policy::Policy;
use crate::summary;

/// How far a delivery got, told to the session it came in.
#[derive(Debug)]
pub(crate) enum Done {
    /// It is stored.
    Taken(Receipt),
    /// It is stored, or could not be, and this goes to its sender.
    Answered(Receipt, Answer),
    /// It is not stored.
    NotStored(ArchiveError),
}

/// What the session must know to take a delivery off its books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Its number in the session.
    pub(crate) n: u64,
    /// Its place in the stream.
    pub(crate) seq: Option<u64>,
    /// The length of its body in bytes.
    pub(crate) len: u64,
}

/// Takes deliveries in.
pub(crate) struct Intake {
    /// Where they are kept.
    pub(crate) archive: Archive,
    /// Which of them are handed on.
    pub(crate) policy: Arc<Policy>,
    /// How they are handed on.
    pub(crate) hand: Hand,
    /// Those that wait for it.
    pub(crate) backlog: Arc<Backlog>,
    /// How deliveries were signed so far.
    pub(crate) habits: Habits,
}

impl Intake {
    /// Takes one delivery, whole. `done` is the session's; it has room for everything that the session lets in.
    pub(crate) async fn take(self: Arc<Self>, incoming: Incoming, done: mpsc::Sender<Done>, inflight: Inflight) {
        // Receive.
        let Incoming { n, seq, answer_within, body_len: len, delivery } = incoming;
        let receipt = Receipt { n, seq, len };

        // Verify.
        let checked = self.hand.signing.check(&delivery);
        let reading = checked.matched.as_ref().map(|m| m.reading);
        let event = tunnel_catalogue::read(&delivery.body);
        let target = self.policy.target(event.as_ref().map(|e| e.event_type.as_str()), checked.verdict.status);

        // Store.
        let due = answer_within.is_none() && target.is_some();
        let mut line = summary::of_new(&delivery, event.as_ref(), &checked.verdict, None, due);
        let insert = self.archive.insert(tunnel_archive::Intake {
            delivery: Arc::clone(&delivery),
            body_sha256: checked.body_sha256,
            event,
            signature: checked.verdict,
            queued: due,
        });

        if answer_within.is_none() {
            let stored = insert.await;
            // Acknowledge.
            match &stored {
                Ok(_) => drop(done.send(Done::Taken(receipt)).await),
                Err(e) => drop(done.send(Done::NotStored(e.clone())).await),
            }
            // One that was there already is forwarded by whoever stored it, or by the backlog at the start.
            if let Ok(Inserted::New { duplicate_of }) = stored {
                // Announce.
                line.duplicate_of = duplicate_of.map(|d| d.id);
                self.announce(&line);
                // Forward.
                if let Some(target) = target {
                    let (delivery, matched, target) = (Arc::clone(&delivery), checked.matched, target.clone());
                    self.backlog.push(Job { delivery, matched, target, summary: line });
                }
                self.compare(&delivery, reading).await;
            }
            return;
        }

        let store = async {
            let stored = insert.await?;
            if let Inserted::New { duplicate_of } = stored {
                line.duplicate_of = duplicate_of.map(|d| d.id);
                self.announce(&line);
            }
            Ok::<Summary, ArchiveError>(line)
        };
        let forward = async {
            let target = target?;
            let (matched, how) = (checked.matched.as_ref(), (Cause::Forward, answer_within));
            Some(self.hand.over(&delivery, matched, target, self.policy.forward_as, how).await)
        };
        let (stored, attempted) = tokio::join!(store, forward);
        let (attempt, outcome) = match attempted {
            Some(a) => (Some(a.attempt), a.answer),
            None => (None, Err(AnswerFailure::NotForwarded)),
        };
        match stored {
            Ok(line) => {
                drop(done.send(Done::Answered(receipt, Answer { n, outcome })).await);
                if let Some(attempt) = attempt {
                    // A failure is told as a warning; the sender has its answer.
                    drop(self.hand.record_with_next(&line, attempt).await);
                }
                self.compare(&delivery, reading).await;
            }
            Err(e) => {
                let outcome = Err(AnswerFailure::NotStored);
                drop(done.send(Done::Answered(receipt, Answer { n, outcome })).await);
                drop(done.send(Done::NotStored(e)).await);
            }
        }
        drop(inflight);
    }

    /// Points out a valid delivery that is signed otherwise than those before it. After everything else: nobody waits for it.
    async fn compare(&self, delivery: &Delivery, reading: Option<Reading>) {
        let Some(now) = reading else { return };
        if let Some(before) = self.habits.see(&self.archive, delivery, now).await {
            let note = Note::OtherReading { before, now };
            self.hand.announcer.warn(format!("{note} It is {}.", delivery.id));
        }
    }

    fn announce(&self, line: &Summary) {
        self.hand.announcer.tell(Notice::Delivery(Arc::new(line.clone())));
    }
}
