//! The spool's file written anew, so that nothing of what was removed is left in it. Compacting moves pages and gives back what is free at the end; in the
//! pages that stay free before that, and in those that are used again for less, old bytes stay legible.
//!
//! Everything that is there is copied to a file beside it, which takes its place once all of it is on the disk. A crash leaves the one or the other, and the mark
//! that something is owed is in the old one only. Called by whoever alone writes; others may read meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use crate::disk;

/// So many bytes are copied in one commit.
const PORTION: usize = 32 << 20;

/// What came of it.
pub(crate) enum Anew {
    /// The file is another one, and this is it. What was open before must not be written any more.
    Done(Database),
    /// All is as it was, and why.
    NotDone(String),
}

/// A backup leaves out what is named like this.
fn draft(dir: &Path) -> PathBuf {
    dir.join(format!("{}.new-anew", disk::FILE))
}

/// Removes what a crash left of a file that was being written.
///
/// # Errors
/// It is there and cannot be removed.
pub(crate) fn sweep(dir: &Path) -> io::Result<()> {
    match fs::remove_file(draft(dir)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Writes the file in `dir`, which is open as `db`, anew. `room` bytes must be free on its disk.
///
/// # Errors
/// The new file has taken the old one's place and it is not known whether that would outlast a power cut: nothing may be acknowledged any more.
pub(crate) fn write_anew(db: &Database, dir: &Path, room: u64) -> Result<Anew, redb::Error> {
    let (before, began) = (disk::file_len(dir), Instant::now());
    match disk::free_bytes(dir) {
        Ok(free) if free < room => {
            return Ok(Anew::NotDone(format!("it needs {room} bytes of the disk beside it, and {free} are free")));
        }
        _ => {}
    }
    let new = draft(dir);
    let made = sweep(dir).map_err(redb::Error::Io).and_then(|()| copy(db, &new, &disk::file(dir)));
    let made = made.and_then(|made| fs::rename(&new, disk::file(dir)).map(|()| made).map_err(redb::Error::Io));
    match made {
        Ok(made) => {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(redb::Error::Io)?;
            let took_ms = began.elapsed().as_millis() as u64;
            tracing::info!(before, after = disk::file_len(dir), took_ms, "compacted the spool");
            Ok(Anew::Done(made))
        }
        Err(error) => {
            // What is left of it is swept at the next try, or at the next start.
            let _ = sweep(dir);
            Ok(Anew::NotDone(error.to_string()))
        }
    }
}

fn copy(db: &Database, new: &Path, old: &Path) -> Result<Database, redb::Error> {
    let made = Database::builder().set_cache_size(disk::CACHE).create(new)?;
    // Before anything is in it. The next relay may not be root's, as this process may be.
    tunnel_vault::tighten(new)?;
    let (owner, mine) = (fs::metadata(old)?, fs::metadata(new)?);
    if (owner.uid(), owner.gid()) != (mine.uid(), mine.gid()) {
        chown(new, Some(owner.uid()), Some(owner.gid()))?;
    }
    let (born, new_made) = (disk::born(db, old)?, disk::made(new));
    let from = db.begin_read()?;
    let txn = made.begin_write()?;
    {
        let mut meta = txn.open_table(disk::META)?;
        for entry in from.open_table(disk::META)?.iter()? {
            let (key, value) = entry?;
            if key.value() != disk::OWED {
                meta.insert(key.value(), value.value())?;
            }
        }
        // It is the same spool, though the file is another.
        if let (Some(born), Some(made)) = (born, new_made) {
            meta.insert(disk::BORN, born)?;
            meta.insert(disk::MADE, made)?;
        }
        let mut tunnels = txn.open_table(disk::TUNNELS)?;
        for entry in from.open_table(disk::TUNNELS)?.iter()? {
            let (key, value) = entry?;
            tunnels.insert(key.value(), value.value())?;
        }
        txn.open_table(disk::DELIVERIES)?;
    }
    txn.commit()?;
    let deliveries = from.open_table(disk::DELIVERIES)?;
    let mut all = deliveries.iter()?.peekable();
    while all.peek().is_some() {
        let txn = made.begin_write()?;
        {
            let (mut to, mut copied) = (txn.open_table(disk::DELIVERIES)?, 0);
            while copied < PORTION
                && let Some(entry) = all.next()
            {
                let (key, value) = entry?;
                copied += value.value().len();
                to.insert(key.value(), value.value())?;
            }
        }
        txn.commit()?;
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use tunnel_vault::Entropy;

    use super::*;

    /// Without room, and where the other file cannot be made.
    #[test]
    fn what_cannot_be_written_anew_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let open = || disk::open(dir.path(), None, Entropy::system()).unwrap();
        let db = open().db;
        let before = fs::metadata(disk::file(dir.path())).unwrap().ino();
        assert!(
            matches!(write_anew(&db, dir.path(), u64::MAX).unwrap(), Anew::NotDone(why) if why.contains("are free"))
        );
        fs::create_dir(draft(dir.path())).unwrap();
        assert!(matches!(write_anew(&db, dir.path(), 0).unwrap(), Anew::NotDone(_)));
        assert_eq!(fs::metadata(disk::file(dir.path())).unwrap().ino(), before);
        fs::remove_dir(draft(dir.path())).unwrap();
        fs::write(draft(dir.path()), "half of it").unwrap();
        drop(db);
        let db = open().db;
        assert!(!draft(dir.path()).exists(), "what a crash left is swept");
        assert!(matches!(write_anew(&db, dir.path(), 0).unwrap(), Anew::Done(_)));
        assert_ne!(fs::metadata(disk::file(dir.path())).unwrap().ino(), before);
    }

    /// However often: the second time what the first one noted is there. A copy is another spool, though it has what was noted in it.
    #[test]
    fn what_is_written_anew_stays_the_spool_that_it_was_and_a_copy_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = |dir: &Path| disk::open(dir, None, Entropy::system()).unwrap();
        let (file, first) = (disk::file(dir.path()), open(dir.path()));
        let made = disk::made(&file);
        assert_eq!(first.born, made);
        if made.is_none() {
            return; // the file system does not say
        }
        let mut db = first.db;
        for _ in 0..2 {
            let Anew::Done(new) = write_anew(&db, dir.path(), 0).unwrap() else { panic!("it has room") };
            drop(std::mem::replace(&mut db, new));
        }
        drop(db);
        assert_eq!(open(dir.path()).born, made);
        let elsewhere = tempfile::tempdir().unwrap();
        fs::copy(&file, disk::file(elsewhere.path())).unwrap();
        let copy = open(elsewhere.path());
        assert_eq!(copy.born, disk::made(&disk::file(elsewhere.path())));
    }
}
