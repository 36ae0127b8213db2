//! The archive's folder: who holds it, which format it has, and whether it was closed properly.
//!
//! | file | what it is |
//! | --- | --- |
//! | `lock` | locked while the archive is open; holds the process id |
//! | `format` | which version of this layout it is; written before anything else |
//! | `closed` | the totals at the last proper close; away while the archive is open |
//! | `reserve` | room for the last writes (`space`) |
//! | `store/` | the storage engine's files (`engine`) |

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::ArchiveError;
use crate::ledger::Counters;

/// The newest format that this program knows, and the one it writes.
const FORMAT: u32 = 1;
const FORMAT_LINE: &str = "healthie-tunnel archive ";

/// A folder that is held.
pub(crate) struct Folder {
    dir: PathBuf,
    /// The lock goes when the file is closed.
    _lock: File,
}

impl Folder {
    /// Creates the folder if it is not there, takes the lock and checks the format.
    pub(crate) fn open(dir: &Path) -> Result<Folder, ArchiveError> {
        // Deliveries may hold patients' data: nobody else may look in.
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("create", dir))?;
        let lock = lock(dir)?;
        let folder = Folder { dir: dir.to_owned(), _lock: lock };
        folder.check_format()?;
        Ok(folder)
    }

    /// Where the storage engine keeps its files.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub(crate) fn damaged(&self, detail: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged { dir: self.dir.clone(), detail: detail.into() }
    }

    fn check_format(&self) -> Result<(), ArchiveError> {
        let path = self.dir.join("format");
        let text = match read_short(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io("read", &path)(error)),
        };
        let found = text.strip_prefix(FORMAT_LINE).and_then(|rest| rest.trim_end().parse::<u32>().ok());
        match found {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => Err(ArchiveError::Newer { dir: self.dir.clone(), found, known: FORMAT }),
            Some(_) => Err(self.damaged("its format was never in use")),
            None if self.store().exists() => Err(self.damaged("the file that says its format is missing or empty")),
            None => {
                self.replace("format", &format!("{FORMAT_LINE}{FORMAT}\n"))?;
                // The folder itself may be new as well.
                let parent = self.dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                sync_dir(parent)
            }
        }
    }

    /// Notes the totals at a proper close.
    pub(crate) fn write_closed(&self, counters: &Counters) -> Result<(), ArchiveError> {
        self.replace("closed", &closed_line(counters))
    }

    /// After a proper close the store must have exactly what it had then: a store that lost its end opens without complaint. Removes
    /// the note, so that it is never older than the store.
    pub(crate) fn check_closed(&self, counters: &Counters) -> Result<(), ArchiveError> {
        let path = self.dir.join("closed");
        match read_short(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("read", &path)(error)),
            Ok(line) if line == closed_line(counters) => {
                std::fs::remove_file(&path).map_err(io("remove", &path))?;
                sync_dir(&self.dir)
            }
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
            let mut file = File::create(&new)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(io("write", &path))?;
        sync_dir(&self.dir)
    }
}

fn closed_line(c: &Counters) -> String {
    format!("{} deliveries, {} attempts, {} bytes of bodies\n", c.deliveries, c.attempts, c.body_bytes)
}

fn lock(dir: &Path) -> Result<File, ArchiveError> {
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
    // Only for the message to a second opener.
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(io("write", &path))?;
    Ok(file)
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
        assert!(matches!(error, ArchiveError::Newer { found: 7, known: FORMAT, .. }), "{error}");
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
        folder.check_closed(&Counters::default()).unwrap();
    }
}
