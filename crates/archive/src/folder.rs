//! The archive's folder: who holds it, which format it has, and whether it was closed properly.
//!
//! | file | what it is |
//! | --- | --- |
//! | `lock` | locked while the archive is open; holds the process id |
//! | `format` | which version of this layout it is; written before any store |
//! | `keys.json` | the keys of what is encrypted (tunnel-vault), if anything is or was |
//! | `current` | which store is the archive's; other stores are left over and go at the next open |
//! | `closed` | the totals at the last proper close; away while the archive is open |
//! | `reserve` | room for the last writes (`space`) |
//! | `store/`, `store-2/` … | the storage engine's files (`engine`); each copy takes the next number |
//! | `damaged-1/` … | what a repair put aside |
//!
//! `format` and `current` are replaced as a whole (rename and sync of the folder): a crash leaves the old store or the new one.
//! Format 1 had no `current`; its store is `store`. A migration writes `current` first and `format` last. Format 2 had no sketches; it becomes
//! format 3 by its number, before the first is made. So does one of format 3 become 4 when it gets a key, before anything is encrypted: a program that
//! knows no keys must refuse it, and not take it for damaged.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tunnel_vault::{Entropy, UserKey, Vault, private_folder, tighten_all, write_private};

use crate::error::ArchiveError;
use crate::ledger::Counters;
use crate::veil::Veil;

/// The format that this program writes where there is no key.
const FORMAT: u32 = 3;
/// From this one on records have seals and `current` names the store. Format 3 differs from it by what may be in the store besides, sketches,
/// which a program that does not know them would leave wrong: it takes the store as it is, under its own number.
const SEALED: u32 = 2;
/// With a key.
const ENCRYPTED: u32 = 4;
const FORMAT_LINE: &str = "healthie-tunnel archive ";

/// The name of the first store, and how the names of all begin.
const FIRST: &str = "store";

/// What `current` says of a store that a repair replaced, until that is put aside.
const ASIDE: &str = "aside ";

/// A folder that is held.
pub(crate) struct Folder {
    dir: PathBuf,
    /// The name of the archive's store.
    store: String,
    /// The format that was found.
    format: u32,
    /// The format that it is to have.
    wanted: u32,
    /// Keeps others out for as long as this lives.
    _lock: Lock,
}

impl Folder {
    /// Creates the folder if it is not there, takes the lock and checks the format.
    pub(crate) fn open(dir: &Path) -> Result<Folder, ArchiveError> {
        private_folder(dir).map_err(io("create", dir))?;
        let mut folder = Folder::hold(dir)?;
        folder.format = match folder.read_format()? {
            Some(found) => found,
            None => folder.begin()?,
        };
        if folder.format >= SEALED {
            folder.store = folder.check_current()?;
        }
        Ok(folder)
    }

