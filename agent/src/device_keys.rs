//! The file with this device's key pairs, to which a relay seals deliveries: made once, in the data folder, for its user alone.
//!
//! It owns where the pairs are and that they are durable before anybody seals to them; what they are is crates/envelope's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tunnel_envelope::{KeyError, KeyPair, KeyRing};
use zeroize::Zeroizing;

/// The file's name within the data folder.
const NAME: &str = "device.keys";

/// The longest file that is read, in bytes: many times a ring of the most pairs.
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
    /// No pair could be made, or there are too many.
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// Where the keys of that data folder are.
pub fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// The keys of that data folder, if there are any.
///
/// # Errors
/// `Io`, `Damaged`.
pub fn load(data: &Path) -> Result<Option<KeyRing>, KeysError> {
    let path = path(data);
    match read(&path) {
        Ok(text) => KeyRing::parse(&text).map(Some).map_err(|source| KeysError::Damaged { path, source }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeysError::Io { path, source }),
    }
}

/// The keys of that data folder; made if there are none.
///
/// # Errors
/// Any [`KeysError`].
pub fn load_or_make(data: &Path) -> Result<KeyRing, KeysError> {
    if let Some(ring) = load(data)? {
        return Ok(ring);
    }
    let ring = KeyRing::new(KeyPair::new()?);
    save(data, &ring)?;
    Ok(ring)
}

/// A ring in a file.
///
/// # Errors
/// It cannot be read, is too long or not text.
pub fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    // Read at once into a buffer that need not grow: a text that moved would leave copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * MOST as usize));
    File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {MOST} bytes")));
    }
    Ok(text)
}

/// Puts a ring in the place of the one that is there: durably, and whole or not at all.
///
/// # Errors
/// `Io`.
pub fn save(data: &Path, ring: &KeyRing) -> Result<(), KeysError> {
    let path = path(data);
    let write = || {
        fs::create_dir_all(data)?;
        let new = data.join(format!("{NAME}.{}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(ring.text().as_bytes())?;
        file.sync_all()?;
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
        assert!(load(data.path()).unwrap().is_none());
        let first = load_or_make(data.path()).unwrap().public();
        assert_eq!(load_or_make(data.path()).unwrap().public(), first);
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
        assert!(matches!(load_or_make(data.path()), Err(KeysError::Damaged { .. })));
        assert_eq!(fs::read_to_string(path(data.path())).unwrap(), "half a key");
        fs::write(path(data.path()), vec![b'#'; 70_000]).unwrap();
        assert!(matches!(load(data.path()), Err(KeysError::Io { .. })));
    }
}
