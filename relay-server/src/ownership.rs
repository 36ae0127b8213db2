//! Whose the data folder's files are: its owner's, whoever ran the command that made them. An operator is often root and the relay is not; what root left
//! behind for itself alone the relay could neither read nor replace.
//!
//! It owns no modes (crates/vault does) and does nothing for anybody but root. The folder is its owner's, who may change names in it at any moment, so it is
//! gone through by open folders and never by paths: root must not be led out of it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

/// How deep a data folder is at most, and more.
const DEPTH: usize = 8;

/// Whom everything below that folder is to belong to, if that is not whoever runs this.
fn owner_of(dir: &Path) -> io::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let owner = fs::metadata(dir)?;
    Ok((owner.uid() != 0).then(|| (owner.uid(), owner.gid())))
}

/// Gives a file to the owner of the folder it is in, where root made it. To be called before anything is written to it: the owner may have put a link there.
///
/// # Errors
/// It is not in that folder, or somewhere else too; or as the system says.
pub(crate) fn hand_over(file: &File, dir: &Path) -> io::Result<()> {
    match owner_of(dir)? {
        Some((user, group)) if file.metadata()?.uid() != user => {
            if !is_in(file, dir)? {
                let dir = dir.display();
                return Err(io::Error::other(format!(
                    "it is a link out of {dir}, or has another name elsewhere; remove it"
                )));
            }
            fchown(file, Some(user), Some(group))
        }
        _ => Ok(()),
    }
}

/// Whether a file that is open is in that folder itself, and nowhere else.
fn is_in(file: &File, dir: &Path) -> io::Result<bool> {
    let file = file.metadata()?;
    let mut here = fs::read_dir(dir)?.flatten().filter_map(|entry| entry.metadata().ok());
    Ok(file.is_file() && file.nlink() == 1 && here.any(|other| (other.dev(), other.ino()) == (file.dev(), file.ino())))
}

/// The same for everything in a folder, and for it, which is in `dir` or is it. Links are left alone, and files that have another name elsewhere.
///
/// # Errors
/// As the system says; what was given until then stays given.
pub(crate) fn hand_over_all(folder: &Path, dir: &Path) -> io::Result<()> {
    let Some((user, group)) = owner_of(dir)? else { return Ok(()) };
    let to = (Uid::from_raw(user), Gid::from_raw(group));
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The data folder itself is where its operator says, by a link or not.
    let flags = if folder == dir { flags } else { flags | OFlags::NOFOLLOW };
    let top = rustix::fs::open(folder, flags, Mode::empty())?;
    give(&top, to, DEPTH)?;
    if rustix::fs::fstat(&top)?.st_uid != user {
        rustix::fs::fchown(&top, Some(to.0), Some(to.1))?;
    }
    Ok(())
}

fn give(folder: &OwnedFd, to: (Uid, Gid), depth: usize) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // Whoever works in the folder replaces files: one that is gone by now is nobody's.
        match give_one(folder, name, to, depth) {
            Err(Errno::NOENT) => {}
            done => done?,
        }
    }
    Ok(())
}

fn give_one(folder: &OwnedFd, name: &std::ffi::CStr, to: (Uid, Gid), depth: usize) -> Result<(), Errno> {
    let what = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(what.st_mode);
    if kind == FileType::Directory && depth > 0 {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let below = rustix::fs::openat(folder, name, flags, Mode::empty())?;
        give(&below, to, depth - 1).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        if what.st_uid != to.0.as_raw() {
            rustix::fs::fchown(below.as_fd(), Some(to.0), Some(to.1))?;
        }
        return Ok(());
    }
    if kind == FileType::Symlink || what.st_uid == to.0.as_raw() {
        return Ok(());
    }
    give_file(folder, name, to)
}

/// Held fast, so that what is looked at is what is given: the name may stand for another file by then.
#[cfg(target_os = "linux")]
fn give_file(folder: &OwnedFd, name: &std::ffi::CStr, to: (Uid, Gid)) -> Result<(), Errno> {
    let file = rustix::fs::openat(folder, name, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let what = rustix::fs::fstat(&file)?;
    let kind = FileType::from_raw_mode(what.st_mode);
    if !matches!(kind, FileType::Symlink | FileType::Directory) && what.st_nlink == 1 {
        rustix::fs::chownat(&file, c"", Some(to.0), Some(to.1), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

/// Elsewhere only the name can be said.
#[cfg(not(target_os = "linux"))]
fn give_file(folder: &OwnedFd, name: &std::ffi::CStr, to: (Uid, Gid)) -> Result<(), Errno> {
    if rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_nlink == 1 {
        rustix::fs::chownat(folder, name, Some(to.0), Some(to.1), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// For tests: gives a folder to the user 4242 and the group 4343, and says whether that can be done here. Only root can, and not as the root of a user namespace that
/// knows no other numbers.
#[cfg(test)]
pub(crate) fn is_given_away(folder: &Path) -> bool {
    match std::os::unix::fs::chown(folder, Some(4242), Some(4343)) {
        Ok(()) => true,
        Err(error) => {
            let refused = [Errno::PERM, Errno::INVAL].map(Errno::raw_os_error).map(Some);
            assert!(refused.contains(&error.raw_os_error()), "{error}");
            #[expect(clippy::print_stderr, reason = "a test that is passed over must say so")]
            {
                eprintln!(
                    "a folder cannot be given to another user here ({error}): what root does in one is not looked at"
                );
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Can be seen by root only; anybody else sees that nothing fails.
    #[test]
    fn what_root_makes_in_another_s_folder_is_that_one_s() {
        let dir = tempfile::tempdir().unwrap();
        let is_given = is_given_away(dir.path());
        let below = dir.path().join("spool/deep");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("file"), "").unwrap();
        let file = File::create(dir.path().join("one")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("stays"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("spool/link")).unwrap();
        fs::hard_link(elsewhere.path().join("stays"), dir.path().join("spool/also")).unwrap();
        hand_over(&file, dir.path()).unwrap();
        hand_over_all(&dir.path().join("spool"), dir.path()).unwrap();
        let expected = if is_given {
            (4242, 4343)
        } else {
            (fs::metadata(dir.path()).unwrap().uid(), file.metadata().unwrap().gid())
        };
        for name in ["one", "spool", "spool/deep", "spool/deep/file"] {
            let found = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), expected, "{name}");
        }
        // A file that is reached by a name in the folder and is not in it.
        std::os::unix::fs::symlink(elsewhere.path().join("stays"), dir.path().join("lock")).unwrap();
        for name in ["lock", "spool/also"] {
            let path = dir.path().join(name);
            let given = hand_over(&File::options().append(true).open(&path).unwrap(), path.parent().unwrap());
            assert_eq!(given.is_err(), is_given, "{name}");
        }
        let me = rustix::process::geteuid().as_raw();
        for path in [elsewhere.path().to_owned(), elsewhere.path().join("stays")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), me, "{} is not in the folder", path.display());
        }
    }
}
