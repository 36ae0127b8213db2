//! Removing in slices: what retention does not keep, and what somebody named. Each slice is one batch, so that what is to be written
//! meanwhile waits for no more than that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tunnel_delivery::{AnswerClass, DeliveryId, Timestamp};

use crate::engine::Fault;
use crate::keep::{Keep, Removed, Spare, Trimmed};
use crate::keys;
use crate::ledger::{Ledger, Refusal};
use crate::query::Order;
use crate::record::Entry;

/// How long a slice may take before its commit. One delivery more may take longer: its body is read.
const SLICE: Duration = Duration::from_millis(3);

/// What was received within this time stays: a relay that crashed may send it again, and then it must be known.
const JUST_NOW: Duration = Duration::from_secs(60);

/// Applying limits, oldest first.
pub(crate) struct Trim {
    keep: Keep,
    now: Timestamp,
    /// Everything before this was looked at.
    next: DeliveryId,
    pub(crate) done: Trimmed,
}

impl Trim {
    pub(crate) fn new(keep: Keep, now: Timestamp) -> Trim {
        Trim { keep, now, next: DeliveryId::from_bytes([0; 16]), done: Trimmed::default() }
    }

    /// Goes on for a while. Returns whether all is done.
    pub(crate) fn slice(&mut self, ledger: &mut Ledger<'_>) -> Result<bool, Fault> {
        let until = Instant::now() + SLICE;
        let too_old = self.keep.age.map(|age| DeliveryId::first_at(self.now.earlier(age)));
        let mut walk = keys::LINES.walk(self.next.as_bytes(), &[255; 16], Order::OldestFirst);
        while !ledger.batch.is_full() && Instant::now() < until {
            let c = &ledger.counters;
            let over = self.keep.count.is_some_and(|count| c.deliveries > count)
                || self.keep.bytes.is_some_and(|bytes| c.record_bytes > bytes);
            let Some((key, line)) = walk.next(&ledger.batch)? else { return Ok(true) };
            let Some(id) = DeliveryId::from_slice(&key) else { continue };
            if !over && too_old.is_none_or(|limit| id >= limit) {
                return Ok(true);
            }
            self.next = following(id);
            // A line that cannot be read is a matter for check and repair, not for this.
            let Ok(entry) = Entry::from_bytes(id, &line) else { continue };
            if Ledger::is_kept(&entry) || self.now.since(entry.summary.received_at) < JUST_NOW {
                self.done.spared += 1;
                continue;
            }
            match ledger.remove(id) {
                Ok(None) | Err(Refusal::No(_)) => {}
                Ok(Some(gone)) => {
                    self.done.deliveries += 1;
                    self.done.attempts += gone.attempts;
                    self.done.bytes += gone.bytes;
                }
                Err(Refusal::Fault(fault)) => return Err(fault),
            }
        }
        Ok(false)
    }
}

/// Removing named deliveries.
pub(crate) struct Removal {
    ids: VecDeque<DeliveryId>,
    spare: Spare,
    pub(crate) done: Removed,
}

impl Removal {
    pub(crate) fn new(ids: Vec<DeliveryId>, spare: Spare) -> Removal {
        Removal { ids: ids.into(), spare, done: Removed::default() }
    }

    /// Whether it stays, which is counted. What cannot be read is spared nothing: to remove it is the way to get rid of it.
    fn stays(&mut self, id: DeliveryId, ledger: &Ledger<'_>) -> Result<bool, Fault> {
        if self.spare == Spare::default() {
            return Ok(false);
        }
        let Some(line) = keys::LINES.get(&ledger.batch, id.as_bytes())? else { return Ok(false) };
        let Ok(Entry { summary, .. }) = Entry::from_bytes(id, &line) else { return Ok(false) };
        let stays = if self.spare.pinned && summary.pinned {
            &mut self.done.pinned
        } else if self.spare.queued && summary.answer.class == AnswerClass::Queued {
            &mut self.done.queued
        } else if self.spare.since.is_some_and(|since| summary.received_at >= since) {
            &mut self.done.recent
        } else {
            return Ok(false);
        };
        *stays += 1;
        Ok(true)
    }

    /// Goes on for a while. Returns whether all is done.
    pub(crate) fn slice(&mut self, ledger: &mut Ledger<'_>) -> Result<bool, Fault> {
        let until = Instant::now() + SLICE;
        while !ledger.batch.is_full() && Instant::now() < until {
            let Some(id) = self.ids.pop_front() else { return Ok(true) };
            if self.stays(id, ledger)? {
                continue;
            }
            match ledger.remove(id) {
                Ok(gone) => self.done.removed += u64::from(gone.is_some()),
                Err(Refusal::No(_)) => {}
                Err(Refusal::Fault(fault)) => return Err(fault),
            }
        }
        Ok(self.ids.is_empty())
    }
}

/// The first id after this one. The greatest of all has none and is looked at again, which does no harm.
fn following(id: DeliveryId) -> DeliveryId {
    DeliveryId::from_bytes(u128::from_be_bytes(*id.as_bytes()).saturating_add(1).to_be_bytes())
}
