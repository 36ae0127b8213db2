//! Writing lines anew: for what must not have been in them.

use std::fs;
use std::io::{self, Write as _};

use serde_json::Value;

use crate::Journal;

impl Journal {
    /// Puts what `change` gives into the place of a line, in all files; where it gives nothing, and where a line cannot be read, the line stays as it is, to the byte. Each file is
    /// replaced as a whole or not at all, and stays its owner's only. What was in a file may be found on the disk until its place is used again.
    ///
    /// # Errors
    /// A file cannot be read or replaced; those before it (from the newest) may have been.
    pub fn rewrite(&self, change: impl Fn(&Value) -> Option<Value>) -> io::Result<()> {
        let lock = self.open(&self.lock_path())?;
        lock.lock()?;
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
                // A temporary file is its user's only.
                let mut file = tempfile::Builder::new().prefix(".journal-").tempfile_in(&self.folder)?;
                file.write_all(&new)?;
                file.as_file().sync_all()?;
                if let Some(hand_over) = self.hand_over {
                    hand_over(file.as_file(), &self.folder)?;
                }
                file.persist(&path).map_err(|e| e.error)?;
            }
        }
        drop(lock);
        Ok(())
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
        assert!(names.iter().all(|name| name.to_string_lossy().starts_with("audit")), "{names:?}");
    }
}
