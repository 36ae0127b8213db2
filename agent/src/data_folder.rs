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
            UnfitFolder::Anothers { owner, .. } => {
                format!("{}, or name a folder of root's own with --data", as_owner(*owner))
            }
            UnfitFolder::NoFolder(_) => "name a folder with --data".to_owned(),
        }
    }
}

/// What to do where no other folder can be named.
pub(crate) fn as_owner(owner: u32) -> String {
    format!(
        "nothing was changed; run this as that user (`sudo -u '#{owner}' healthie-tunnel …`, a container with `--user {owner}`)"
    )
}

/// Whether files may be made in that folder. One that is not there yet belongs to whoever has the nearest folder above it that is: what root makes there on the
/// way, such as `.local` in a home, its owner could not use afterwards.
///
/// # Errors
/// [`UnfitFolder`].
pub(crate) fn check(folder: &Path) -> Result<(), UnfitFolder> {
    check_as(folder, rustix::process::geteuid().is_root())
}

fn check_as(wanted: &Path, root: bool) -> Result<(), UnfitFolder> {
    // The folders above a relative one are those of the working folder; without one, whoever makes the folder is told.
    let Ok(absolute) = std::path::absolute(wanted) else { return Ok(()) };
    // What cannot be looked at is told by whoever opens it.
    let there = absolute.ancestors().find_map(|folder| Some((folder, fs::metadata(folder).ok()?)));
    let Some((nearest, found)) = there else { return Ok(()) };
    let is_wanted = nearest == absolute;
    if !found.is_dir() {
        return if is_wanted { Err(UnfitFolder::NoFolder(wanted.to_owned())) } else { Ok(()) };
    }
    // Where root has made the store already, only root can use it: to keep root out would keep everybody out.
    let roots = || is_wanted && fs::symlink_metadata(wanted.join("archive")).is_ok_and(|archive| archive.uid() == 0);
    if root && found.uid() != 0 && !roots() {
        let folder = if is_wanted { wanted } else { nearest };
        return Err(UnfitFolder::Anothers { folder: folder.to_owned(), owner: found.uid() });
    }
    Ok(())
}

/// For tests: gives a folder to the user 4242 and the group 4343, and says whether that can be done here. Only root can, and not as the root of a user namespace
/// that knows no other numbers.
#[cfg(test)]
#[expect(clippy::print_stderr, reason = "a test that is passed over must say so")]
pub(crate) fn is_given_away(folder: &Path) -> bool {
    let given = std::os::unix::fs::chown(folder, Some(4242), Some(4343));
    if let Err(error) = &given {
        eprintln!("a folder cannot be given to another user here ({error}): what root does in one is not looked at");
    }
    given.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of a user who is not root, and the user; none where there can be no such folder.
    fn somebodys() -> Option<(tempfile::TempDir, u32)> {
        let dir = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() && !is_given_away(dir.path()) {
            return None;
        }
        let owner = fs::metadata(dir.path()).unwrap().uid();
        Some((dir, owner))
    }

    #[test]
    fn root_works_in_no_folder_of_another_s() {
        let Some((dir, owner)) = somebodys() else { return };
        let refused = check_as(dir.path(), true).unwrap_err();
        assert_eq!(refused, UnfitFolder::Anothers { folder: dir.path().to_owned(), owner });
        assert!(refused.hint().contains(&format!("sudo -u '#{owner}'")), "{}", refused.hint());
        assert_eq!(check_as(dir.path(), false), Ok(()), "whoever is not root is told by the system");
        // In a container of a user's own it may belong to somebody else.
        if fs::metadata("/").unwrap().uid() == 0 {
            assert_eq!(check_as(Path::new("/"), true), Ok(()), "root's own");
        }
        // A store that is root's already is nobody else's to use.
        fs::create_dir(dir.path().join("archive")).unwrap();
        let kept_out = fs::metadata(dir.path().join("archive")).unwrap().uid() != 0;
        assert_eq!(check_as(dir.path(), true).is_err(), kept_out);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(check_as(file.path(), false), Err(UnfitFolder::NoFolder(file.path().to_owned())));
    }

    #[test]
    fn root_makes_no_folder_in_another_s() {
        let Some((home, owner)) = somebodys() else { return };
        let refused = || Err(UnfitFolder::Anothers { folder: home.path().to_owned(), owner });
        for wanted in ["none", ".local/share/healthie-tunnel", "none/../deeper"] {
            assert_eq!(check_as(&home.path().join(wanted), true), refused(), "{wanted}");
            assert_eq!(check_as(&home.path().join(wanted), false), Ok(()), "{wanted}");
        }
        // A link that leads nowhere yet is no folder of root's.
        std::os::unix::fs::symlink(home.path().join("nowhere"), home.path().join("link")).unwrap();
        assert_eq!(check_as(&home.path().join("link/data"), true), refused());
        // Below a file nothing can be made: whoever tries is told so.
        fs::write(home.path().join("file"), "").unwrap();
        assert_eq!(check_as(&home.path().join("file/data"), true), Ok(()));
        // The nearest one decides, not those above it.
        let own = home.path().join("own");
        fs::create_dir(&own).unwrap();
        if fs::metadata(&own).unwrap().uid() == 0 {
            assert_eq!(check_as(&own.join("data"), true), Ok(()));
        }
        // The working folder counts for a name without one.
        let here = std::env::current_dir().unwrap();
        let roots = fs::metadata(&here).unwrap().uid() == 0;
        assert_eq!(check_as(Path::new("no-such-folder/data"), true).is_ok(), roots);
    }
}
