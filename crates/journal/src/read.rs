//! Reading a journal back, oldest line first.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Take};
use std::path::PathBuf;

use serde_json::Value;
use tunnel_delivery::Timestamp;

use crate::Journal;

/// The longest line that is read, in bytes; a longer one counts as unreadable.
pub const LINE_MAX: u64 = 64 << 10;

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// The lines that were asked for, oldest first.
    pub lines: Vec<Value>,
    /// How many lines could not be read.
    pub unreadable: u64,
}

/// A file of a journal as it was when all were opened: what is put aside, added or removed afterwards changes nothing in it.
#[derive(Debug)]
pub struct Part {
    /// Where it was.
    pub path: PathBuf,
    /// What it held.
    pub content: Take<File>,
}

impl Journal {
    /// The files there are, oldest first, all as they were at one moment. For copying them, too.
    ///
    /// # Errors
    /// One cannot be opened. One that is not there is no error: nothing was written yet.
    pub fn parts(&self) -> io::Result<Vec<Part>> {
        // Read-only: looking makes no files. Without a lock nothing was ever written here, or only its copy is here.
        let lock = present(File::open(self.lock_path()))?;
        if let Some(lock) = &lock {
            lock.lock_shared()?;
        }
        let mut parts = Vec::new();
        for path in (0..self.files).rev().map(|number| self.numbered(number)) {
            // Neither what a link leads to nor a pipe that nobody writes to: who copies the files may be root, and the folder somebody else's.
            let Some(kind) = present(fs::symlink_metadata(&path))? else { continue };
            if !kind.is_file() {
                let what = format!("{} is not a file of its own; move it away", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            if let Some(file) = present(File::open(&path))? {
                let len = file.metadata()?.len();
                parts.push(Part { path, content: file.take(len) });
            }
        }
        Ok(parts)
    }

    /// The lines that `fits` takes, and that were written at `since` or later.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, since: Option<Timestamp>, fits: impl Fn(&Value) -> bool) -> io::Result<Found> {
        let mut found = Found::default();
        for part in self.parts()? {
            let mut reader = BufReader::new(part.content);
            let mut line = Vec::new();
            while reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? > 0 {
                let is_whole = line.ends_with(b"\n") || (line.len() as u64) < LINE_MAX;
                match serde_json::from_slice::<Value>(&line) {
                    Ok(value) if is_whole && value.is_object() => {
                        if since.is_none_or(|since| at(&value).is_some_and(|at| at >= since)) && fits(&value) {
                            found.lines.push(value);
                        }
                    }
                    _ if line.trim_ascii().is_empty() => {}
                    _ => found.unreadable += 1,
                }
                if !is_whole {
                    reader.skip_until(b'\n')?;
                }
                line.clear();
            }
        }
        Ok(found)
    }
}

fn at(line: &Value) -> Option<Timestamp> {
    line["at"].as_str()?.parse().ok()
}

fn present<T>(file: io::Result<T>) -> io::Result<Option<T>> {
    match file {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_part_of_it() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let journal = Journal::new(dir.path(), "audit", 50, 3);
        journal.append("{}\n").unwrap();
        assert_eq!(journal.parts().unwrap().len(), 1);
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("audit.2.jsonl")).unwrap();
        assert!(journal.parts().unwrap_err().to_string().contains("audit.2.jsonl"));
    }

    #[test]
    fn lines_are_chosen_by_time_and_by_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "audit", 50, 9);
        for second in 1..=4 {
            let who = if second % 2 == 0 { "a" } else { "b" };
            journal.append(&format!("{{\"at\":\"1970-01-01T00:00:0{second}Z\",\"who\":\"{who}\"}}\n")).unwrap();
        }
        journal.append("{\"who\":\"a\"}\n").unwrap();
        let read = |since: Option<i64>, who: &str| {
            let since = since.map(|second| Timestamp::from_micros(second * 1_000_000));
            journal.read(since, |line| line["who"] == who).unwrap().lines
        };
        assert_eq!(read(None, "a").len(), 3);
        assert_eq!(read(Some(4), "b").len(), 0);
        let [line] = &read(Some(4), "a")[..] else { panic!("{:?}", read(Some(4), "a")) };
        assert_eq!(line["at"], "1970-01-01T00:00:04Z");
    }

    #[test]
    fn what_is_no_object_and_what_is_too_long_is_counted_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "audit", 1 << 20, 2);
        let long = "x".repeat(LINE_MAX as usize * 2);
        journal.append(&format!("7\n\n\"{long}\"\n{{\"n\":\"{long}\"}}\n{{\"n\":1}}\n")).unwrap();
        let found = journal.read(None, |_| true).unwrap();
        assert_eq!((found.lines.len(), found.unreadable), (1, 3), "{found:?}");
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "audit", 50, 9);
        assert_eq!(journal.read(None, |_| true).unwrap(), Found::default());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(Journal::new(&dir.path().join("none"), "audit", 50, 9).parts().unwrap().is_empty());
    }

    #[test]
    fn parts_stay_what_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "audit", 20, 2);
        journal.append("{\"n\":1}\n").unwrap();
        let parts = journal.parts().unwrap();
        for n in 2..9 {
            journal.append(&format!("{{\"n\":{n}}}\n")).unwrap();
        }
        let [mut part] = <[Part; 1]>::try_from(parts).unwrap();
        let mut content = String::new();
        part.content.read_to_string(&mut content).unwrap();
        assert_eq!((part.path, &content[..]), (journal.path(), "{\"n\":1}\n"));
    }

    #[test]
    fn nobody_looks_while_files_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "audit", 20, 9);
        journal.append("{\"n\":1}\n").unwrap();
        let writers = File::open(dir.path().join("audit.lock")).unwrap();
        writers.lock().unwrap();
        let (tx, found) = std::sync::mpsc::channel();
        std::thread::spawn(move || tx.send(journal.parts().unwrap().len()));
        // Half-way through a rename of each file there is none of that name.
        let early = found.recv_timeout(std::time::Duration::from_millis(100));
        assert!(early.is_err(), "it looked while somebody wrote");
        drop(writers);
        assert_eq!(found.recv_timeout(std::time::Duration::from_secs(30)), Ok(1));
    }
}
