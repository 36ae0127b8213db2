//! What happens to a delivery that came down from the relay: receive, open, verify, store durably, acknowledge, announce, forward.
//!
//! Verifying comes before storing so that one commit holds the delivery and its verdict; it is pure computation of a few microseconds and
//! cannot fail. Where the sender waits for the handler's answer, storing and forwarding go on at once, and the answer goes up only when both
//! are done, so that a 2xx still means that the delivery is kept. Deliveries are worked on side by side; where no sender waits, they are announced and forwarded in the order in
//! which they came. What a handler says after the sender's patience is over is recorded all the same.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tunnel_archive::{ArchiveError, Inserted};
use tunnel_delivery::{Attempt, Cause, Delivery, DeliveryId, Stored, Summary};
use tunnel_envelope::KeyRing;
use tunnel_protocol::{Answer, AnswerFailure, Incoming};
use tunnel_signature::Reading;
use tunnel_signature::doctor::Note;
use tunnel_telemetry::Traces;

use crate::backlog::{Backlog, Coming, Job};
use crate::exec::Exec;
use crate::forward::Attempted;
use crate::habit::Habits;
use crate::hand::{Hand, Try};
use crate::inflight::Inflight;
use crate::keep::Keep;
use crate::notice::Notice;
use crate::opening::{self, opened};
use crate::pause::Pause;
use crate::policy::Policy;
use crate::summary;
use crate::trail::Trail;
use crate::turns::{Turn, Turns};

/// How many attempts may go on after their senders have given up: they are outside of the session's window.
pub(crate) const MOST_LATE: usize = 256;

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
    pub(crate) keep: Arc<dyn Keep>,
    /// Which of them are handed on.
    pub(crate) policy: Arc<Policy>,
    /// What opens those that come sealed.
    pub(crate) keys: Option<Arc<KeyRing>>,
    /// How they are handed on.
    pub(crate) hand: Hand,
    /// Whether that is paused.
    pub(crate) pause: Pause,
    /// Those that wait for it.
    pub(crate) backlog: Arc<Backlog>,
    /// Bounds the attempts that go on after their senders have given up.
    pub(crate) late: Semaphore,
    /// How deliveries were signed so far.
    pub(crate) habits: Habits,
    /// What is being forwarded for a sender that waits.
    pub(crate) answering: Answering,
    /// In which order what is stored is announced and forwarded: that in which it came, however long each took.
    pub(crate) turns: Turns,
    /// Where a collector is told of deliveries' ways, or nowhere.
    pub(crate) traces: Traces,
}

/// The deliveries that are being forwarded for senders that wait. Where a tunnel has several devices, the one that answers gets a copy from the spool
/// too; stored a moment before the other, that copy must not be forwarded a second time.
#[derive(Clone, Default)]
pub(crate) struct Answering(Arc<Mutex<HashSet<DeliveryId>>>);

impl Answering {
    fn lock(&self) -> MutexGuard<'_, HashSet<DeliveryId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: DeliveryId) -> OneAnswering {
        self.lock().insert(id);
        OneAnswering(self.clone(), id)
    }

    fn has(&self, id: DeliveryId) -> bool {
        self.lock().contains(&id)
    }
}

/// Held while one of them is.
struct OneAnswering(Answering, DeliveryId);

impl Drop for OneAnswering {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Intake {
    /// Takes one delivery, whole. `done` is the session's; it has room for everything that the session lets in. To be called in the order in which
    /// deliveries come; what it returns may then run in any order.
    pub(crate) fn take(
        self: Arc<Self>,
        incoming: Incoming,
        done: mpsc::Sender<Done>,
        inflight: Inflight,
    ) -> impl Future<Output = ()> + Send {
        let id = incoming.delivery.id;
        let answering = incoming.answer_within.map(|_| self.answering.begin(id));
        let answered_elsewhere = answering.is_none() && self.answering.has(id);
        let turn = incoming.answer_within.is_none().then(|| (self.turns.next(), self.backlog.coming(id)));
        self.taking(incoming, done, inflight, (answering, answered_elsewhere), turn)
    }

