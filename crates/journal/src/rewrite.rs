//! Writing lines anew: for what must not have been in them.
//!
//! What is to take a file's place is written beside it, always under one name: what a process that was killed left there goes with the next write.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Journal;

impl Journal {
    /// Puts what `change` gives into the place of a line, in all files; where it gives nothing, and where a line cannot be read, the line stays as it is, to the byte. Each file is
    /// replaced as a whole or not at all, and stays its owner's only. What was in a file may be found on the disk until its place is used again.
    ///
    /// # Errors
    /// A file cannot be read or replaced; those before it (from the newest) may have been.
    pub fn rewrite(&self, change: impl Fn(&Value) -> Option<Value>) -> io::Result<()> {
        let lock = self.locked()?;
        for path in (0..self.files).map(|number| self.numbered(number)) {
            let old = match fs::read(&path) {
                Ok(old) => old,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            let mut changed = false;
            let mut new = Vec::with_capacity(old.len());
            for line in old.split_inclusive(|b| *b == b'\n') {
                match serde_json::from_slice::<Value>(line).ok().and_then(|value| change(&value)) {
                    Some(value) => {
                        writeln!(new, "{value}")?;
                        changed = true;
                    }
                    None => new.extend_from_slice(line),
                }
            }
            if changed {
                let replaced = self.replace(&path, &new);
                if replaced.is_err() {
                    // Where it stays, the next write takes it away.
                    let _ = self.sweep();
                }
                replaced?;
            }
        }
        drop(lock);
        Ok(())
    }

    /// Puts a file into the place of another. The lock is held.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let new = self.new_path();
        let mut options = File::options();
        // Never what somebody put under the name meanwhile, nor what a link there leads to.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        if let Some(hand_over) = self.hand_over {
            hand_over(&file, &self.folder)?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(new, path)
    }

    fn new_path(&self) -> PathBuf {
        self.folder.join(format!("{}.new", self.name))
    }

    /// Takes away what was left of a file that did not get its place; a link itself, not what it leads to. The lock is held, so nobody is at work on it.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        match fs::remove_file(self.new_path()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_changed_are_changed_in_all_files_and_the_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "audit", 40, 4);
        for n in 0..6 {
            journal.append(&format!("{{\"n\": {n} }}\n")).unwrap();
        }
        journal.append("{\"n\":6}\nhalf a li").unwrap();
        let before: Vec<_> = (0..4).map(|n| fs::read_to_string(journal.numbered(n)).unwrap_or_default()).collect();
        journal.rewrite(|line| (line["n"].as_u64()? % 3 == 0).then(|| serde_json::json!({ "n": 90 }))).unwrap();
        let after: Vec<_> = (0..4).map(|n| fs::read_to_string(journal.numbered(n)).unwrap_or_default()).collect();
        let expected = |text: &String| {
            let text = text.replace("{\"n\": 0 }", "{\"n\":90}").replace("{\"n\": 3 }", "{\"n\":90}");
            text.replace("{\"n\":6}", "{\"n\":90}")
        };
        assert_eq!(after, before.iter().map(expected).collect::<Vec<_>>());
        assert!(before.iter().filter(|text| !text.is_empty()).count() > 1, "nothing was put aside: {before:?}");
        assert!(after[0].ends_with("half a li"));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == "audit.lock" || journal.is_part(&name.to_string_lossy())), "{names:?}");
    }

    #[cfg(unix)]
    #[test]
    fn what_was_left_half_written_goes_with_the_next_write() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        fs::write(elsewhere.path(), "stays").unwrap();
        let journal = Journal::new(dir.path(), "audit", 1000, 4);
        let left = dir.path().join("audit.new");
        let others = dir.path().join("other.new");
        fs::write(&others, "another's").unwrap();
        fs::write(&left, "{\"n\":").unwrap();
        journal.append("{\"n\":1}\n").unwrap();
        assert!(!left.exists(), "after a line was added");
        std::os::unix::fs::symlink(elsewhere.path(), &left).unwrap();
        journal.rewrite(|_| Some(serde_json::json!({ "n": 2 }))).unwrap();
        assert!(left.symlink_metadata().is_err(), "after lines were rewritten");
        assert_eq!(fs::read_to_string(journal.path()).unwrap(), "{\"n\":2}\n");
        assert_eq!(fs::read_to_string(elsewhere.path()).unwrap(), "stays", "what a link leads to is not the journal's");
        assert_eq!(fs::read_to_string(&others).unwrap(), "another's");

        // Looking makes nothing and takes nothing away.
        fs::write(&left, "{").unwrap();
        journal.read(None, |_| true).unwrap();
        assert!(left.exists());
    }

    #[test]
    fn what_cannot_take_its_place_is_not_left_there() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "audit", 1000, 4);
        journal.append("{\"n\":1}\n").unwrap();
        let refusing = journal.clone().handing_over(|_, folder| match folder.join("audit.new").exists() {
            true => Err(io::Error::other("not yours")),
            false => Ok(()),
        });
        let error = refusing.rewrite(|_| Some(serde_json::json!({ "n": 2 }))).unwrap_err();
        assert_eq!(error.to_string(), "not yours");
        assert_eq!(fs::read_to_string(journal.path()).unwrap(), "{\"n\":1}\n");
        assert!(!dir.path().join("audit.new").exists());
    }
}
