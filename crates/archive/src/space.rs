//! Room on the disk. The storage engine hangs for good on a full disk, so nothing is written near one: below a limit writes are
//! refused, and a reserve file holds the room that what has already begun still needs.

use std::path::{Path, PathBuf};

use crate::engine::{BATCH_FULL, SEGMENT};
use crate::error::ArchiveError;

/// Bytes that were free at one moment; `None` where the system does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free(Option<u64>);

/// Watches the file system of one folder.
pub(crate) struct Space {
    dir: PathBuf,
    reserve_bytes: u64,
    min_free_bytes: u64,
}

impl Space {
    pub(crate) fn new(dir: &Path, reserve_bytes: u64, min_free_bytes: u64) -> Space {
        Space { dir: dir.to_owned(), reserve_bytes, min_free_bytes }
    }

    /// What is free now, to be judged by for one group of changes: asking the system for each of them costs more than it tells.
    pub(crate) fn look(&self) -> Free {
        Free(self.free())
    }

    /// Whether there is room to begin writing this many bytes.
    pub(crate) fn check(&self, free: Free, bytes: usize) -> Result<(), ArchiveError> {
        let Free(Some(free)) = free else { return Ok(()) };
        let needed = self.min_free_bytes.saturating_add(worst(bytes));
        if free < needed {
            return Err(ArchiveError::DiskFull { dir: self.dir.clone(), free, needed });
        }
        Ok(())
    }

    /// Whether there is room for this many bytes beside what is kept free.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), ArchiveError> {
        let Some(free) = self.free() else { return Ok(()) };
        let needed =
            self.min_free_bytes.saturating_add(self.reserve_bytes).saturating_add(bytes).saturating_add(worst(0));
        if free < needed {
            return Err(ArchiveError::DiskFull { dir: self.dir.clone(), free, needed });
        }
        Ok(())
    }

    /// Whether there is room for a batch, down to the last of what is kept free.
    pub(crate) fn check_bare(&self) -> Result<(), ArchiveError> {
        Space::new(&self.dir, 0, 0).check(self.look(), BATCH_FULL)
    }

    /// Gives the reserve up if what has begun would otherwise meet a full disk.
    pub(crate) fn make_room(&self, free: Free, bytes: usize) {
        if free.0.is_some_and(|free| free < worst(bytes)) {
            // It is there for this; if it is gone already there is nothing more to give.
            let _ = std::fs::remove_file(self.path());
        }
    }

    /// Lays the reserve up, again if need be, while there is plenty.
    pub(crate) fn lay_up(&self, free: Free) {
        let path = self.path();
        let plenty = self.min_free_bytes.saturating_add(self.reserve_bytes.saturating_mul(2));
        if self.reserve_bytes == 0 || free.0.is_none_or(|free| free < plenty) || path.exists() {
            return;
        }
        let lay_up = || -> std::io::Result<()> {
            let file = tunnel_vault::write_private(&path, &[])?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, self.reserve_bytes)?;
            Ok(())
        };
        if let Err(error) = lay_up() {
            // Some file systems cannot; the limit on free space still holds.
            tracing::debug!(%error, "no reserve file");
            let _ = std::fs::remove_file(&path);
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// Bytes that this user may still write; `None` where the system does not say.
    fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The most that the store may grow by for this many bytes of changes: the engine writes leaves anew, and grows by whole segments.
fn worst(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(8).saturating_add(4 * SEGMENT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_below_the_limit_and_keeps_a_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let free = Space::new(dir.path(), 0, 0).free().unwrap();
        let now = Free(Some(free));
        assert!(Space::new(dir.path(), 0, 0).check(now, 1000).is_ok());
        let error = Space::new(dir.path(), 0, free + (1 << 40)).check(now, 1000).unwrap_err();
        assert!(matches!(error, ArchiveError::DiskFull { .. }), "{error}");

        let space = Space::new(dir.path(), 1 << 20, 0);
        space.lay_up(now);
        let reserve = std::fs::metadata(dir.path().join("reserve")).unwrap();
        assert_eq!(reserve.len(), 1 << 20);
        space.make_room(now, 1000);
        assert!(space.path().exists(), "given up without need");
        space.make_room(now, usize::MAX);
        assert!(!space.path().exists());
    }
}
