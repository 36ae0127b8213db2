//! Whether this process may work in a data folder: whoever makes files there makes them for its owner.
//!
//! Root may write anywhere, and what it makes for itself alone locks the owner of the folder out of it from then on. The relay's commands, which operators run
//! as root, give such files to the owner. An agent has no reason to be root, and the store makes files for as long as it is open: given away at the end, they
//! would be missing until then, and for good after a crash. So it refuses before it makes any, and touches nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Why a folder is none to work in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitFolder {
    /// Root would leave files in somebody else's folder.
    #[error(
        "{} belongs to the user with the number {owner}, and root would leave files there that this user could not read",
        .folder.display()
    )]
    Anothers {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// There is something else of that name.
    #[error("the data folder {} is not a folder", .0.display())]
    NoFolder(PathBuf),
}

impl UnfitFolder {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            UnfitFolder::Anothers { owner, .. } => format!(
                "nothing was changed; run this as that user (`sudo -u '#{owner}' healthie-tunnel …`, a container with `--user {owner}`), or name a folder of \
                 root's own with --data"
            ),
            UnfitFolder::NoFolder(_) => "name a folder with --data".to_owned(),
        }
    }
}

/// Whether files may be made in that data folder. One that is not there is nobody's.
///
/// # Errors
/// [`UnfitFolder`].
pub(crate) fn check(data: &Path) -> Result<(), UnfitFolder> {
    check_as(data, rustix::process::geteuid().is_root())
}

fn check_as(data: &Path, root: bool) -> Result<(), UnfitFolder> {
    // What cannot be looked at is told by whoever opens it.
    let Ok(found) = fs::metadata(data) else { return Ok(()) };
    if !found.is_dir() {
        return Err(UnfitFolder::NoFolder(data.to_owned()));
    }
    // Where root has made the store already, only root can use it: to keep root out would keep everybody out.
    let roots = || fs::symlink_metadata(data.join("archive")).is_ok_and(|archive| archive.uid() == 0);
    if root && found.uid() != 0 && !roots() {
        return Err(UnfitFolder::Anothers { folder: data.to_owned(), owner: found.uid() });
    }
    Ok(())
}

/// The same, and where the folder is not there yet whether it may be made: not by root on behalf of a user (`sudo` says whose, in SUDO_UID) in a folder of that
/// user's, who could not use it afterwards. Elsewhere root may have its reasons, as in a container.
///
/// # Errors
/// [`UnfitFolder`].
pub(crate) fn check_or_make(data: &Path, sudo_uid: Option<&str>) -> Result<(), UnfitFolder> {
    check(data)?;
    makes_as(data, rustix::process::geteuid().is_root(), sudo_uid.and_then(|uid| uid.parse().ok()))
}

fn makes_as(data: &Path, root: bool, behalf: Option<u32>) -> Result<(), UnfitFolder> {
    let Some(behalf) = behalf.filter(|uid| root && *uid != 0) else { return Ok(()) };
    let there = data.ancestors().find_map(|folder| Some((folder, fs::metadata(folder).ok()?)));
    match there {
        Some((folder, found)) if folder != data && found.uid() == behalf => {
            Err(UnfitFolder::Anothers { folder: folder.to_owned(), owner: behalf })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of a user who is not root, and the user.
    fn somebodys() -> (tempfile::TempDir, u32) {
        let dir = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(4242), Some(4343)).unwrap();
        }
        let owner = fs::metadata(dir.path()).unwrap().uid();
        (dir, owner)
    }

    #[test]
    fn root_works_in_no_folder_of_another_s() {
        let (dir, owner) = somebodys();
        let refused = check_as(dir.path(), true).unwrap_err();
        assert_eq!(refused, UnfitFolder::Anothers { folder: dir.path().to_owned(), owner });
        assert!(refused.hint().contains(&format!("sudo -u '#{owner}'")), "{}", refused.hint());
        assert_eq!(check_as(dir.path(), false), Ok(()), "whoever is not root is told by the system");
        // In a container of a user's own it may belong to somebody else.
        if fs::metadata("/").unwrap().uid() == 0 {
            assert_eq!(check_as(Path::new("/"), true), Ok(()), "root's own");
        }
        assert_eq!(check_as(&dir.path().join("none"), true), Ok(()));
        // A store that is root's already is nobody else's to use.
        fs::create_dir(dir.path().join("archive")).unwrap();
        let kept_out = fs::metadata(dir.path().join("archive")).unwrap().uid() != 0;
        assert_eq!(check_as(dir.path(), true).is_err(), kept_out);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(check_as(file.path(), false), Err(UnfitFolder::NoFolder(file.path().to_owned())));
    }

    #[test]
    fn sudo_makes_no_folder_that_its_user_could_not_use() {
        let (home, owner) = somebodys();
        let data = home.path().join(".local/share/healthie-tunnel");
        let refused = UnfitFolder::Anothers { folder: home.path().to_owned(), owner };
        assert_eq!(makes_as(&data, true, Some(owner)), Err(refused));
        for (root, behalf) in [(false, Some(owner)), (true, None), (true, Some(0)), (true, Some(owner + 1))] {
            assert_eq!(makes_as(&data, root, behalf), Ok(()), "{root} {behalf:?}");
        }
        fs::create_dir_all(&data).unwrap();
        assert_eq!(makes_as(&data, true, Some(owner)), Ok(()), "what is there is looked at itself");
    }
}
