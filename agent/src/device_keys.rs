//! The file with this device's key pairs, to which a relay seals deliveries: made once, in the data folder, for its user alone.
//!
//! It owns where the pairs are, that they are durable before anybody seals to them, and that no two processes change them at once: a pair that the relay was
//! told of and that another process overwrote would open nothing any more. What they are is crates/envelope's; that they are encrypted where the store is,
//! `key_guard`'s.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tunnel_envelope::{KeyError, KeyPair, KeyRing};
use tunnel_vault::{UserKey, VaultError};
use zeroize::Zeroizing;

use crate::key_guard::Guard;

/// The file's name within the data folder.
const NAME: &str = "device.keys";

/// The longest file that is read, in bytes: many times a ring of the most pairs, also where it is locked with two keys.
const MOST: u64 = 64 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be used.
    #[error("the device's keys in {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("the device's keys in {}: {source}; restore the file from a copy, or move it away and a new key is made (what was sealed to the old one cannot be opened then)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// They are encrypted and the key of the store was not given, or another; or they cannot be encrypted.
    #[error("the device's keys: {0}")]
    Guarded(#[from] VaultError),
    /// No pair could be made, or there are too many.
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// Where the keys of that data folder are.
pub fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// The keys of that data folder, if there are any. A file that others can read is taken from them.
///
/// # Errors
/// `Io`, `Damaged`, `Guarded`.
pub fn load(data: &Path, guard: &Guard) -> Result<Option<KeyRing>, KeysError> {
    Ok(found(data, guard)?.map(|(ring, _)| ring))
}

/// The keys, and whether the file is as this guard would write it.
fn found(data: &Path, guard: &Guard) -> Result<Option<(KeyRing, bool)>, KeysError> {
    let path = path(data);
    match File::open(&path).and_then(read) {
        Ok(text) => {
            if let Ok(true) = tunnel_vault::tighten(&path) {
                tracing::warn!(file = %path.display(), "others could read this device's private keys; nobody else can from now on, and `healthie-tunnel key new` makes another");
            }
            let as_written = guard.is_as_written(&text);
            let ring = KeyRing::parse(&guard.open(&path, text)?);
            ring.map(|ring| Some((ring, as_written))).map_err(|source| KeysError::Damaged { path, source })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeysError::Io { path, source }),
    }
}

/// The keys of that data folder; made if there are none. Those that are not guarded as they are to be, are from now on.
///
/// # Errors
/// Any [`KeysError`].
pub fn load_or_make(data: &Path, guard: &Guard) -> Result<KeyRing, KeysError> {
    change(data, guard, |there| match there {
        Some(ring) => Ok((ring, false)),
        None => Ok((KeyRing::new(KeyPair::new()?), true)),
    })
}

/// Puts `first` before the keys of that data folder, which go on opening what was sealed to them, and gives all.
///
/// # Errors
/// Any [`KeysError`].
pub fn put_first(data: &Path, first: KeyRing, guard: &Guard) -> Result<KeyRing, KeysError> {
    change(data, guard, |there| match there {
        Some(ours) => Ok((ours.behind(first)?, true)),
        None => Ok((first, true)),
    })
}

/// Has the keys of that data folder, if it has any, guarded in that way from now on.
///
/// # Errors
/// Any [`KeysError`].
pub fn settle(data: &Path, guard: &Guard) -> Result<(), KeysError> {
    if path(data).try_exists().unwrap_or(true) {
        load_or_make(data, guard)?;
    }
    Ok(())
}

/// Guards them with the old key of a store and the new one, before the store itself takes the new one; [`settle`] ends it.
///
/// # Errors
/// Any [`KeysError`].
pub fn between(data: &Path, old: Option<&UserKey>, new: &UserKey) -> Result<(), KeysError> {
    settle(data, &Guard::with(&old.into_iter().chain([new]).collect::<Vec<_>>()))
}

/// Makes other keys of those that are there; they are saved where they are said to be new, or are guarded otherwise. Another process that wants to do the
/// same waits.
fn change(
    data: &Path,
    guard: &Guard,
    to: impl FnOnce(Option<KeyRing>) -> Result<(KeyRing, bool), KeysError>,
) -> Result<KeyRing, KeysError> {
    let failed = |source| KeysError::Io { path: path(data), source };
    if !data.is_dir() {
        tunnel_vault::private_folder(data).map_err(failed)?;
    }
    // The folder itself: a file for it would be one more that is left behind. Network file systems may have no locks for folders; there it is as it can be.
    let folder = File::open(data).map_err(failed)?;
    let _ = folder.lock();
    let there = found(data, guard)?;
    let as_written = there.as_ref().is_none_or(|(_, as_written)| *as_written);
    let (ring, new) = to(there.map(|(ring, _)| ring))?;
    if new || !as_written {
        save(data, &ring, guard)?;
    }
    Ok(ring)
}

/// A ring in a file.
///
/// # Errors
/// It cannot be read, is too long or not text.
pub(crate) fn read(file: File) -> io::Result<Zeroizing<String>> {
    // Read at once into a buffer that need not grow: a text that moved would leave copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * MOST as usize));
    file.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {MOST} bytes")));
    }
    Ok(text)
}

