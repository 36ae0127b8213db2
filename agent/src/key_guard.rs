//! What guards this device's private keys in their file besides its mode: the key of the store, where that encrypts.
//!
//! The ring's text is locked with the user's key itself and not with one of the store's data keys: the store may be compacted, repaired or removed, and the
//! device's keys stay readable. While the store changes its key the file is locked with both, the old one and the new, so that a crash at any moment
//! leaves it open to whichever of them the store takes then.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tunnel_vault::{Entropy, KeyId, UserKey, Vault, VaultError};
use zeroize::Zeroizing;

use crate::control::has_store;

/// What a line with locked keys begins with; then the name of the key and what it locks.
const MARK: &str = "healthie-tunnel-locked-keys-1";

/// What the keys are locked for.
const PURPOSE: &str = "device keys";

/// The keys that a ring is to be locked with, and those that open it.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    opens: Vec<UserKey>,
    locks: Locks,
}

#[derive(Clone, Debug, Default)]
enum Locks {
    /// Its mode guards it alone.
    #[default]
    Not,
    /// With each of these.
    With(Vec<UserKey>),
    /// The store encrypts and its key was not given: nothing can be written.
    Missing(VaultError),
}

impl Guard {
    /// None: the file is, and stays, as the ring's text.
    pub fn none() -> Guard {
        Guard::default()
    }

    /// As the store in this data folder has it. Where there is no store yet, whoever gives a key wants one that encrypts.
    ///
    /// # Errors
    /// The key is not the store's, or what the store says of its keys cannot be read.
    pub fn of(data: &Path, key: Option<&UserKey>) -> Result<Guard, VaultError> {
        let dir = data.join("archive");
        let opens: Vec<_> = key.cloned().into_iter().collect();
        let locks = match (Vault::standing(&dir)?, key) {
            (Some(standing), Some(key)) if standing.needs && standing.key != key.id() => {
                return Err(VaultError::Wrong { dir, needs: standing.key, given: key.id() });
            }
            (Some(standing), None) if standing.encrypts => {
                Locks::Missing(VaultError::Missing { dir, needs: standing.key })
            }
            (Some(standing), Some(_)) if standing.encrypts => Locks::With(opens.clone()),
            (None, Some(_)) if !has_store(data) => Locks::With(opens.clone()),
            _ => Locks::Not,
        };
        Ok(Guard { opens, locks })
    }

    /// Locked with each of these.
    pub(crate) fn with(keys: &[&UserKey]) -> Guard {
        let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
        Guard { opens: keys.clone(), locks: Locks::With(keys) }
    }

    /// The same, and opened with that key too.
    #[must_use]
    pub(crate) fn or(mut self, key: &UserKey) -> Guard {
        self.opens.push(key.clone());
        self
    }

    /// The ring's text of what a file holds; `file` is for messages.
    ///
    /// # Errors
    /// It is locked with a key that was not given, or was changed.
    pub(crate) fn open(&self, file: &Path, text: Zeroizing<String>) -> Result<Zeroizing<String>, VaultError> {
        let lines = locked(&text);
        let Some((needs, _)) = lines.first() else { return Ok(text) };
        for (id, line) in &lines {
            let Some(key) = self.opens.iter().find(|key| key.id() == *id) else { continue };
            let damaged = || VaultError::Damaged { path: file.to_owned(), reason: "it is not what was locked".into() };
            let bytes = STANDARD.decode(line).map_err(|_| damaged())?;
            let opened = key.unlock(PURPOSE, &bytes).map_err(|_| damaged())?;
            return std::str::from_utf8(&opened).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| damaged());
        }
        let (dir, needs) = (file.to_owned(), *needs);
        Err(match self.opens.first() {
            Some(given) => VaultError::Wrong { dir, needs, given: given.id() },
            None => VaultError::Missing { dir, needs },
        })
    }

    /// What the file is to hold for this ring's text.
    ///
    /// # Errors
    /// The store encrypts and its key was not given.
    pub(crate) fn close(&self, text: &str) -> Result<Zeroizing<String>, VaultError> {
        let keys = match &self.locks {
            Locks::Missing(missing) => return Err(missing.clone()),
            Locks::Not => return Ok(Zeroizing::new(text.to_owned())),
            Locks::With(keys) => keys,
        };
        let mut file = String::from(
            "# Private keys of a healthie-tunnel device, encrypted with the key of its store; `healthie-tunnel key export` writes them out.\n",
        );
        for key in keys {
            let locked = STANDARD.encode(key.lock(PURPOSE, text.as_bytes(), Entropy::system())?);
            file.push_str(&format!("{MARK} {} {locked}\n", key.id()));
        }
        Ok(Zeroizing::new(file))
    }

    /// Whether a file is as this guard writes it.
    pub(crate) fn is_as_written(&self, text: &str) -> bool {
        let with: Vec<KeyId> = locked(text).into_iter().map(|(id, _)| id).collect();
        match &self.locks {
            // It is for whoever has the key to change it.
            Locks::Missing(_) => true,
            Locks::Not => with.is_empty(),
            Locks::With(keys) => with == keys.iter().map(UserKey::id).collect::<Vec<_>>(),
        }
    }
}

/// The locked lines of a file: the name of the key, and what it locks.
fn locked(text: &str) -> Vec<(KeyId, &str)> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (Some(MARK), Some(id), Some(rest), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return None;
        };
        Some((id.parse().ok()?, rest))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8) -> UserKey {
        let digits: String = (0..32).map(|n| format!("{:02x}", first.wrapping_add(n))).collect();
        UserKey::parse(&digits, "a test").unwrap()
    }

    #[test]
    fn what_is_locked_with_two_opens_with_either_and_with_no_other() {
        let (old, new, other) = (key(1), key(2), key(3));
        let both = Guard::with(&[&old, &new]);
        let file = both.close("the ring").unwrap();
        assert!(!file.contains("the ring") && both.is_as_written(&file));
        let open = |guard: &Guard, text: &str| guard.open(Path::new("f"), Zeroizing::new(text.to_owned()));
        for one in [&old, &new] {
            let guard = Guard::with(&[one]);
            assert_eq!(open(&guard, &file).unwrap().as_str(), "the ring");
            assert!(!guard.is_as_written(&file), "it is to be locked with this one alone");
        }
        assert!(
            matches!(open(&Guard::with(&[&other]), &file), Err(VaultError::Wrong { needs, .. }) if needs == old.id())
        );
        assert!(matches!(open(&Guard::none(), &file), Err(VaultError::Missing { needs, .. }) if needs == old.id()));
        // What is not locked is as it is, and what was changed is told.
        assert_eq!(open(&Guard::with(&[&old]), "plain").unwrap().as_str(), "plain");
        let changed = Guard::with(&[&old]).close("the ring").unwrap().trim_end().replace("==", "").replace('=', "");
        let changed = format!("{}AAAA", &changed[..changed.len() - 4]);
        assert!(matches!(open(&Guard::with(&[&old]), &changed), Err(VaultError::Damaged { .. })));
    }
}
