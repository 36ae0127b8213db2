//! From format 1 to format 2: values of records get their seals, the indexes by tunnel and of repeats are made, bytes are counted.
//!
//! It is a copy: the store of format 1 is read and stays as it is until the new one is complete and on the disk. Then the folder changes
//! over in one step (`folder`). Ended half way, it begins again at the next open.

use std::path::Path;

use tunnel_delivery::DeliveryId;

use crate::engine::{Engine, Fault, Kind};
use crate::error::ArchiveError;
use crate::folder::{Folder, remove_store};
use crate::index;
use crate::keys;
use crate::ledger::{Counters, Ledger};
use crate::pending::{self, Kv as _, Pending};
use crate::piece::Piece;
use crate::postings;
use crate::query::Order;
use crate::record::Entry;
use crate::space::Space;

/// Migrates the archive in this folder, which has format 1.
pub(crate) fn migrate(folder: &mut Folder, space: &Space, cache_bytes: u64) -> Result<(), ArchiveError> {
    let (old, new) = (folder.store(), folder.next_store()?);
    let size = std::fs::metadata(old.join("db")).map_or(0, |m| m.len());
    space.check_room(size)?;
    tracing::info!(dir = %folder.dir().display(), bytes = size, "bringing the archive to its new format");
    let told = |fault: Fault| match fault.damaged {
        true => folder.damaged(fault.detail),
        false => ArchiveError::Failed { detail: fault.detail },
    };
    let counters = match copy(&old, &new, cache_bytes) {
        Ok(counters) => counters,
        Err(fault) => {
            let _ = remove_store(&new);
            return Err(told(fault));
        }
    };
    folder.check_closed(&counters)?;
    folder.switch(&new, &[])?;
    tracing::info!(deliveries = counters.deliveries, "the archive has its new format");
    Ok(())
}

fn copy(old: &Path, new: &Path, cache_bytes: u64) -> Result<Counters, Fault> {
    let old = Engine::open(old, cache_bytes, Kind::Old)?;
    pending::sweep(&old)?;
    let new = Engine::open(new, cache_bytes, Kind::Building)?;
    let mut batch = Pending::new(&new);
    let mut from = Vec::new();
    while let Some((key, value)) = old.first_in(&from, &[255])? {
        let piece =
            Piece::new(&value).map_err(|_| old.fail("a value is longer than any that was stored".into(), true))?;
        batch.put(key.to_vec(), piece);
        if batch.is_full() {
            batch.commit()?;
        }
        from = keys::successor(&key);
    }
    batch.commit()?;
    let mut counters = Counters::load(&new)?;
    counters.record_bytes = 0;
    let mut ledger = Ledger::new(&new, counters);
    lines(&mut ledger)?;
    requests_and_attempts(&mut ledger)?;
    ledger.put_counters();
    ledger.batch.commit()?;
    let counters = ledger.counters;
    drop(new.finish()?);
    Ok(counters)
}

/// Makes the new indexes, counts repeats, and counts the bytes of what lines name.
fn lines(ledger: &mut Ledger<'_>) -> Result<(), Fault> {
    let mut walk = keys::LINES.walk(&[0; 16], &[255; 16], Order::OldestFirst);
    while let Some((key, line)) = walk.next(&ledger.batch)? {
        let Some(id) = DeliveryId::from_slice(&key) else { continue };
        let entry = Entry::from_bytes(id, &line).map_err(|u| ledger.unreadable(id, u))?;
        for (prefix, posting) in index::since_format_2(&entry.summary) {
            postings::insert(&mut ledger.batch, &prefix, &posting, |_| false)?;
        }
        let (request, note) = (entry.request_len.unwrap_or(0), entry.note_len.unwrap_or(0));
        ledger.counters.record_bytes += line.len() as u64 + request + note;
        if let Some(first) = entry.summary.duplicate_of {
            let Some(line) = keys::LINES.get(&ledger.batch, first.as_bytes())? else { continue };
            let mut entry = Entry::from_bytes(first, &line).map_err(|u| ledger.unreadable(first, u))?;
            entry.summary.repeats = entry.summary.repeats.saturating_add(1);
            ledger.put_line(&entry)?;
        }
        if ledger.batch.is_full() {
            ledger.batch.commit()?;
        }
    }
    Ok(())
}

/// Counts the bytes of what lies on shelves.
fn requests_and_attempts(ledger: &mut Ledger<'_>) -> Result<(), Fault> {
    let mut bytes = 0;
    let mut walk = keys::REQUESTS.walk(&[0; 16], &[255; 16], Order::OldestFirst);
    while let Some((_, request)) = walk.next(&ledger.batch)? {
        bytes += request.len() as u64;
    }
    let mut walk = keys::ATTEMPTS.walk(&[0; 20], &[255; 20], Order::OldestFirst);
    while let Some((_, attempt)) = walk.next(&ledger.batch)? {
        bytes += match attempt.split_first() {
            Some((1, len)) => len.try_into().map(u64::from_be_bytes).unwrap_or(0),
            Some((_, attempt)) => attempt.len() as u64,
            None => 0,
        };
    }
    ledger.counters.record_bytes += bytes;
    Ok(())
}
