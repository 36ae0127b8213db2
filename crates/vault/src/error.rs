//! What can go wrong with keys, in variants that a caller can act on. No message holds a key; they name keys by their ids.

use std::path::PathBuf;

use crate::KeyId;

/// Why a store's keys cannot be had, or something not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The store is encrypted and no key was given.
    #[error("what is kept in {} is encrypted with the key {needs}, and no key was given", dir.display())]
    Missing {
        /// The store's folder.
        dir: PathBuf,
        /// The key that it takes.
        needs: KeyId,
    },
    /// Another key was given.
    #[error("what is kept in {} is encrypted with the key {needs}, and the one given is {given}", dir.display())]
    Wrong {
        /// The store's folder.
        dir: PathBuf,
        /// The key that it takes.
        needs: KeyId,
        /// The key that was given.
        given: KeyId,
    },
    /// There is nothing that a key would be for.
    #[error("what is kept in {} is not encrypted, so there is no key to replace; start with one to encrypt from then on", dir.display())]
    NotEncrypted {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The store is encrypted and its data keys are gone: nothing opens it without them.
    #[error("what is kept in {} is encrypted and the file with its data keys, keys.json, is not there: put it back from a copy", dir.display())]
    Lost {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The file with the data keys was changed or cut.
    #[error("{} cannot be used ({reason}): put it back from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer program wrote it.
    #[error("{} has format {found} and this program knows 1: use the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {reason}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A key's file that others can read.
    #[error("the key in {} can be read by others (mode {mode:03o}): `chmod 600` it, and think of the key as known to them", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What was given is no key.
    #[error(
        "{whence} holds no key ({why}): it is 32 random bytes as base64 or as 64 hexadecimal digits; `openssl rand -base64 32` prints one"
    )]
    NoKey {
        /// Where it was given.
        whence: String,
        /// What is wrong with it.
        why: String,
    },
    /// The command that was to print the key did not.
    #[error("the command for the key failed: {reason}")]
    Command {
        /// What happened.
        reason: String,
    },
    /// Where the key was to be had, it was not.
    #[error("{called} gave no key: {reason}")]
    Place {
        /// What it is called.
        called: &'static str,
        /// What it said.
        reason: String,
    },
    /// Something stored was encrypted with a data key that is not in keys.json.
    #[error("it was encrypted with the data key {0}, which keys.json does not have")]
    UnknownKey(KeyId),
    /// Something stored is not what was written, or was written elsewhere.
    #[error("it is not what was encrypted there")]
    Forged,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {reason}")]
    NoEntropy {
        /// What it said.
        reason: String,
    },
}
