//! `keys.json`: the data keys of one store, wrapped. It lies beside the store, belongs to whoever holds the store's lock, and is worth as much
//! as what it opens: copied with the store it can be restored, lost it leaves nothing readable.
//!
//! It is replaced as a whole (written beside, synced, renamed, folder synced), so a crash leaves the old one or the new one; and it is on
//! the disk before the first record that needs what is new in it. Everything in it is covered by `seal`, made with the user's key: whoever
//! cannot make that cannot have new records written in plain.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{VaultError, write_private};

const NAME: &str = "keys.json";
const FORMAT: u32 = 1;
/// Some thousand data keys.
const LONGEST: u64 = 1 << 20;

/// The file as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyFile {
    format: u32,
    /// The store's own name, at random.
    pub(crate) store: String,
    /// The id of the user's key that everything here is wrapped with.
    pub(crate) key: String,
    /// The id of the data key that new records are encrypted with; none where they are written in plain.
    pub(crate) writes_with: Option<String>,
    /// The data keys.
    pub(crate) data_keys: Vec<Wrapped>,
    /// The key of indexes.
    pub(crate) index_key: String,
    /// Over everything before it.
    pub(crate) seal: String,
}

/// A data key, wrapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wrapped {
    pub(crate) id: String,
    pub(crate) wrapped: String,
}

impl KeyFile {
    pub(crate) fn new(store: String, key: String) -> KeyFile {
        let (data_keys, index_key, seal) = (Vec::new(), String::new(), String::new());
        KeyFile { format: FORMAT, store, key, writes_with: None, data_keys, index_key, seal }
    }

    /// Whether encrypting was turned off and nothing that was encrypted is left.
    pub(crate) fn is_idle(&self) -> bool {
        self.data_keys.is_empty() && self.writes_with.is_none()
    }

    /// Where it lies.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join(NAME)
    }

    /// Reads it, if there is one.
    pub(crate) fn read(dir: &Path) -> Result<Option<KeyFile>, VaultError> {
        let path = KeyFile::path(dir);
        let io = |e: std::io::Error| VaultError::Io { doing: "read", path: path.clone(), reason: e.to_string() };
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(LONGEST).read_to_end(&mut bytes).map_err(io)?,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let damaged = |reason: String| VaultError::Damaged { path: path.clone(), reason };
        let head: Head = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        match head.format {
            FORMAT => serde_json::from_slice(&bytes).map(Some).map_err(|e| damaged(e.to_string())),
            found => Err(VaultError::Newer { path, found }),
        }
    }

    /// Puts it in the place of the one that is there.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), VaultError> {
        let (path, new) = (KeyFile::path(dir), dir.join(format!("{NAME}.new")));
        let write = || -> std::io::Result<()> {
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            write_private(&new, &text)?.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|e| VaultError::Io { doing: "write", path: path.clone(), reason: e.to_string() })
    }

    /// What the seal covers.
    pub(crate) fn sealed_part(&self) -> Vec<u8> {
        let bare = KeyFile { seal: String::new(), ..self.clone() };
        // Strings, numbers and lists of them always have a JSON form.
        serde_json::to_vec(&bare).unwrap_or_default()
    }

    /// Bytes as this file has them.
    pub(crate) fn text(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    /// And back.
    pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok()
    }
}
