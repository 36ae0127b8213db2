//! The audit log's files: lines added under a lock, files replaced when they are full, read back oldest first. Blocks on the disk.
//!
//! The relay and commands write to the same file, so a lock of its own stands before each write. A file that would grow over [`FILE_MAX`] becomes
//! `audit.1.jsonl`, what was that `audit.2.jsonl`, and so on; there are [`FILES`] of them at most, and the oldest goes.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tunnel_delivery::{Timestamp, TunnelName};

use super::Entry;
use crate::ownership::hand_over;

/// The length at which a file is put aside, in bytes: some 40,000 lines.
const FILE_MAX: u64 = 8 << 20;
/// How many files are kept, the one that is written included.
const FILES: usize = 10;
/// Whoever writes holds it.
const LOCK: &str = "audit.lock";
/// The longest line that is read, in bytes.
const LINE_MAX: u64 = 64 << 10;

fn name(number: usize) -> String {
    if number == 0 { "audit.jsonl".to_owned() } else { format!("audit.{number}.jsonl") }
}

fn path(data: &Path, number: usize) -> PathBuf {
    data.join(name(number))
}

/// Whether a file of the data folder is one of the log's.
pub(crate) fn is_part(called: &str) -> bool {
    (0..FILES).any(|number| name(number) == called)
}

/// A file as it was at one moment, whatever it is called by now.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name then.
    pub(crate) name: String,
    file: File,
    len: u64,
}

impl Part {
    /// What was in it then.
    pub(crate) fn reader(&self) -> impl io::Read {
        (&self.file).take(self.len)
    }
}

