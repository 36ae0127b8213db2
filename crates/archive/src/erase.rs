//! Removing a delivery with everything that belongs to it. Long requests and attempts are many pieces: those go piece by piece
//! afterwards, under a mark that says so; what lists and look-ups show is gone at once, in one batch.

use tunnel_delivery::{AnswerClass, DeliveryId};

use crate::index;
use crate::keys;
use crate::ledger::{Ledger, Refusal, fingerprint};
use crate::pending::{Kv as _, Pending, piece_count};
use crate::piece::Piece;
use crate::postings;
use crate::reader::{self, ReadError};
use crate::record::Entry;

/// As many pieces and fewer are removed together with the rest.
const AT_ONCE: u32 = 16;

/// What went with a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Gone {
    pub(crate) attempts: u64,
    /// Bytes of records.
    pub(crate) bytes: u64,
}

impl Ledger<'_> {
    /// Removes a delivery. `None` if it is not there.
    pub(crate) fn remove(&mut self, id: DeliveryId) -> Result<Option<Gone>, Refusal> {
        let Some(line) = keys::LINES.get(&self.batch, id.as_bytes())? else { return Ok(None) };
        let entry = Entry::from_bytes(id, &line).map_err(|u| self.unreadable(id, u))?;
        let summary = &entry.summary;
        let mut bytes = line.len() as u64;
        // Only the first of its kind has a fingerprint in the index, and only its request tells which.
        if summary.duplicate_of.is_none() {
            match reader::whole(&self.batch, id) {
                Ok(Some(whole)) => {
                    let print = fingerprint(&whole.delivery, &whole.body_sha256);
                    for (prefix, entry) in index::hashed(self.batch.veil(), &keys::FINGERPRINT, print, id) {
                        postings::remove(&mut self.batch, &prefix, &entry)?;
                    }
                }
                Ok(None) => {}
                Err(ReadError::Fault(fault)) => return Err(fault.into()),
                // What cannot be read can be removed; its fingerprint goes when it is too old to matter.
                Err(ReadError::Unreadable(what)) => tracing::warn!(%id, what = what.0, "removing what cannot be read"),
            }
        }
        let veil = self.batch.veil();
        for (prefix, entry) in index::of(summary, veil).into_iter().chain(index::other_form(summary, veil)) {
            postings::remove(&mut self.batch, &prefix, &entry)?;
        }
        if let Some(first) = summary.duplicate_of {
            self.count_repeats(first, |repeats| repeats.saturating_sub(1))?;
        }
        match entry.request_len {
            None => {
                let request = keys::REQUESTS.remove(&mut self.batch, id.as_bytes())?;
                bytes += request.map_or(0, |request| request.len() as u64);
            }
            Some(len) => {
                self.remove_pieces(&keys::request(id), len)?;
                bytes += len;
            }
        }
        let mut attempts = 0;
        for number in 1..=summary.attempts {
            let on_shelf = keys::ATTEMPTS.remove(&mut self.batch, &keys::attempt(id, number))?;
            attempts += u64::from(on_shelf.is_some());
            match on_shelf.as_deref().and_then(<[u8]>::split_first) {
                Some((1, len)) => {
                    let len = len.try_into().map(u64::from_be_bytes).unwrap_or(0);
                    self.remove_pieces(&keys::attempt_pieces(id, number), len)?;
                    bytes += len;
                }
                Some((_, attempt)) => bytes += attempt.len() as u64,
                None => {}
            }
        }
        if let Some(len) = entry.note_len {
            self.batch.remove_all(&keys::note(id))?;
            bytes += len;
        }
        keys::LINES.remove(&mut self.batch, id.as_bytes())?;
        let number = self.batch.next_number();
        keys::TOMBS.put(&mut self.batch, id.as_bytes(), &number.to_be_bytes())?;
        let counters = &mut self.counters;
        counters.deliveries = counters.deliveries.saturating_sub(1);
        counters.attempts = counters.attempts.saturating_sub(summary.attempts.into());
        counters.body_bytes = counters.body_bytes.saturating_sub(summary.body_len);
        counters.record_bytes = counters.record_bytes.saturating_sub(bytes);
        self.put_counters();
        Ok(Some(Gone { attempts, bytes }))
    }

    /// Whether retention must leave this delivery alone whatever its age.
    pub(crate) fn is_kept(entry: &Entry) -> bool {
        entry.summary.pinned || entry.summary.answer.class == AnswerClass::Queued
    }

    fn remove_pieces(&mut self, prefix: &[u8], len: u64) -> Result<(), Refusal> {
        let count = piece_count(usize::try_from(len).unwrap_or(usize::MAX));
        if count <= AT_ONCE {
            self.batch.remove_all(prefix)?;
        } else {
            self.batch.put(keys::intent(prefix), Piece::mark());
        }
        Ok(())
    }
}

/// Removes some of the pieces that have no owner any more, or whose owner never came to be. Returns whether there are more.
pub(crate) fn sweep_some(batch: &mut Pending<'_>) -> Result<bool, crate::engine::Fault> {
    let Some((intent, _)) = batch.first_in(&[keys::INTENT], &[keys::INTENT + 1])? else { return Ok(false) };
    let end = keys::after(&intent[1..]);
    // What is on its way out already is not looked at again and again.
    let mut from = intent[1..].to_vec();
    while !batch.is_full() {
        let Some((key, _)) = batch.first_in(&from, &end)? else {
            batch.remove(intent.to_vec());
            return Ok(true);
        };
        from = keys::successor(&key);
        batch.remove(key.to_vec());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{BATCH_FULL, Engine, Kind};
    use crate::pending::read_pieces;

    /// The engine writes leaves anew: a batch of nothing but removals must be as small on the disk as any other.
    #[test]
    fn long_records_go_in_small_batches() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), 1 << 20, Kind::Live, &Default::default()).unwrap();
        let mut batch = Pending::new(&engine);
        batch.put_pieces(b"R1", &vec![7; 4 << 20]).unwrap();
        batch.put(keys::intent(b"R1"), Piece::mark());
        batch.commit().unwrap();
        let left = || (0..1024u16).filter(|n| engine.get(&keys::piece(b"R1", *n)).unwrap().is_some()).count();
        let mut before = left();
        assert_eq!(before, 1024);
        while sweep_some(&mut batch).unwrap() {
            batch.commit().unwrap();
            let after = left();
            // Of 16 values in a leaf 10 are removed before it is written anew with the other 6.
            assert!((before - after) * 6 * Piece::MAX / 10 <= 4 * BATCH_FULL, "{before} {after}");
            before = after;
        }
        assert_eq!(before, 0);
        assert!(read_pieces(&engine, b"R1", 1).unwrap().is_none());
    }
}