    async fn taking(
        self: Arc<Self>,
        incoming: Incoming,
        done: mpsc::Sender<Done>,
        inflight: Inflight,
        (answering, answered_elsewhere): (Option<OneAnswering>, bool),
        turn: Option<(Turn, Coming)>,
    ) {
        // Receive.
        let Incoming { n, seq, answer_within, body_len: len, delivery, traceparent } = incoming;
        let receipt = Receipt { n, seq, len };
        let trail = Trail::begin(&self.traces, &delivery, traceparent.as_deref(), crate::listen::clock);

        // Open.
        let delivery = match opened(&delivery, self.keys.as_deref()) {
            Ok(delivery) => delivery,
            Err(why) => return self.keep_shut(delivery, why, receipt, turn, done).await,
        };

        // Verify.
        let from = Instant::now();
        let checked = self.hand.signing.check(&delivery);
        trail.part("verify", from, None);
        let reading = checked.matched.as_ref().map(|m| m.reading);
        let event = tunnel_catalogue::read(&delivery.body);
        let name = event.as_ref().map(|e| e.event_type.as_str());
        let target = self.policy.target(name, checked.verdict.status).filter(|_| !answered_elsewhere);
        let command = self.policy.command(name, checked.verdict.status).filter(|_| !answered_elsewhere);

        // Store.
        let due = answer_within.is_none() && (target.is_some() || command.is_some());
        let mut line = summary::of_new(&delivery, event.as_ref(), &checked.verdict, None, due);
        // Where somebody waits for it, a command is given the delivery as it is being stored.
        let given = command.filter(|_| answer_within.is_some()).map(|_| Stored {
            delivery: (*delivery).clone(),
            body_sha256: checked.body_sha256,
            event: event.clone(),
            signature: checked.verdict.clone(),
            duplicate_of: None,
            repeats: Vec::new(),
            pinned: false,
            note: None,
            attempts: Vec::new(),
        });
        let from = Instant::now();
        let insert = self.keep.insert(tunnel_archive::Intake {
            delivery: Arc::clone(&delivery),
            body_sha256: checked.body_sha256,
            event,
            signature: checked.verdict,
            queued: due,
        });

        if let Some((turn, coming)) = turn {
            let stored = insert.await;
            let failed = stored.is_err().then_some("not_stored");
            trail.part("store", from, failed);
            trail.taken(failed);
            // Acknowledge.
            match &stored {
                Ok(_) => drop(done.send(Done::Taken(receipt)).await),
                Err(e) => drop(done.send(Done::NotStored(e.clone())).await),
            }
            let mine = turn.come().await;
            let is_new = matches!(stored, Ok(Inserted::New { .. }));
            // One that was there already is forwarded by whoever stored it, or by the backlog at the start.
            if let Ok(Inserted::New { duplicate_of }) = stored {
                // Announce.
                line.duplicate_of = duplicate_of.map(|d| d.id);
                self.announce(&line);
                // Forward.
                if due {
                    let (delivery, matched) = (Arc::clone(&delivery), checked.matched);
                    let (target, command) = (target.cloned(), command.cloned());
                    self.backlog.push(Job { delivery, matched, target, command, summary: line, trail: trail.clone() });
                }
            }
            // Before the next one's turn: if it is to be read back after all, so is whatever comes behind it.
            drop(coming);
            drop(mine);
            if is_new {
                self.compare(&delivery, reading).await;
            }
            return;
        }

        let store = async {
            let stored = insert.await;
            trail.part("store", from, stored.is_err().then_some("not_stored"));
            let stored = stored?;
            if let Inserted::New { duplicate_of } = stored {
                line.duplicate_of = duplicate_of.map(|d| d.id);
                self.announce(&line);
            }
            Ok::<Summary, ArchiveError>(line)
        };
        // Asked once: what was begun before a pause goes on. While it is paused the sender is told to send again, and so the delivery does not wait
        // here too: it would be handled twice. Nor is another agent asked instead. Who pauses wants to see what comes before a handler does, not that it is
        // handled on somebody else's machine; and an agent that is there beside this one has its own copy from the spool.
        let paused = (target.is_some() || command.is_some()) && self.pause.is_on();
        let command = command.filter(|_| !paused).zip(given.as_ref());
        let forward = async {
            let how = Try { cause: Cause::Forward, number: 1, for_sender: true };
            let (Some(target), matched) = (target.filter(|_| !paused), checked.matched.as_ref()) else {
                let (exec, stored) = command.filter(|_| target.is_none())?;
                return Some(self.hand.command(exec, stored, how).await);
            };
            Some(self.hand.over(&delivery, matched, target, self.policy.forward_as, how).await)
        };
        tokio::pin!(forward);
        let in_time = tokio::time::timeout(answer_within.unwrap_or(Duration::MAX), forward.as_mut());
        let (stored, in_time) = tokio::join!(store, in_time);
        // From here on the archive knows a second copy.
        drop(answering);
        let is_late = in_time.is_err();
        let (attempt, outcome) = match in_time {
            Ok(Some(a)) => (Some(a.attempt), a.answer),
            Ok(None) if paused => (None, Err(AnswerFailure::Paused)),
            Ok(None) => (None, Err(AnswerFailure::NotForwarded)),
            Err(_) => (None, Err(AnswerFailure::Timeout)),
        };
        trail.taken(match (&stored, &outcome) {
            (Err(_), _) => Some("not_stored"),
            (Ok(_), Err(_)) => Some("not_answered"),
            (Ok(_), Ok(_)) => None,
        });
        match stored {
            Ok(mut line) => {
                drop(done.send(Done::Answered(receipt, Answer { n, outcome })).await);
                let attempt = if is_late { self.late(&line, forward).await } else { attempt };
                if let Some(attempt) = attempt {
                    trail.attempt(&attempt);
                    let after = summary::after(line.clone(), &attempt);
                    // A failure is told as a warning; the sender has its answer.
                    drop(self.hand.record_with_next(&line, attempt, None).await);
                    line = after;
                }
                if let (Some(_), Some((exec, stored))) = (target, command) {
                    self.besides(&line, exec, stored).await;
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

    /// Stores a delivery that cannot be opened, and says so. Where its sender waits (and it has no turn) it is not stored: the sender is told to send it again.
    async fn keep_shut(
        &self,
        delivery: Arc<Delivery>,
        why: String,
        receipt: Receipt,
        turn: Option<(Turn, Coming)>,
        done: mpsc::Sender<Done>,
    ) {
        let tell = |kept| {
            self.hand.announcer.tell(Notice::Unopened { id: delivery.id, reason: why.clone(), kept });
        };
        let Some((turn, coming)) = turn else {
            tell(false);
            let answer = Answer { n: receipt.n, outcome: Err(AnswerFailure::NotStored) };
            return drop(done.send(Done::Answered(receipt, answer)).await);
        };
        let verdict = opening::verdict(&why);
        let mut line = summary::of_new(&delivery, None, &verdict, None, false);
        let stored = self.keep.insert(tunnel_archive::Intake {
            delivery: Arc::clone(&delivery),
            body_sha256: tunnel_signature::sha256(&delivery.body),
            event: None,
            signature: verdict,
            queued: false,
        });
        match stored.await {
            Ok(inserted) => {
                drop(done.send(Done::Taken(receipt)).await);
                let mine = turn.come().await;
                if let Inserted::New { duplicate_of } = inserted {
                    line.duplicate_of = duplicate_of.map(|d| d.id);
                    self.announce(&line);
                    tell(true);
                }
                drop(coming);
                drop(mine);
            }
            Err(e) => {
                drop(done.send(Done::NotStored(e)).await);
                let mine = turn.come().await;
                drop(coming);
                drop(mine);
            }
        }
    }

    /// What the handler still says after the sender has given up, within the handler's own limit.
    async fn late(&self, line: &Summary, forward: impl Future<Output = Option<Attempted>>) -> Option<Attempt> {
        let Ok(_one_of_few) = self.late.try_acquire() else {
            self.hand
                .announcer
                .warn(format!("too many handlers are late: what becomes of {} is not waited for", line.id));
            return None;
        };
        let attempt = forward.await?.attempt;
        if let Some(status) = attempt.status {
            let after = attempt.duration.as_secs_f64();
            let text = format!(
                "the handler answered {} with {status} after {after:.1} s; its sender had been told by then that no answer came",
                line.id
            );
            self.hand.announcer.warn(text);
        }
        Some(attempt)
    }

    /// Gives a delivery that a handler has answered to the command as well: its sender does not wait for that.
    async fn besides(&self, line: &Summary, exec: &Exec, stored: &Stored) {
        let Ok(_one_of_few) = self.late.try_acquire() else {
            self.hand.announcer.warn(format!("too many commands are under way: {} is not given to one", line.id));
            return;
        };
        let how = Try { cause: Cause::Forward, number: line.attempts + 1, for_sender: false };
        let attempt = self.hand.command(exec, stored, how).await.attempt;
        drop(self.hand.record_with_next(line, attempt, None).await);
    }

    /// Points out a valid delivery that is signed otherwise than those before it. After everything else: nobody waits for it.
    async fn compare(&self, delivery: &Delivery, reading: Option<Reading>) {
        let Some(now) = reading else { return };
        if let Some(before) = self.habits.see(&self.keep, delivery, now).await {
            let note = Note::OtherReading { before, now };
            self.hand.announcer.warn(format!("{note} It is {}.", delivery.id));
        }
    }

    fn announce(&self, line: &Summary) {
        self.hand.announcer.tell(Notice::Delivery(Arc::new(line.clone())));
    }
}
