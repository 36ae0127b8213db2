//! A disk that a story can fill up: a small file system in memory, mounted over a folder. Mounting needs root; where that is missing, stories
//! say so and pass.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that takes up room.
const BALLAST: &str = "ballast";

/// How much of it is written at once, in bytes.
const PIECE: usize = 64 * 1024;

/// A tmpfs; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of that size in bytes over a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be mounted; the text says why.
    pub fn mount(at: &Path, size: u64) -> Result<SmallDisk, String> {
        fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at);
        let done = mount.output().map_err(|e| e.to_string())?;
        match done.status.success() {
            true => Ok(SmallDisk { at: at.to_owned() }),
            false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        }
    }

    /// As [`SmallDisk::mount`]; where it cannot be, says that the story is skipped and why.
    pub fn mount_or_skip(at: &Path, size: u64) -> Option<SmallDisk> {
        SmallDisk::mount(at, size).map_err(|why| skipped(&format!("no tmpfs can be mounted here ({why})"))).ok()
    }

    /// Bytes that are free.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.at).expect("a mounted file system has figures");
        stat.f_bavail * stat.f_frsize
    }

    /// Takes up room until no more than `free` bytes are left; 0 for a disk that is full to the last byte.
    ///
    /// # Panics
    /// If the ballast cannot be written for any other reason than that the disk is full.
    pub fn fill_up(&self, free: u64) {
        let mut ballast =
            File::options().create(true).append(true).open(self.at.join(BALLAST)).expect("a file can be made");
        let piece = vec![1; PIECE];
        loop {
            let room = usize::try_from(self.free().saturating_sub(free)).unwrap_or(PIECE).min(PIECE);
            if room == 0 {
                return;
            }
            match ballast.write(&piece[..room]) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::StorageFull => return,
                Err(e) => panic!("the ballast cannot be written: {e}"),
            }
        }
    }

    /// Gives all that room back.
    ///
    /// # Panics
    /// If nothing was taken up.
    pub fn make_room(&self) {
        fs::remove_file(self.at.join(BALLAST)).expect("the disk was filled up");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a program that is just ending may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Says why a story is not played on this machine.
pub fn skipped(why: &str) {
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = writeln!(io::stderr(), "skipped: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_full_until_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("small");
        let Some(disk) = SmallDisk::mount_or_skip(&at, 1 << 20) else { return };
        disk.fill_up(256 * 1024);
        assert!(disk.free() <= 256 * 1024 && disk.free() > 128 * 1024, "{}", disk.free());
        disk.fill_up(0);
        let refused = fs::write(at.join("more"), [1; 9000]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        disk.make_room();
        fs::write(at.join("more"), [1; 9000]).unwrap();
        drop(disk);
        assert!(fs::read_dir(&at).unwrap().next().is_none(), "still mounted");
    }
}