/// Puts a ring in the place of the one that is there: durably, and whole or not at all.
fn save(data: &Path, ring: &KeyRing, guard: &Guard) -> Result<(), KeysError> {
    let path = path(data);
    let text = guard.close(&ring.text())?;
    let write = || {
        // One name for all, so that what a crash leaves behind does not stay.
        let new = data.join(format!("{NAME}.new"));
        tunnel_vault::write_private(&new, text.as_bytes())?.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(data)?.sync_all()
    };
    write().map_err(|source| KeysError::Io { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_made_once_and_for_one_user() {
        let data = tempfile::tempdir().unwrap();
        assert!(load(data.path(), &Guard::none()).unwrap().is_none());
        let first = load_or_make(data.path(), &Guard::none()).unwrap().public();
        assert_eq!(load_or_make(data.path(), &Guard::none()).unwrap().public(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(path(data.path())).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_file_is_told_and_kept() {
        let data = tempfile::tempdir().unwrap();
        fs::write(path(data.path()), "half a key").unwrap();
        assert!(matches!(load_or_make(data.path(), &Guard::none()), Err(KeysError::Damaged { .. })));
        assert_eq!(fs::read_to_string(path(data.path())).unwrap(), "half a key");
        fs::write(path(data.path()), vec![b'#'; 70_000]).unwrap();
        assert!(matches!(load(data.path(), &Guard::none()), Err(KeysError::Io { .. })));
    }

    #[test]
    fn no_two_at_once_lose_each_other_s_keys() {
        let data = tempfile::tempdir().unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let first = |n: usize| {
                let data = data.path();
                scope.spawn(move || match n % 2 {
                    0 => load_or_make(data, &Guard::none()).unwrap().public(),
                    _ => put_first(data, KeyRing::new(KeyPair::new().unwrap()), &Guard::none()).unwrap().public(),
                })
            };
            let all: Vec<_> = (0..8).map(first).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let kept: Vec<_> = load(data.path(), &Guard::none()).unwrap().unwrap().all().collect();
        for key in made {
            assert!(kept.contains(&key), "a key that somebody was told is gone: {key} of {kept:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_read_is_taken_from_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let first = load_or_make(data.path(), &Guard::none()).unwrap().public();
        fs::set_permissions(path(data.path()), fs::Permissions::from_mode(0o644)).unwrap();
        // Left behind by a crash, and open: what is written next must not be.
        fs::write(data.path().join("device.keys.new"), "half").unwrap();
        fs::set_permissions(data.path().join("device.keys.new"), fs::Permissions::from_mode(0o666)).unwrap();
        let mode = || fs::metadata(path(data.path())).unwrap().permissions().mode() & 0o777;
        assert_eq!(load(data.path(), &Guard::none()).unwrap().unwrap().public(), first);
        assert_eq!(mode(), 0o600);
        put_first(data.path(), KeyRing::new(KeyPair::new().unwrap()), &Guard::none()).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    }

    fn key(first: u8) -> UserKey {
        let digits: String = (0..32).map(|n| format!("{:02x}", first.wrapping_add(n))).collect();
        UserKey::parse(&digits, "a test").unwrap()
    }

    #[test]
    fn are_locked_with_the_store_s_key_and_follow_it() {
        let data = tempfile::tempdir().unwrap();
        let text = || fs::read_to_string(path(data.path())).unwrap();
        let public = load_or_make(data.path(), &Guard::none()).unwrap().public();
        assert!(text().contains("healthie-tunnel-key-1"));
        // The store has got a key.
        let (old, new) = (key(1), key(2));
        let opens = |key: &UserKey| {
            load(data.path(), &Guard::none().or(key)).is_ok_and(|ring| ring.unwrap().public() == public)
        };
        assert_eq!(load_or_make(data.path(), &Guard::with(&[&old])).unwrap().public(), public);
        assert!(!text().contains("healthie-tunnel-key-1") && opens(&old) && !opens(&new));
        assert!(matches!(load(data.path(), &Guard::none()), Err(KeysError::Guarded(VaultError::Missing { .. }))));
        let made = || KeyRing::new(KeyPair::new().unwrap());
        assert!(put_first(data.path(), made(), &Guard::none()).is_err(), "they are not overwritten");
        // It gets another. Whatever happens between the two, one of them opens it, and the store's own remains.
        between(data.path(), Some(&old), &new).unwrap();
        assert!(opens(&old) && opens(&new));
        settle(data.path(), &Guard::with(&[&old])).unwrap();
        assert!(opens(&old) && !opens(&new), "the store did not take it");
        between(data.path(), Some(&old), &new).unwrap();
        settle(data.path(), &Guard::with(&[&new])).unwrap();
        assert!(!opens(&old) && opens(&new));
        // And none.
        settle(data.path(), &Guard::none().or(&new)).unwrap();
        assert_eq!(load(data.path(), &Guard::none()).unwrap().unwrap().public(), public);
        let empty = tempfile::tempdir().unwrap();
        between(empty.path(), None, &new).unwrap();
        assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "none are made by that");
    }
}
