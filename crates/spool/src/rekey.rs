//! Another key for a spool, and encrypting turned on or off: what is done while nobody has it open.

use std::path::Path;

use redb::{ReadableDatabase as _, ReadableTable as _};
use tunnel_vault::{Entropy, KeyId, UserKey, Vault};

use crate::{SpoolError, disk, format};

/// Replaces the user's key of the spool in this folder. New deliveries get a new data key; older data keys go once no delivery in the spool needs
/// them, which this looks for at each rotation. Blocks; reads the whole spool.
///
/// # Errors
/// `Held` while a relay runs; `Key` where the old key is not the right one or the spool has none; `Damaged`, `Failed`.
pub fn rekey(dir: &Path, old: Option<&UserKey>, new: &UserKey) -> Result<(), SpoolError> {
    let db = disk::hold(dir)?;
    Vault::rekey(dir, old, new, Entropy::system())?;
    retire(dir, &db, new)
}

/// Turns encrypting on or off, of a spool that has had a key. What is in it stays as it is until it is taken. Blocks.
///
/// # Errors
/// As [`rekey`].
pub fn encrypt(dir: &Path, key: Option<&UserKey>, on: bool) -> Result<(), SpoolError> {
    let db = disk::hold(dir)?;
    Vault::set_encrypting(dir, key, on, Entropy::system())?;
    key.map_or(Ok(()), |key| retire(dir, &db, key))
}

fn retire(dir: &Path, db: &redb::Database, key: &UserKey) -> Result<(), SpoolError> {
    let needed = needed(db).map_err(|e| SpoolError::Failed { reason: e.to_string().into() })?;
    if let Some(vault) = Vault::open(dir, Some(key), true, Entropy::system())? {
        vault.retire(&needed)?;
    }
    Ok(())
}

/// The data keys that deliveries are encrypted with.
fn needed(db: &redb::Database) -> Result<Vec<KeyId>, redb::Error> {
    let mut found: Vec<KeyId> = Vec::new();
    for entry in db.begin_read()?.open_table(disk::DELIVERIES)?.iter()? {
        let (_, value) = entry?;
        found.extend(format::key_of(value.value()).filter(|key| !found.contains(key)));
    }
    Ok(found)
}
