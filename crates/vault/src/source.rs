//! Where the user's key comes from: a file, text that the environment had, or a command that prints it.
//!
//! The command is how other keepers are asked, by their own tools (`pass …`, a cloud's secret manager). A system's keyring is asked by whoever has a use
//! for it, as a [`KeySource::Place`]: on Linux it takes a D-Bus client with some thirty crates, and the relay's server has no such service to answer it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::{UserKey, VaultError};

/// More than any form of a key takes, in bytes.
const LONGEST: u64 = 4096;

/// Where a key is to be had.
#[derive(Clone)]
pub enum KeySource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// The key itself, from where settings come from, and what that is called.
    Text(Zeroizing<String>, &'static str),
    /// A command for the shell that prints it.
    Command(String),
    /// A place that the program knows how to ask.
    Place(KeyPlace),
}

/// A place with keys that this room knows nothing of: under which name the key is there, and how it is asked for.
#[derive(Clone)]
pub struct KeyPlace {
    /// The key's name there.
    pub name: String,
    /// What the place is called, for messages.
    pub called: &'static str,
    /// Gets the text of the key of that name, or a sentence that says why not and what to do. It must come back in a stated time.
    pub get: fn(&str) -> Result<Zeroizing<String>, String>,
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeySource::File(path) => write!(f, "File({})", path.display()),
            KeySource::Text(_, whence) => write!(f, "Text(…, {whence})"),
            KeySource::Command(_) => f.write_str("Command(…)"),
            KeySource::Place(place) => write!(f, "Place({}, {})", place.called, place.name),
        }
    }
}

impl KeySource {
    /// Gets the key. Blocks; a command may ask its user something.
    ///
    /// # Errors
    /// [`VaultError::Exposed`], [`VaultError::NoKey`], [`VaultError::Io`], [`VaultError::Command`], [`VaultError::Place`].
    pub fn read(&self) -> Result<UserKey, VaultError> {
        match self {
            KeySource::File(path) => from_file(path),
            KeySource::Text(text, whence) => UserKey::parse(text, whence),
            KeySource::Command(command) => from_command(command),
            KeySource::Place(KeyPlace { name, called, get }) => {
                let text = get(name).map_err(|reason| VaultError::Place { called, reason })?;
                UserKey::parse(&text, &format!("{name:?} in {called}"))
            }
        }
    }
}

fn from_file(path: &Path) -> Result<UserKey, VaultError> {
    let io = |doing| move |e: std::io::Error| VaultError::Io { doing, path: path.to_owned(), reason: e.to_string() };
    let file = File::open(path).map_err(io("open"))?;
    // Of the file that was opened, not of the name: that may be another by now.
    let meta = file.metadata().map_err(io("look at"))?;
    let mode = meta.mode() & 0o777;
    if meta.is_file() && mode & 0o077 != 0 {
        return Err(VaultError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
    file.take(LONGEST).read_to_string(&mut text).map_err(io("read"))?;
    UserKey::parse(&text, &format!("the file {}", path.display()))
}

fn from_command(command: &str) -> Result<UserKey, VaultError> {
    let failed = |reason: String| VaultError::Command { reason };
    // Its questions go to the terminal and its complaints to ours.
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST as usize));
    let read = child.stdout.take().map(|out| out.take(LONGEST).read_to_end(&mut text));
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        return Err(failed(format!("it ended with {status}")));
    }
    if let Some(Err(e)) = read {
        return Err(failed(e.to_string()));
    }
    let text = std::str::from_utf8(&text).map_err(|_| failed("what it printed is no text".into()))?;
    UserKey::parse(text, "what the command printed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, format!("{KEY}\n")).unwrap();
        let with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            KeySource::File(path.clone()).read()
        };
        for mode in [0o600, 0o400] {
            assert_eq!(with(mode).unwrap().id(), UserKey::parse(KEY, "").unwrap().id());
        }
        for mode in [0o640, 0o604, 0o644, 0o620] {
            assert_eq!(with(mode).unwrap_err(), VaultError::Exposed { path: path.clone(), mode });
        }
        let error = KeySource::File(dir.path().join("nothing")).read().unwrap_err();
        assert!(error.to_string().contains("nothing"), "{error}");
    }

    #[test]
    fn a_command_prints_the_key() {
        let read = |command: &str| KeySource::Command(command.into()).read();
        assert_eq!(read(&format!("echo {KEY}")).unwrap().id(), UserKey::parse(KEY, "").unwrap().id());
        assert!(matches!(read("exit 3"), Err(VaultError::Command { .. })));
        assert!(matches!(read(&format!("echo {KEY}; false")), Err(VaultError::Command { .. })));
        assert!(matches!(read("true"), Err(VaultError::NoKey { .. })));
        assert!(
            matches!(read("yes"), Err(VaultError::Command { .. } | VaultError::NoKey { .. })),
            "it never ends by itself"
        );
        let source = KeySource::Text(Zeroizing::new(KEY.into()), "HEALTHIE_TUNNEL_STORE_KEY");
        assert!(!format!("{source:?}").contains(KEY));
        source.read().unwrap();
    }

    #[test]
    fn a_place_is_asked_by_name_and_what_it_says_is_told() {
        let get = |name: &str| match name {
            "mine" => Ok(Zeroizing::new(KEY.to_owned())),
            "nonsense" => Ok(Zeroizing::new("nonsense".to_owned())),
            _ => Err("it is locked".to_owned()),
        };
        let read =
            |name: &str| KeySource::Place(KeyPlace { name: name.to_owned(), called: "the cupboard", get }).read();
        assert_eq!(read("mine").unwrap().id(), UserKey::parse(KEY, "").unwrap().id());
        for (name, said) in [
            ("nonsense", "\"nonsense\" in the cupboard holds no key"),
            ("no", "the cupboard gave no key: it is locked"),
        ] {
            let error = read(name).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
