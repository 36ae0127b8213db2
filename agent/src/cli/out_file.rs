//! A file that a command writes at length: never over another one unasked, only for its user to read, and where it replaces one whole or not
//! at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// The file that is written; with --force another one, which takes its place when it is whole.
pub(crate) struct OutFile {
    file: BufWriter<File>,
    /// Where it is written, if not in its own place yet.
    beside: Option<PathBuf>,
    path: PathBuf,
    /// Whether it was not there before.
    made: bool,
    whole: bool,
}

impl OutFile {
    /// Makes the file, in which only its user can read.
    ///
    /// # Errors
    /// It is there and is not to be replaced, or cannot be made.
    pub(crate) fn create(path: &Path, force: bool) -> Result<OutFile, Failure> {
        let there = std::fs::metadata(path).ok().filter(|_| force);
        let mut options = OpenOptions::new();
        options.write(true);
        let (mut beside, mut real) = (None, path.to_owned());
        match there {
            // A pipe or a device is written to; another file in its place would be its end.
            Some(there) if !there.is_file() => {}
            Some(_) => {
                // Where it is a link, what that leads to is replaced.
                real = path.canonicalize().map_err(|e| failed(path, &e))?;
                let mut name = real.file_name().unwrap_or_default().to_owned();
                name.push(format!(".{}.new", std::process::id()));
                beside = Some(real.with_file_name(name));
                options.create_new(true);
            }
            None => drop(options.create_new(true)),
        }
        // Deliveries may be about patients.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let made = !path.exists() && beside.is_none();
        match options.open(beside.as_deref().unwrap_or(path)) {
            Ok(file) => Ok(OutFile { file: BufWriter::new(file), beside, path: real, made, whole: false }),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::usage(format!("{} is there already", path.display()))
                    .hint("--force replaces it, or name another file"))
            }
            Err(e) => Err(failed(path, &e)),
        }
    }

    /// Leaves everything as it was, where nothing is to be written after all.
    pub(crate) fn give_up(self) {
        if self.made {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Brings it to the disk and to its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let synced = |file: &File| match file.metadata()?.is_file() {
            true => file.sync_all(),
            // A pipe has nothing to be synced.
            false => Ok(()),
        };
        let done = self.file.flush().and_then(|()| synced(self.file.get_ref())).and_then(|()| match &self.beside {
            Some(beside) => std::fs::rename(beside, &self.path),
            None => Ok(()),
        });
        self.whole = done.is_ok();
        done.map_err(|e| failed(&self.path, &e))
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        // Half a file beside the old one is of no use; half a file where none was is what could be had, and the message says so.
        if let (false, Some(beside)) = (self.whole, &self.beside) {
            let _ = std::fs::remove_file(beside);
        }
    }
}

/// What is said where it cannot be written.
pub(crate) fn failed(path: &Path, e: &io::Error) -> Failure {
    Failure::unreachable(format!("{} cannot be written: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, force: bool) -> Result<(), Failure> {
        let mut target = OutFile::create(path, force)?;
        writeln!(target, "{{}}").unwrap();
        target.finish()
    }

    #[cfg(unix)]
    #[test]
    fn only_files_are_replaced_and_links_lead_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(write(&link, false).unwrap_err().exit_code(), 2);
        write(&link, true).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink(), "the link is gone");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "something is left beside it");

        let null = dir.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        write(&null, true).unwrap();
        assert!(!std::fs::metadata(&null).unwrap().is_file(), "a device was replaced");
        assert!(write(dir.path(), true).is_err(), "a folder is no file");
        assert!(dir.path().is_dir());
    }
}