/// All files at one moment, oldest first: none is missed or there twice because files are put aside meanwhile. Makes nothing, and holds the lock for as long as it
/// takes to open them.
///
/// # Errors
/// One of them cannot be opened.
pub(crate) fn parts(data: &Path) -> io::Result<Vec<Part>> {
    // Nobody has written where it is not there.
    let lock = match File::open(data.join(LOCK)) {
        Ok(lock) => Some(lock),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    lock.as_ref().map(File::lock_shared).transpose()?;
    let mut parts = Vec::new();
    for number in (0..FILES).rev() {
        match File::open(path(data, number)) {
            Ok(file) => parts.push(Part { name: name(number), len: file.metadata()?.len(), file }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(parts)
}

/// Adds lines. They are on the disk when this returns.
///
/// # Errors
/// Some of them may not be.
pub(crate) fn append(data: &Path, entries: &[Entry]) -> io::Result<()> {
    append_with(data, entries, FILE_MAX)
}

fn append_with(data: &Path, entries: &[Entry], file_max: u64) -> io::Result<()> {
    let text: String = entries.iter().map(Entry::line).collect();
    let open = |path: &Path| {
        let file = File::options().create(true).append(true).read(true).mode(0o600).open(path)?;
        hand_over(&file, data).map(|()| file)
    };
    // Not the log itself: it is renamed, and a lock on a renamed file excludes nobody.
    let lock = open(&data.join(LOCK))?;
    lock.lock()?;
    let current = path(data, 0);
    let mut file = open(&current)?;
    let mut len = file.metadata()?.len();
    if len > 0 && len + text.len() as u64 > file_max {
        drop(file);
        for number in (0..FILES - 1).rev() {
            match fs::rename(path(data, number), path(data, number + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        file = open(&current)?;
        len = 0;
    }
    let is_new = len == 0;
    // Half a line that a crash left behind must not spoil the next one.
    let mut last = [b'\n'];
    if !is_new {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let text = if last == [b'\n'] { text } else { format!("\n{text}") };
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    if is_new {
        File::open(data)?.sync_all()?;
    }
    drop(lock);
    Ok(())
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// The lines that were asked for, oldest first.
    pub(crate) lines: Vec<serde_json::Value>,
    /// How many lines could not be read.
    pub(crate) unreadable: u64,
}

/// The lines that are of that tunnel, or of none where `tunnel` is none, and not before `since`.
///
/// # Errors
/// A file cannot be read. One that is not there is no error: nothing was done yet.
pub(crate) fn read(data: &Path, tunnel: Option<&TunnelName>, since: Option<Timestamp>) -> io::Result<Found> {
    let mut found = Found::default();
    for part in parts(data)? {
        let mut reader = BufReader::new(part.reader());
        loop {
            let mut line = Vec::new();
            if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<serde_json::Value>(&line) {
                Ok(value) if value.is_object() => {
                    if fits(&value, tunnel, since) {
                        found.lines.push(value);
                    }
                }
                _ => found.unreadable += 1,
            }
        }
    }
    Ok(found)
}

fn fits(line: &serde_json::Value, tunnel: Option<&TunnelName>, since: Option<Timestamp>) -> bool {
    let at = || line["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    let of = |tunnel: &TunnelName| {
        line["tunnels"].as_array().is_some_and(|all| all.iter().any(|name| name.as_str() == Some(tunnel.as_str())))
    };
    tunnel.is_none_or(of) && since.is_none_or(|since| at().is_some_and(|at| at >= since))
}

#[cfg(test)]
mod tests {
    use super::super::{What, Who};
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn entry(second: i64, tunnel: &str) -> Entry {
        let at = Timestamp::from_micros(second * 1_000_000);
        Entry::new(at, What::TunnelAdded, Who::Operator { uid: 7 }).tunnel(&tunnel.parse().unwrap())
    }

    #[test]
    fn lines_are_added_and_read_by_tunnel_and_time() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), None, None).unwrap(), Found::default());
        append(dir.path(), &[entry(1, "a"), entry(2, "b")]).unwrap();
        append(dir.path(), &[entry(3, "a").note("it\nis so")]).unwrap();
        let found = read(dir.path(), Some(&"a".parse().unwrap()), Some(Timestamp::from_micros(2_000_000))).unwrap();
        assert_eq!(found.lines.len(), 1);
        let expected = serde_json::json!({
            "at": "1970-01-01T00:00:03.000000Z", "what": "tunnel-added", "by": "operator", "uid": 7, "tunnels": ["a"], "note": "it\nis so",
        });
        assert_eq!(found.lines[0], expected);
        for name in ["audit.jsonl", "audit.lock"] {
            assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn half_a_line_is_told_and_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), &[entry(1, "a")]).unwrap();
        let mut file = File::options().append(true).open(path(dir.path(), 0)).unwrap();
        file.write_all(b"{\"at\":\"19").unwrap();
        append(dir.path(), &[entry(2, "a")]).unwrap();
        let found = read(dir.path(), None, None).unwrap();
        assert_eq!((found.lines.len(), found.unreadable), (2, 1));
    }

    #[test]
    fn files_that_are_put_aside_while_they_are_read_are_neither_missed_nor_read_twice() {
        let dir = tempfile::tempdir().unwrap();
        let add = |n| append_with(dir.path(), &[entry(n, "a")], 300).unwrap();
        (0..12).for_each(add);
        let then = read(dir.path(), None, None).unwrap().lines;
        let parts = parts(dir.path()).unwrap();
        (12..30).for_each(add);
        let mut text = String::new();
        for part in &parts {
            part.reader().read_to_string(&mut text).unwrap();
        }
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((parts.last().unwrap().name.as_str(), lines), ("audit.jsonl", then));
    }

    #[test]
    fn files_are_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..100 {
            // Three lines fit into a file.
            append_with(dir.path(), &[entry(n, "a")], 300).unwrap();
        }
        let files = fs::read_dir(dir.path())
            .unwrap()
            .filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().ends_with(".jsonl"));
        assert_eq!(files.count(), FILES);
        let found = read(dir.path(), None, None).unwrap();
        assert!((FILES * 2..FILES * 4).contains(&found.lines.len()), "{}", found.lines.len());
        let times: Vec<_> = found.lines.iter().map(|l| l["at"].as_str().unwrap().to_owned()).collect();
        assert!(times.is_sorted() && times.last().unwrap().contains("00:01:39"), "{times:?}");
    }
}
