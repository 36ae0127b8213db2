//! From format 1: values of records get their seals, the indexes by tunnel and of repeats are made, bytes are counted. Sketches, which are of format
//! 3, are made later, as in a store of format 2 (`sketching`).
//!
//! It is a copy: the store of format 1 is read and stays as it is until the new one is complete and on the disk. Then the folder changes
//! over in one step (`folder`). Ended half way, it begins again at the next open.

use std::path::Path;

use tunnel_delivery::DeliveryId;

use crate::engine::{BATCH_FULL, Engine, Fault, Kind};
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
use crate::veil::Veil;

/// The tag of notes' pieces.
const NOTE: u8 = b'n';

/// Migrates the archive in this folder, which has format 1.
pub(crate) fn migrate(folder: &mut Folder, space: &Space, cache_bytes: u64, veil: &Veil) -> Result<(), ArchiveError> {
    let (old, new) = (folder.store(), folder.next_store()?);
    let size = std::fs::metadata(old.join("db")).map_or(0, |m| m.len());
    space.check_room(size)?;
    tracing::info!(dir = %folder.dir().display(), bytes = size, "bringing the archive to its new format");
    let told = |fault: Fault| match fault.damaged {
        true => folder.damaged(fault.detail),
        false => ArchiveError::Failed { detail: fault.detail },
    };
    let copied = copy(&old, &new, cache_bytes, space, veil).map_err(|failed| match failed {
        Failed::Fault(fault) => told(fault),
        Failed::Room(error) => error,
    });
    let counters = copied.and_then(|counters| folder.check_closed(&counters).map(|()| counters)).inspect_err(|_| {
        let _ = remove_store(&new);
    })?;
    folder.switch(&new, &[])?;
    tracing::info!(deliveries = counters.deliveries, "the archive has its new format");
    Ok(())
}

/// Why the copy was not made.
enum Failed {
    Fault(Fault),
    /// Others took the room meanwhile.
    Room(ArchiveError),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Failed {
        Failed::Fault(fault)
    }
}

fn copy(old: &Path, new: &Path, cache_bytes: u64, space: &Space, veil: &Veil) -> Result<Counters, Failed> {
    let old = Engine::open(old, cache_bytes, Kind::Old, veil)?;
    pending::sweep(&old)?;
    let new = Engine::open(new, cache_bytes, Kind::Building, veil)?;
    let mut batch = Pending::new(&new);
    let mut from = Vec::new();
    while let Some((key, value)) = old.first_in(&from, &[255])? {
        // A note is known by its pieces being of one commit (`rescue`): it is not divided.
        let same_note = key.first() == Some(&NOTE) && from.get(..17) == key.get(..17);
        if batch.is_full() && !same_note {
            room(space)?;
            batch.commit()?;
        }
        let piece =
            Piece::new(&value).map_err(|_| old.fail("a value is longer than any that was stored".into(), true))?;
        batch.put(key.to_vec(), piece);
        from = keys::successor(&key);
    }
    batch.commit()?;
    let mut counters = Counters::load(&new)?;
    counters.record_bytes = 0;
    let mut ledger = Ledger::new(&new, counters);
    lines(&mut ledger, space)?;
    requests_and_attempts(&mut ledger)?;
    ledger.put_counters();
    ledger.batch.commit()?;
    let counters = ledger.counters;
    drop(new.finish()?);
    Ok(counters)
}

/// Makes the new indexes, counts repeats, and counts the bytes of what lines name.
fn lines(ledger: &mut Ledger<'_>, space: &Space) -> Result<(), Failed> {
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
            room(space)?;
            ledger.batch.commit()?;
        }
    }
    Ok(())
}

/// The engine hangs on a full disk.
fn room(space: &Space) -> Result<(), Failed> {
    space.check_room(BATCH_FULL as u64).map_err(Failed::Room)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Found;

    /// A rescue takes pieces of different commits for those of different notes.
    #[test]
    fn the_pieces_of_a_note_stay_of_one_commit() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let engine = Engine::open(&old, 1 << 20, Kind::Old, &Veil::default()).unwrap();
        let mut batch = Pending::new(&engine);
        let ids: Vec<_> = (0..9).map(|n| DeliveryId::from_bytes([n; 16])).collect();
        for id in &ids {
            for (number, piece) in (0u16..).zip(Piece::cut(&[b'x'; 40_000])) {
                batch.put(keys::piece(&keys::note(*id), number), piece);
            }
            batch.commit().unwrap();
        }
        drop(engine);
        copy(&old, &new, 1 << 20, &Space::new(dir.path(), 0, 0), &Veil::default()).ok().unwrap();
        let found = Found::scan(&[new.join("db")], &Veil::default(), &mut |_| ()).unwrap();
        let mut commits = std::collections::BTreeSet::new();
        for id in &ids {
            let numbers = (0..10).map(|n| found.read(&keys::piece(&keys::note(*id), n)).unwrap().1);
            let numbers: std::collections::BTreeSet<u64> = numbers.collect();
            assert_eq!(numbers.len(), 1, "{id}");
            commits.extend(numbers);
        }
        assert!(commits.len() > 2, "all in one batch shows nothing");
    }
}
