//! One delivery handed to one target, recorded and told about: what the intake, the backlog and replays share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tunnel_archive::ArchiveError;
use tunnel_delivery::{Attempt, Cause, Delivery, DeliveryId, ErrorKind, Headers, Stored, Summary};
use tunnel_protocol::{AnswerBody, AnswerFailure};
use tunnel_signature::Match;

use crate::exec::Exec;
use crate::forward::{self, Attempted, Client, How, Interrupt, Marks, Outgoing, TargetUrl};
use crate::keep::Keep;
use crate::notice::{Announcer, Notice, Tried, millis};
use crate::signing::{ForwardAs, Signing};

/// What handing over needs.
#[derive(Clone)]
pub struct Hand {
    /// The HTTP client.
    pub client: Client,
    /// The secrets, for copies that are signed again.
    pub signing: Arc<Signing>,
    /// Where attempts are kept.
    pub keep: Arc<dyn Keep>,
    /// Who is told.
    pub announcer: Announcer,
    /// How long a handler may take.
    pub limit: Duration,
    /// Whether handlers are told about the attempt in lines of our own.
    pub marks: bool,
    /// Ends commands that are under way; the client has the same.
    pub interrupt: Interrupt,
}

/// One try at handing something over.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// Why it is made.
    pub cause: Cause,
    /// Which one it is, from 1.
    pub number: u32,
    /// Whether the sender waits for the answer.
    pub for_sender: bool,
}

impl Hand {
    /// Makes one attempt, within the handler's limit; a sender that waits may give up sooner. Nothing is recorded yet.
    pub async fn over(
        &self,
        delivery: &Delivery,
        matched: Option<&Match>,
        to: &TargetUrl,
        forward_as: Option<ForwardAs>,
        how: Try,
    ) -> Attempted {
        let out = self.marked(self.signing.outgoing(delivery, matched, to, forward_as), delivery.id, how);
        let Try { cause, for_sender, .. } = how;
        forward::attempt(&self.client, to, &out, How { cause, limit: self.limit, for_sender }).await
    }

    /// Gives a delivery to a command, which counts as an answer to the sender only by how it ended: what it prints is the developer's own.
    pub async fn command(&self, exec: &Exec, stored: &Stored, how: Try) -> Attempted {
        let attempt = exec.run(stored, how.number, how.cause, &self.interrupt).await;
        let answer = match attempt.error.as_ref().map(|e| e.kind) {
            Some(ErrorKind::Timeout) => Err(AnswerFailure::Timeout),
            ended => {
                let status = if ended.is_none() { 200 } else { 500 };
                Ok(AnswerBody { status, headers: Headers::default(), body_len: 0, body: Bytes::new() })
            }
        };
        Attempted { attempt, answer }
    }

    /// The request with the lines that tell about the attempt, where they are wanted.
    pub fn marked(&self, out: Outgoing, delivery: DeliveryId, how: Try) -> Outgoing {
        let marks = Marks { delivery, attempt: how.number, replay: how.cause == Cause::Replay };
        out.marked(self.marks.then_some(marks))
    }

    /// Records an attempt, in a commit of its own if need be, and then tells about it: whoever reads of it finds it in the archive.
    ///
    /// # Errors
    /// The archive could not keep it; that was told as a warning too.
    pub async fn record(&self, before: &Summary, attempt: Attempt) -> Result<(), ArchiveError> {
        let tried = Tried::new(before, &attempt);
        let kept = self.keep.record(before.id, attempt).await;
        self.tell(tried, kept)
    }

    /// As [`Hand::record`], with the archive's next commit: nobody's answer depends on it any more. `again` is when it is made again, where it is.
    ///
    /// # Errors
    /// Likewise.
    pub async fn record_with_next(
        &self,
        before: &Summary,
        attempt: Attempt,
        again: Option<Duration>,
    ) -> Result<(), ArchiveError> {
        let tried = Tried { again_in_ms: again.map(millis), ..Tried::new(before, &attempt) };
        let kept = self.keep.record_with_next(before.id, attempt).await;
        self.tell(tried, kept)
    }

    fn tell(&self, tried: Tried, kept: Result<u32, ArchiveError>) -> Result<(), ArchiveError> {
        let id = tried.delivery;
        self.announcer.tell(Notice::Attempt(tried));
        if let Err(e) = &kept {
            self.announcer.warn(format!("an attempt at {id} was not recorded: {e}"));
        }
        kept.map(|_| ())
    }
}
