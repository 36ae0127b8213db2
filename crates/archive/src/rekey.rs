//! Another key for an archive, and encrypting turned on or off: what is done while nobody has it open.

use std::path::Path;

use tunnel_vault::{Entropy, UserKey, Vault};

use crate::error::ArchiveError;
use crate::folder::Folder;

/// Replaces the user's key of the archive in this folder. What is written from then on gets a new data key; the rest does by
/// [`crate::Archive::compact`], after which the older data keys are gone. Instant.
///
/// # Errors
/// [`ArchiveError::Held`] while somebody has it open; [`ArchiveError::Key`] where the old key is not the right one, or the archive has none.
pub fn rekey(dir: &Path, old: Option<&UserKey>, new: &UserKey) -> Result<(), ArchiveError> {
    let _held = Folder::open_damaged(dir)?;
    Ok(Vault::rekey(dir, old, new, Entropy::system())?)
}

/// Turns encrypting on or off, of an archive that has had a key: what is written from then on is encrypted or is not, the rest follows by
/// [`crate::Archive::compact`]. Instant.
///
/// # Errors
/// As [`rekey`].
pub fn encrypt(dir: &Path, key: Option<&UserKey>, on: bool) -> Result<(), ArchiveError> {
    let _held = Folder::open_damaged(dir)?;
    Ok(Vault::set_encrypting(dir, key, on, Entropy::system())?)
}
