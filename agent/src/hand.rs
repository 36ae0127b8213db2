//! One delivery handed to one target, recorded and told about: what the intake, the backlog and replays share.

use std::sync::Arc;
use std::time::Duration;

use tunnel_archive::{Archive, ArchiveError};
use tunnel_delivery::{Attempt, Cause, Delivery, Summary};
use tunnel_signature::Match;

use crate::forward::{self, Attempted, Client, How, TargetUrl};
use crate::notice::{Announcer, Notice, Tried};
use crate::signing::{ForwardAs, Signing};

/// What handing over needs.
#[derive(Clone)]
pub struct Hand {
    /// The HTTP client.
    pub client: Client,
    /// The secrets, for copies that are signed again.
    pub signing: Arc<Signing>,
    /// Where attempts are kept.
    pub archive: Archive,
    /// Who is told.
    pub announcer: Announcer,
    /// How long a handler may take.
    pub limit: Duration,
}

impl Hand {
    /// Makes one attempt. Nothing is recorded yet.
    pub async fn over(
        &self,
        delivery: &Delivery,
        matched: Option<&Match>,
        to: &TargetUrl,
        forward_as: Option<ForwardAs>,
        (cause, for_sender): (Cause, bool),
    ) -> Attempted {
        let out = self.signing.outgoing(delivery, matched, to, forward_as);
        forward::attempt(&self.client, to, &out, How { cause, limit: self.limit, for_sender }).await
    }

    /// Records an attempt and tells about it. Returns when it is on the disk.
    ///
    /// # Errors
    /// The archive could not keep it; that was told as a warning too.
    pub async fn record(&self, before: &Summary, attempt: Attempt) -> Result<(), ArchiveError> {
        self.announcer.tell(Notice::Attempt(Tried::new(before, &attempt)));
        let kept = self.archive.record(before.id, attempt).await;
        if let Err(e) = &kept {
            self.announcer.warn(format!("an attempt at {} was not recorded: {e}", before.id));
        }
        kept.map(|_| ())
    }

    /// Records an attempt with the archive's next commit, without waiting for it where there is room.
    pub async fn record_soon(&self, before: &Summary, attempt: Attempt) {
        self.announcer.tell(Notice::Attempt(Tried::new(before, &attempt)));
        let full = match self.archive.record_soon(before.id, attempt.clone()) {
            Err(ArchiveError::Busy) => self.archive.record(before.id, attempt).await.map(|_| ()),
            other => other,
        };
        if let Err(e) = full {
            self.announcer.warn(format!("an attempt at {} was not recorded: {e}", before.id));
        }
    }
}
