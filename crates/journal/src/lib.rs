//! A journal: files of lines that only grow. The audit logs of both programs are journals; what their lines say is theirs.
//!
//! The journal `NAME` of a folder is `NAME.jsonl`, which is written, and `NAME.1.jsonl` to `NAME.N.jsonl`, which were put aside, the oldest with the
//! highest number. A file that would grow over its bound is put aside; of all files the oldest goes. A line is one JSON object, with its time in `at`.
//! The files are their owner's only (0600).
//!
//! Several processes write to one journal, so a lock stands before each write: `NAME.lock`, not the journal itself, which is renamed, and a lock on a renamed
//! file excludes nobody. Whoever reads opens all files under the same lock: what is put aside meanwhile is neither missed nor seen twice. A
//! crash or a full disk may leave half a line; it spoils no other, and readers count it. What was written stays as it is, but for [`Journal::rewrite`],
//! which makes each file anew as `NAME.new`.
//!
//! Everything here blocks on the disk. It knows nothing of the clock, of networks, and of who writes what.

mod read;
mod rewrite;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

pub use read::{Found, LINE_MAX, Part};

/// Gives a file that was just made in that folder to whom it is to belong.
pub type HandOver = fn(&File, &Path) -> io::Result<()>;

/// A journal of a folder.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
    name: &'static str,
    file_max: u64,
    files: usize,
    synced: bool,
    hand_over: Option<HandOver>,
}

impl Journal {
    /// The journal of that name: a file is put aside before it grows over `file_max` bytes, and there are at most `files` (two at
    /// least), the one that is written included. Touches no disk yet.
    pub fn new(folder: &Path, name: &'static str, file_max: u64, files: usize) -> Journal {
        Journal { folder: folder.to_owned(), name, file_max, files: files.max(2), synced: false, hand_over: None }
    }

    /// The same, but lines are on the disk when [`Journal::append`] returns; without it a power cut may cost the last ones.
    #[must_use]
    pub fn synced(self) -> Journal {
        Journal { synced: true, ..self }
    }

    /// The same, but files that are made or written go through `hand_over`.
    #[must_use]
    pub fn handing_over(self, hand_over: HandOver) -> Journal {
        Journal { hand_over: Some(hand_over), ..self }
    }

    /// The file that is written.
    pub fn path(&self) -> PathBuf {
        self.numbered(0)
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let Journal { folder, name, .. } = self;
        folder.join(if number == 0 { format!("{name}.jsonl") } else { format!("{name}.{number}.jsonl") })
    }

    /// Whether a file of that name in the folder is one of the journal's, the lock aside.
    pub fn is_part(&self, name: &str) -> bool {
        (0..self.files).any(|number| self.numbered(number).file_name().is_some_and(|part| part == name))
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.name))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let mut options = File::options();
        options.create(true).append(true).read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        if let Some(hand_over) = self.hand_over {
            hand_over(&file, &self.folder)?;
        }
        Ok(file)
    }

    /// Held by whoever writes. What somebody left half written goes first.
    fn locked(&self) -> io::Result<File> {
        let lock = self.open(&self.lock_path())?;
        lock.lock()?;
        self.sweep()?;
        Ok(lock)
    }

    /// Adds lines, each with its end.
    ///
    /// # Errors
    /// Some of them may not be in it, or half of one.
    pub fn append(&self, lines: &str) -> io::Result<()> {
        let lock = self.locked()?;
        let mut file = self.open(&self.path())?;
        let mut len = file.metadata()?.len();
        if len > 0 && len + lines.len() as u64 > self.file_max {
            drop(file);
            self.put_aside()?;
            file = self.open(&self.path())?;
            len = 0;
        }
        // Half a line that a crash or a full disk left behind must not spoil the next one.
        let mut last = [b'\n'];
        if len > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last == [b'\n'] {
            file.write_all(lines.as_bytes())?;
        } else {
            file.write_all(format!("\n{lines}").as_bytes())?;
        }
        if self.synced {
            file.sync_data()?;
            if len == 0 {
                File::open(&self.folder)?.sync_all()?;
            }
        }
        drop(lock);
        Ok(())
    }

    /// Every file gets the next number, and the last one's place is taken. One that is not there is none to move.
    fn put_aside(&self) -> io::Result<()> {
        for number in (0..self.files - 1).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(dir: &Path, file_max: u64) -> Journal {
        Journal::new(dir, "audit", file_max, 4)
    }

    fn numbers(journal: &Journal) -> Vec<u64> {
        let found = journal.read(None, |_| true).unwrap();
        assert_eq!(found.unreadable, 0, "{found:?}");
        found.lines.iter().map(|line| line["n"].as_u64().unwrap()).collect()
    }

    #[test]
    fn files_are_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(dir.path(), 27);
        assert_eq!(numbers(&journal), [0; 0]);
        for n in 0..100 {
            // Three lines of two digits just fit into a file.
            journal.append(&format!("{{\"n\":{n}}}\n")).unwrap();
        }
        assert_eq!(numbers(&journal), (90..100).collect::<Vec<_>>(), "three files of three lines, and one of one");
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["audit.1.jsonl", "audit.2.jsonl", "audit.3.jsonl", "audit.jsonl", "audit.lock"]);
        let parts = names.iter().filter(|name| journal.is_part(&name.to_string_lossy()));
        assert_eq!(parts.count(), 4);
        for file in names.iter().filter(|name| *name != "audit.lock") {
            assert!(fs::metadata(dir.path().join(file)).unwrap().len() <= 27, "{file:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_their_owner_s_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        for n in 0..9 {
            journal(dir.path(), 20).append(&format!("{{\"n\":{n}}}\n")).unwrap();
        }
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        }
    }

    #[test]
    fn half_a_line_is_counted_and_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal(dir.path(), 1000);
        journal.append("{\"n\":1}\n{\"n\"").unwrap();
        journal.append("{\"n\":2}\n").unwrap();
        let found = journal.read(None, |_| true).unwrap();
        assert_eq!((found.lines.len(), found.unreadable), (2, 1), "{found:?}");
    }

    /// As two processes do: each has its own handle of the lock.
    #[test]
    fn several_write_at_once_and_no_line_is_torn_or_lost() {
        const EACH: u64 = 300;
        let dir = tempfile::tempdir().unwrap();
        // What they write fits into the files there are, and is put aside all the time.
        let journal = Journal::new(dir.path(), "audit", 100, 400);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let journal = journal.clone();
                scope.spawn(move || {
                    for n in 0..EACH {
                        journal.append(&format!("{{\"n\":{}}}\n", writer * EACH + n)).unwrap();
                    }
                });
            }
            // What a reader sees of one writer is what it wrote so far, in its order, whatever is put aside meanwhile.
            for _ in 0..50 {
                let seen: Vec<_> = numbers(&journal).into_iter().filter(|n| *n < EACH).collect();
                assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>());
            }
        });
        let mut all = numbers(&journal);
        all.sort_unstable();
        assert_eq!(all, (0..4 * EACH).collect::<Vec<_>>());
        assert!(journal.parts().unwrap().len() > 50, "little was put aside");
    }

    #[test]
    fn what_is_made_is_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let refusing = journal(dir.path(), 30).handing_over(|_, _| Err(io::Error::other("not yours")));
        assert_eq!(refusing.append("{}\n").unwrap_err().to_string(), "not yours");
        assert_eq!(numbers(&refusing), [0; 0]);
    }
}
