//! Whose the data folder's files are: its owner's, whoever ran the command that made them. An operator is often root and the relay is not; what root left
//! behind for itself alone the relay could neither read nor replace.
//!
//! It owns no modes (crates/vault does) and does nothing for anybody but root.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

/// Whom everything below that folder is to belong to, if that is not whoever runs this.
fn owner_of(dir: &Path) -> io::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let owner = fs::metadata(dir)?;
    Ok((owner.uid() != 0).then(|| (owner.uid(), owner.gid())))
}

/// Gives a file to the owner of the folder it is in, where root made it.
///
/// # Errors
/// As the system says.
pub(crate) fn hand_over(file: &File, dir: &Path) -> io::Result<()> {
    match owner_of(dir)? {
        Some((user, group)) if file.metadata()?.uid() != user => fchown(file, Some(user), Some(group)),
        _ => Ok(()),
    }
}

/// The same for everything in a folder, and for it, which is in `dir`. Links are left alone.
///
/// # Errors
/// As the system says; what was given until then stays given.
pub(crate) fn hand_over_all(folder: &Path, dir: &Path) -> io::Result<()> {
    let Some((user, group)) = owner_of(dir)? else { return Ok(()) };
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let what = fs::symlink_metadata(&path)?;
        if what.is_symlink() {
            continue;
        }
        if what.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
        if what.uid() != user {
            std::os::unix::fs::lchown(&path, Some(user), Some(group))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Can be seen by root only; anybody else sees that nothing fails.
    #[test]
    fn what_root_makes_in_another_s_folder_is_that_one_s() {
        let dir = tempfile::tempdir().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(dir.path(), Some(4242), Some(4343)).unwrap();
        }
        let below = dir.path().join("spool/deep");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("file"), "").unwrap();
        let file = File::create(dir.path().join("one")).unwrap();
        hand_over(&file, dir.path()).unwrap();
        hand_over_all(&dir.path().join("spool"), dir.path()).unwrap();
        let expected = if is_root {
            (4242, 4343)
        } else {
            (fs::metadata(dir.path()).unwrap().uid(), file.metadata().unwrap().gid())
        };
        for name in ["one", "spool", "spool/deep", "spool/deep/file"] {
            let found = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!((found.uid(), found.gid()), expected, "{name}");
        }
    }
}
