//! Whether this process may work in a data folder: whoever makes files there makes them for its owner.
//!
//! Root may write anywhere, and what it makes for itself alone locks the owner of the folder out of it from then on. The relay's commands, which operators run
//! as root, give such files to the owner. An agent has no reason to be root, and the store makes files for as long as it is open: given away at the end, they
//! would be missing until then, and for good after a crash. So it refuses before it makes any, and touches nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

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
    /// This user can make no files there.
    #[error("no files can be made in the data folder {}: {}: {why}", .folder.display(), .at.display())]
    Closed {
        /// The folder.
        folder: PathBuf,
        /// What is in the way: the folder, what is in it, or what it would have to be made in.
        at: PathBuf,
        /// How.
        why: String,
    },
}

impl UnfitFolder {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            UnfitFolder::Anothers { owner, .. } => {
                format!("{}, or name a folder of root's own with --data", as_owner(*owner))
            }
            UnfitFolder::NoFolder(_) => "name a folder with --data".to_owned(),
            UnfitFolder::Closed { .. } => "name a folder of your own with --data".to_owned(),
        }
    }
}

/// What to do where no other folder can be named.
pub(crate) fn as_owner(owner: u32) -> String {
    format!(
        "nothing was changed; run this as that user (`sudo -u '#{owner}' healthie-tunnel …`, a container with `--user {owner}`)"
    )
}

/// Whether files can be made in that folder, as far as can be seen without making any: for whoever only looks. Whoever makes them is told by the system.
///
/// # Errors
/// [`UnfitFolder`].
pub(crate) fn check_writable(folder: &Path) -> Result<(), UnfitFolder> {
    check(folder)?;
    let closed =
        |at: &Path, why: String| Err(UnfitFolder::Closed { folder: folder.to_owned(), at: at.to_owned(), why });
    let Ok(absolute) = std::path::absolute(folder) else { return Ok(()) };
    // A link that leads nowhere is there, and nothing can be made under its name.
    let there = absolute.ancestors().find(|above| fs::symlink_metadata(above).is_ok());
    let Some(nearest) = there else { return Ok(()) };
    let store = absolute.join("archive");
    let within = fs::symlink_metadata(&store).is_ok().then_some(store.as_path());
    for at in [nearest].into_iter().chain(within) {
        match fs::metadata(at) {
            Ok(found) if !found.is_dir() => return closed(at, "it is not a folder".to_owned()),
            Ok(_) => {}
            Err(e) => return closed(at, e.to_string()),
        }
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        if let Err(e) = access(at, wanted) {
            return closed(at, std::io::Error::from(e).to_string());
        }
    }
    Ok(())
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
    fn where_no_files_can_be_made_is_seen_without_making_any() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        fs::create_dir(at("open")).unwrap();
        fs::create_dir(at("shut")).unwrap();
        fs::set_permissions(at("shut"), fs::Permissions::from_mode(0o500)).unwrap();
        fs::create_dir(at("half")).unwrap();
        fs::write(at("half/archive"), "").unwrap();
        for good in ["open", "none", "none/deeper/still", "open/none"] {
            assert_eq!(check_writable(&at(good)), Ok(()), "{good}");
        }
        let blocks = |wanted: &str, by: &str| match check_writable(&at(wanted)) {
            Err(UnfitFolder::Closed { at: found, .. }) => assert_eq!(found, at(by), "{wanted}"),
            other => panic!("{wanted}: {other:?}"),
        };
        blocks("file/data", "file");
        blocks("link", "link");
        blocks("link/data", "link");
        blocks("half", "half/archive");
        assert_eq!(check_writable(&at("file")), Err(UnfitFolder::NoFolder(at("file"))));
        // Root may write anywhere.
        if !rustix::process::geteuid().is_root() {
            blocks("shut", "shut");
            blocks("shut/data", "shut");
        }
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 5, "something was made: {left:?}");
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
