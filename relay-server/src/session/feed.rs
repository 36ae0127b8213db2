//! What a session sends from the spool: read in portions, sent as far as the agent's window goes, and the gaps between told.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinError;
use tokio::time::Instant;
use tracing::warn;
use tunnel_delivery::Delivery;
use tunnel_protocol::{Gap, GapReason, Incoming, ToAgent};
use tunnel_spool::{DevicePlace, ReadLimit, Seq, SpoolError};

use super::{End, Session, for_agents};
use crate::lines::Line;
use crate::metrics::SessionEnd;

/// How much is taken from the spool at a time.
const READ: ReadLimit = ReadLimit { count: 128, bytes: 1 << 20 };

/// What a read of the spool brought.
pub(super) type Backlog = Result<Vec<(Seq, Arc<Delivery>)>, SpoolError>;

impl Session {
    /// Sends from the backlog as far as the window goes, and sees to it that there is one.
    pub(super) fn fill(&mut self) -> Result<(), End> {
        loop {
            // What is offered was offered before it was spooled, and must reach the agent before its copy from the spool does: the agent forwards the
            // one that comes first for its sender, and the other not at all.
            while let Ok(offer) = self.seat.offers.try_recv() {
                self.ledger.offer(offer, Instant::now());
            }
            while let Some((seq, delivery)) = self.backlog.front() {
                if !self.ledger.has_room(delivery.body.len() as u64) {
                    return Ok(());
                }
                let (seq, delivery) = (*seq, Arc::clone(delivery));
                if delivery.is_sealed() {
                    self.may_have_sealed()?;
                }
                self.tell_dropped(seq);
                if Incoming::fits(&delivery) {
                    self.ledger.send(seq, &delivery, Instant::now());
                } else {
                    // The agent would end the session over it, and get it again, for ever.
                    if self.shared.tells(Line::PassedOver, &self.tunnel) {
                        warn!(tunnel = %self.tunnel, %seq, "a spooled delivery is over the protocol's caps and is passed over");
                    }
                    self.ledger.pass_over(seq, gap(seq, seq, None));
                }
                self.backlog.pop_front();
            }
            if self.reading.is_some() || !self.ledger.has_room(0) {
                return Ok(());
            }
            match self.shared.spool.recent(&self.tunnel, self.ledger.sent(), READ) {
                Some(next) if next.is_empty() => return Ok(()),
                Some(next) => self.backlog.extend(next),
                None => {
                    let (shared, tunnel, after) = (Arc::clone(&self.shared), self.tunnel.clone(), self.ledger.sent());
                    self.reading = Some(self.shared.offload.run(move || shared.spool.read(&tunnel, after, READ)));
                    return Ok(());
                }
            }
        }
    }

    /// A read of the spool is done.
    pub(super) fn was_read(&mut self, read: Result<Backlog, JoinError>) -> Result<(), End> {
        match read {
            Ok(Ok(deliveries)) if deliveries.is_empty() => {
                // All that was to come was dropped, and nothing has come since. Not told, it would be read for again and again.
                if let Some(gap) = self.place().and_then(|place| place.gap) {
                    self.tell_dropped(gap.upto.next());
                }
            }
            Ok(Ok(deliveries)) => self.backlog.extend(deliveries),
            Ok(Err(SpoolError::Unreadable { seq, reason, .. })) => {
                // One damaged record must not keep back all that follow; it is said, here and to the agent.
                if self.shared.tells(Line::PassedOver, &self.tunnel) {
                    warn!(tunnel = %self.tunnel, %seq, reason, "a spooled delivery cannot be read and is passed over");
                }
                self.tell_dropped(seq);
                self.ledger.pass_over(seq, gap(seq, seq, None));
            }
            Ok(Err(e)) => {
                if self.shared.tells(Line::NotRead, &self.tunnel) {
                    warn!(tunnel = %self.tunnel, device = %self.device, error = %e, "the spool cannot be read for an agent");
                }
                return Err(End::Relay(SessionEnd::Spool, for_agents(&e)));
            }
            Err(e) => {
                if self.shared.tells(Line::NotRead, &self.tunnel) {
                    warn!(tunnel = %self.tunnel, device = %self.device, error = %e, "reading the spool failed");
                }
                return Err(End::Relay(
                    SessionEnd::Spool,
                    "the relay cannot read what it has spooled; its operator must look at its log".into(),
                ));
            }
        }
        Ok(())
    }

    /// Where the spool has this device.
    fn place(&self) -> Option<DevicePlace> {
        let devices = self.shared.spool.devices(&self.tunnel).unwrap_or_default();
        devices.into_iter().find(|place| place.device == self.device)
    }

    /// Places are given without holes: what lies between the last that was sent and `next` was dropped while this agent was behind.
    fn tell_dropped(&mut self, next: Seq) {
        let (from, upto) = (self.ledger.sent().next(), next.prev());
        if from > upto {
            return;
        }
        let why = self.place().and_then(|place| place.gap).map(|gap| gap.why);
        if self.shared.tells(Line::Gap, &self.caller.pass.token) {
            warn!(tunnel = %self.tunnel, device = %self.device, %from, %upto, "an agent is told of a gap");
        }
        self.ledger.pass_over(upto, gap(from, upto, why));
    }
}

/// The frame that tells of missing deliveries; without a reason they cannot be read any more.
pub(super) fn gap(from: Seq, upto: Seq, why: Option<tunnel_spool::Why>) -> Bytes {
    let reason = match why {
        Some(tunnel_spool::Why::Age) => GapReason::Age,
        Some(tunnel_spool::Why::Size) => GapReason::Size,
        Some(tunnel_spool::Why::Removed) => GapReason::Removed,
        None => GapReason::Unreadable,
    };
    ToAgent::Gap(Gap { from: from.0, upto: upto.0, count: upto.0 - from.0 + 1, reason }).encode()
}