    /// Takes the lock of a folder that must be there, whatever is in it; the store is the one that it names, or the first one.
    pub(crate) fn open_damaged(dir: &Path) -> Result<Folder, ArchiveError> {
        let mut folder = Folder::hold(dir)?;
        folder.format = match folder.read_format() {
            Err(ArchiveError::Damaged { .. }) => FORMAT,
            found => found?.unwrap_or(FORMAT),
        };
        match folder.check_current() {
            Ok(name) if folder.format >= SEALED => folder.store = name,
            Ok(_) | Err(ArchiveError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(folder)
    }

    fn hold(dir: &Path) -> Result<Folder, ArchiveError> {
        let lock = lock(dir)?;
        // Deliveries may hold patients' data: nobody else may look in. Earlier programs left what is below to the umask.
        let open = tighten_all(dir).map_err(io("change the permissions of", dir))?;
        if open > 0 {
            tracing::info!(open, dir = %dir.display(), "files of the archive that others could have read are its owner's alone now");
        }
        Ok(Folder { dir: dir.to_owned(), store: FIRST.to_owned(), format: FORMAT, wanted: FORMAT, _lock: lock })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it has format 1 and must be migrated.
    pub(crate) fn is_old(&self) -> bool {
        self.format < SEALED
    }

    /// Gives the folder the newest format's number, where it has that of one that needs no migration.
    pub(crate) fn renew(&mut self) -> Result<(), ArchiveError> {
        let wanted = self.wanted.max(self.format);
        if self.format < wanted && !self.is_old() {
            self.replace("format", &format!("{FORMAT_LINE}{wanted}\n"))?;
            self.format = wanted;
        }
        Ok(())
    }

    /// The keys of what is stored here; they are made where one is given and there are none yet. From then on the folder wants the format that says so.
    pub(crate) fn veil(&mut self, key: Option<&UserKey>) -> Result<Veil, ArchiveError> {
        let vault = Vault::open(&self.dir, key, self.format >= ENCRYPTED, Entropy::system())?;
        if vault.is_some() {
            self.wanted = ENCRYPTED;
        }
        if key.is_some() && !vault.as_ref().is_some_and(Vault::is_encrypting) {
            tracing::warn!(dir = %self.dir.display(), "a key is given and encrypting was turned off: what is written is not encrypted (`store rekey --on` encrypts again)");
        }
        Ok(Veil::new(vault))
    }

    /// Where the storage engine keeps its files.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join(&self.store)
    }

    /// Where the next store will be: beyond all that are there, so that none is touched.
    pub(crate) fn next_store(&self) -> Result<PathBuf, ArchiveError> {
        let last = self.stores()?.iter().filter_map(|name| number_of(name)).max();
        let next = last.max(number_of(&self.store)).unwrap_or(1).saturating_add(1);
        Ok(self.dir.join(format!("{FIRST}-{next}")))
    }

    /// Whether the folder says properly which format and which store it has.
    pub(crate) fn check_names(&self) -> Result<(), ArchiveError> {
        match self.read_format()? {
            Some(SEALED..) => self.check_current().map(|_| ()),
            _ => Ok(()),
        }
    }

    /// All stores.
    pub(crate) fn store_paths(&self) -> Result<Vec<PathBuf>, ArchiveError> {
        Ok(self.stores()?.iter().map(|name| self.dir.join(name)).collect())
    }

    /// Makes another store, which is on the disk, the archive's own. If it was given up for damaged, the old one is put aside at the
    /// next [`Folder::tidy`], otherwise it is removed then.
    ///
    /// After an error either of them may be the current one.
    pub(crate) fn switch(&mut self, store: &Path, aside: &[PathBuf]) -> Result<(), ArchiveError> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut current = format!("{}\n", name(store));
        aside.iter().for_each(|path| current.push_str(&format!("{ASIDE}{}\n", name(path))));
        sync_dir(&self.dir)?;
        self.replace("current", &current)?;
        let wanted = if self.is_old() { self.wanted } else { self.wanted.max(self.format) };
        if self.read_format().ok().flatten() != Some(wanted) {
            self.replace("format", &format!("{FORMAT_LINE}{wanted}\n"))?;
            self.format = wanted;
        }
        self.store = name(store);
        Ok(())
    }

    /// Whether `current` still names this store: what a failed [`Folder::switch`] may have changed.
    pub(crate) fn is_current(&self) -> bool {
        self.check_current().is_ok_and(|name| name == self.store)
    }

    /// All stores, by name.
    fn stores(&self) -> Result<Vec<String>, ArchiveError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io("read", &self.dir))? {
            let name = entry.map_err(io("read", &self.dir))?.file_name().to_string_lossy().into_owned();
            found.extend(number_of(&name).map(|_| name));
        }
        found.sort_by_key(|name| number_of(name));
        Ok(found)
    }

    /// Removes stores that are left over, and puts damaged ones aside. Returns where those are now.
    pub(crate) fn tidy(&self) -> Result<Vec<PathBuf>, ArchiveError> {
        let mut aside = Vec::new();
        let kept = self.aside();
        for name in self.stores()? {
            let path = self.dir.join(&name);
            if name == self.store {
                // Also where a change-over from format 1 ended half way, and the new name does not count yet.
                continue;
            }
            if kept.contains(&name) {
                let mut number = 1;
                let mut to = self.dir.join("damaged-1");
                while to.exists() {
                    number += 1;
                    to = self.dir.join(format!("damaged-{number}"));
                }
                std::fs::rename(&path, &to).map_err(io("rename", &path))?;
                aside.push(to);
            } else {
                remove_store(&path)?;
            }
        }
        if !kept.is_empty() {
            sync_dir(&self.dir)?;
            self.replace("current", &format!("{}\n", self.store))?;
        }
        Ok(aside)
    }

    fn aside(&self) -> Vec<String> {
        let text = read_short(&self.dir.join("current")).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix(ASIDE)).map(str::to_owned).collect()
    }

    /// The store that `current` names.
    fn check_current(&self) -> Result<String, ArchiveError> {
        let path = self.dir.join("current");
        let name = match read_short(&path) {
            Ok(text) => text.lines().next().unwrap_or_default().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io("read", &path)(error)),
        };
        match number_of(&name) {
            Some(_) if name == FIRST || self.dir.join(&name).exists() => Ok(name),
            Some(_) => Err(self.damaged(format!("its store, {name}, is missing"))),
            None => Err(self.damaged("the file that names its store is missing or unreadable")),
        }
    }

    pub(crate) fn damaged(&self, detail: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged { dir: self.dir.clone(), detail: detail.into() }
    }

    /// The format of what is there; `None` if nothing is.
    fn read_format(&self) -> Result<Option<u32>, ArchiveError> {
        let path = self.dir.join("format");
        let text = match read_short(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io("read", &path)(error)),
        };
        let found = text.strip_prefix(FORMAT_LINE).and_then(|rest| rest.trim_end().parse::<u32>().ok());
        match found {
            Some(found @ 1..=ENCRYPTED) => Ok(Some(found)),
            Some(found) if found > ENCRYPTED => {
                Err(ArchiveError::Newer { dir: self.dir.clone(), found, known: ENCRYPTED })
            }
            Some(_) => Err(self.damaged("its format was never in use")),
            None if !self.stores()?.is_empty() => {
                Err(self.damaged("the file that says its format is missing or empty"))
            }
            None => Ok(None),
        }
    }

    /// Makes the folder one of this format, with a store that is still to be created.
    fn begin(&self) -> Result<u32, ArchiveError> {
        self.replace("current", &format!("{FIRST}\n"))?;
        self.replace("format", &format!("{FORMAT_LINE}{FORMAT}\n"))?;
        // The folder itself may be new as well.
        let parent = self.dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_dir(parent)?;
        Ok(FORMAT)
    }

    /// Notes the totals at a proper close.
    pub(crate) fn write_closed(&self, counters: &Counters) -> Result<(), ArchiveError> {
        self.replace("closed", &closed_line(counters))
    }

    /// Removes the totals of the last proper close, so that they are never older than the store.
    pub(crate) fn remove_closed(&self) -> Result<(), ArchiveError> {
        let path = self.dir.join("closed");
        match std::fs::remove_file(&path) {
            Ok(()) => sync_dir(&self.dir),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("remove", &path)(error)),
        }
    }

    /// After a proper close the store must have exactly what it had then: a store that lost its end opens without complaint.
    pub(crate) fn check_closed(&self, counters: &Counters) -> Result<(), ArchiveError> {
        let path = self.dir.join("closed");
        match read_short(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("read", &path)(error)),
            Ok(line) if line == closed_line(counters) => Ok(()),
            Ok(line) => Err(self.damaged(format!(
                "when it was closed it had: {}; now it has: {}",
                line.trim_end(),
                closed_line(counters).trim_end()
            ))),
        }
    }

    /// Writes a small file so that a power cut leaves the old one or the new one.
    fn replace(&self, name: &str, content: &str) -> Result<(), ArchiveError> {
        let (new, path) = (self.dir.join(format!("{name}.new")), self.dir.join(name));
        let write = || {
            write_private(&new, content.as_bytes())?.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(io("write", &path))?;
        sync_dir(&self.dir)
    }
}

