//! Makes a data folder from a backup. Everything is made in `restore.part` first, and moved into its place once all of it is known to be whole and is on the
//! disk; tunnels and tokens last. A relay does not start on a folder in which that was broken off.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tunnel_spool::Restoring;

use super::read::{Taker, read};
use super::{BackupError, Held, UNFINISHED};

/// Room that is left on the disk, in bytes: an archive may unpack to more than there is.
const RESERVE: u64 = 64 << 20;

/// Makes the data folder, which must be empty or missing, from a backup.
///
/// # Errors
/// [`BackupError`]; what was made until then is in `restore.part` and is taken away by the next try.
pub(crate) fn restore(from: impl Read, data: &Path) -> Result<Held, BackupError> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Io { doing, path, source }
    };
    let refuse = |why: &str| Err(BackupError::Folder { path: data.to_owned(), why: why.to_owned() });
    if crate::checkup::is_running(data) {
        return refuse("a relay runs on this folder; a backup is restored into an empty one");
    }
    private(data).map_err(io("make", data))?;
    let part = data.join(UNFINISHED);
    let mut others = fs::read_dir(data).map_err(io("look into", data))?.flatten();
    if others.any(|entry| entry.file_name() != UNFINISHED && entry.file_name() != "lost+found") {
        return refuse("it is not empty; a backup is restored into an empty folder, or one that is not there yet");
    }
    match fs::remove_dir_all(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("remove", &part)(e)),
        _ => {}
    }
    private(&part).map_err(io("make", &part))?;
    let mut making = Making { part: part.clone(), spool: None };
    let held = read(from, &mut making)?;
    if let Some(spool) = making.spool.take() {
        let restored = spool.end(&part.join("spool"))?;
        if restored.deliveries != held.deliveries {
            return Err(BackupError::NotWhole("a delivery in it is there twice".to_owned()));
        }
    }
    let owner = fs::metadata(data).map_err(io("look at", data))?;
    settle(&part, &owner).map_err(io("sync", &part))?;
    let mut names: Vec<_> =
        fs::read_dir(&part).map_err(io("look into", &part))?.flatten().map(|e| e.file_name()).collect();
    // Without tunnels and tokens the rest is of no use to anybody.
    names.sort_by_key(|name| name == "registry.json");
    for name in names {
        fs::rename(part.join(&name), data.join(&name)).map_err(io("move", &part.join(&name)))?;
    }
    let sync = |path: &Path| File::open(path).and_then(|dir| dir.sync_all()).map_err(io("sync", path));
    sync(data)?;
    fs::remove_dir(&part).map_err(io("remove", &part))?;
    sync(data)?;
    Ok(held)
}

/// Makes a folder for its user alone. One that is there stays as it is.
fn private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Gives everything to whom the data folder belongs, where root restores for a relay of another user, and syncs it.
fn settle(dir: &Path, owner: &fs::Metadata) -> io::Result<()> {
    let mine = rustix::process::geteuid();
    let give = |path: &Path| -> io::Result<()> {
        if owner.uid() == mine.as_raw() {
            return Ok(());
        }
        let (user, group) = (rustix::fs::Uid::from_raw(owner.uid()), rustix::fs::Gid::from_raw(owner.gid()));
        Ok(rustix::fs::chown(path, Some(user), Some(group))?)
    };
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            settle(&path, owner)?;
        } else {
            give(&path)?;
            File::open(&path)?.sync_all()?;
        }
    }
    give(dir)?;
    File::open(dir)?.sync_all()
}

struct Making {
    part: PathBuf,
    spool: Option<Restoring>,
}

impl Making {
    fn room_for(&self, bytes: usize) -> Result<(), BackupError> {
        let path = self.part.clone();
        let room = rustix::fs::statvfs(&self.part).map_err(|e| BackupError::Io {
            doing: "look at",
            path,
            source: e.into(),
        })?;
        if room.f_bavail.saturating_mul(room.f_frsize) < RESERVE + 2 * bytes as u64 {
            let why = "there is no room for the backup on this disk".to_owned();
            return Err(BackupError::Folder { path: self.part.clone(), why });
        }
        Ok(())
    }
}

impl Taker for Making {
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.room_for(bytes.len())?;
        let path = self.part.join(name);
        let made = (|| {
            if let Some(dir) = path.parent() {
                private(dir)?;
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(bytes)
        })();
        made.map_err(|source| BackupError::Io { doing: "write", path, source })
    }

    fn part(&mut self, part: &[u8]) -> Result<(), BackupError> {
        self.room_for(part.len())?;
        let dir = self.part.join("spool");
        let spool = match &mut self.spool {
            Some(spool) => spool,
            None => self.spool.insert(Restoring::begin(&dir)?),
        };
        Ok(spool.part(part)?)
    }
}
