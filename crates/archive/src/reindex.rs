//! Two indexes begin with a hash, and with a MAC of it where the archive has a key. What was written before a key came or went is found there as
//! well; a compaction sees to it that all entries stand as they are written now, and then that keys which nothing needs any more go.

use tunnel_delivery::DeliveryId;

use crate::engine::{Engine, Fault};
use crate::index;
use crate::keys;
use crate::ledger::fingerprint;
use crate::pending::{Kv as _, Pending};
use crate::postings;
use crate::reader::{self, ReadError};
use crate::record::Entry;
use crate::veil::Hashed;

const BOTH: [Hashed; 2] = [keys::RESOURCE_ID, keys::FINGERPRINT];

/// Goes on for a while. Returns whether all is done.
pub(crate) fn slice(batch: &mut Pending<'_>) -> Result<bool, Fault> {
    for index in BOTH {
        let tag = stale(batch, &index);
        while let Some((key, block)) = batch.first_in(tag, &keys::after(tag))? {
            if batch.is_full() {
                return Ok(false);
            }
            batch.remove(key.to_vec());
            for entry in block.chunks(24) {
                if let Some((prefix, posting)) = renewed(batch, &index, entry)? {
                    postings::insert(batch, &prefix, &posting, |_| false)?;
                }
            }
        }
    }
    Ok(true)
}

/// Where entries stand as they are not written now.
fn stale<'a>(batch: &Pending<'_>, index: &'a Hashed) -> &'a [u8] {
    if batch.veil().writing().is_some() { index.plain } else { index.blind }
}

/// The entry as it is written now. None where it has no delivery, or that cannot be read: it would be in nobody's way, and find nothing.
fn renewed(batch: &Pending<'_>, index: &Hashed, entry: &[u8]) -> Result<Option<index::Posting>, Fault> {
    let Some((hash, id)) = entry.split_first_chunk::<8>() else { return Ok(None) };
    let Some(id) = DeliveryId::from_slice(id) else { return Ok(None) };
    let veil = batch.veil();
    let hash = match veil.writing() {
        Some(_) => *hash,
        // What stands behind the MAC must be made anew.
        None => match hash_of(batch, index, id)? {
            Some(hash) => hash,
            None => return Ok(None),
        },
    };
    Ok(index::hashed(veil, index, hash, id).into_iter().next())
}

fn hash_of(batch: &Pending<'_>, index: &Hashed, id: DeliveryId) -> Result<Option<[u8; 8]>, Fault> {
    if index.plain == keys::FINGERPRINT.plain {
        return match reader::whole(batch, id) {
            Ok(whole) => Ok(whole.map(|whole| fingerprint(&whole.delivery, &whole.body_sha256))),
            Err(ReadError::Unreadable(_)) => Ok(None),
            Err(ReadError::Fault(fault)) => Err(fault),
        };
    }
    let line = keys::LINES.get(batch, id.as_bytes())?;
    let entry = line.and_then(|line| Entry::from_bytes(id, &line).ok());
    Ok(entry.and_then(|entry| entry.summary.resource_id.as_deref().map(index::resource)))
}

/// After a store was written anew as a whole: nothing in it needs other keys than the latest, if no index does.
pub(crate) fn retire(engine: &Engine) {
    let Some(vault) = engine.veil().vault() else { return };
    let batch = Pending::new(engine);
    let clean = BOTH.iter().all(|index| {
        let tag = stale(&batch, index);
        matches!(engine.first_in(tag, &keys::after(tag)), Ok(None))
    });
    if !clean {
        return;
    }
    match vault.retire(&[]) {
        Ok(0) => {}
        Ok(gone) => tracing::info!(gone, "data keys that nothing needs any more are gone"),
        // They do no harm, and the next compaction tries again.
        Err(error) => tracing::warn!(%error, "data keys that nothing needs any more stay for now"),
    }
}