/// The number in a store's name.
fn number_of(name: &str) -> Option<u64> {
    match name.strip_prefix(FIRST)? {
        "" => Some(1),
        rest => {
            rest.strip_prefix('-')?.parse().ok().filter(|number| *number > 1 && name == format!("{FIRST}-{number}"))
        }
    }
}

/// Removes a store that is not needed, if it is there.
pub(crate) fn remove_store(path: &Path) -> Result<(), ArchiveError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn closed_line(c: &Counters) -> String {
    format!("{} deliveries, {} attempts, {} bytes of bodies\n", c.deliveries, c.attempts, c.body_bytes)
}

/// What keeps others out, until it is dropped.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Said rather than left to closing the file: a command that is just being started has a copy of its handle until it runs, and would
        // go on holding the folder for that long. Where it fails, closing does it.
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<Lock, ArchiveError> {
    let path = dir.join("lock");
    let open = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = read_short(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(ArchiveError::Held { dir: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
    }
    // Only for the message to a second opener: where the disk has no room for it, that one is told less.
    let pid = format!("{}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes()));
    Ok(Lock(file))
}

/// Reads a file of ours, which is short; whatever else lies there in its place is not read in full.
fn read_short(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(256).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), ArchiveError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
}

pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Io { doing, path, source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a process has it that another thread is just starting.
    #[test]
    fn a_copy_of_the_lock_s_handle_holds_nothing_once_the_folder_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        let copy = first._lock.0.try_clone().unwrap();
        assert!(matches!(Folder::open(dir.path()), Err(ArchiveError::Held { .. })));
        drop(first);
        Folder::open(dir.path()).unwrap();
        drop(copy);
    }

    #[test]
    fn a_second_opener_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        match Folder::open(dir.path()).err().unwrap() {
            ArchiveError::Held { pid, .. } => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other}"),
        }
        drop(first);
        Folder::open(dir.path()).unwrap();
    }

    #[test]
    fn other_formats_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        drop(Folder::open(dir.path()).unwrap());
        std::fs::write(dir.path().join("format"), "healthie-tunnel archive 7\n").unwrap();
        let error = Folder::open(dir.path()).err().unwrap();
        assert!(matches!(error, ArchiveError::Newer { found: 7, known: ENCRYPTED, .. }), "{error}");
        std::fs::write(dir.path().join("format"), "").unwrap();
        drop(Folder::open(dir.path()).unwrap());
        std::fs::write(dir.path().join("format"), "").unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        let error = Folder::open(dir.path()).err().unwrap();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }

    #[test]
    fn losing_records_after_a_proper_close_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let counters = Counters { deliveries: 3, attempts: 1, body_bytes: 9, record_bytes: 30 };
        folder.check_closed(&Counters::default()).unwrap();
        folder.write_closed(&counters).unwrap();
        let error = folder.check_closed(&Counters { deliveries: 2, ..counters }).unwrap_err();
        assert!(error.to_string().contains("3 deliveries") && error.to_string().contains("2 deliveries"), "{error}");
        folder.check_closed(&counters).unwrap();
        folder.remove_closed().unwrap();
        folder.check_closed(&Counters::default()).unwrap();
    }
}
