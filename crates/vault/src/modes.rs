//! Who may look at the files: the owner. Explicit, so that it does not hang on what umask a program was started with.

use std::fs::{DirBuilder, File};
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a folder that only its owner can look into, and all above it that are missing; one that is there is tightened. Whether it was too
/// open before.
///
/// # Errors
/// It cannot be made. One of somebody else's that is too open is left as it is, and that is no error: whoever made it can look in anyway.
pub fn private_folder(dir: &Path) -> Result<bool, Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    tighten(dir)
}

/// Takes from all others what they may do with a file (0600) or a folder (0700). Whether they could do anything.
///
/// # Errors
/// It is not there, or not to be looked at. What belongs to somebody else stays as it is.
pub fn tighten(path: &Path) -> Result<bool, Error> {
    let meta = std::fs::symlink_metadata(path)?;
    // What a link names is another's matter.
    if meta.mode() & 0o077 == 0 || meta.is_symlink() {
        return Ok(false);
    }
    let mode = std::fs::Permissions::from_mode(meta.mode() & 0o700);
    match std::fs::set_permissions(path, mode) {
        Err(e) if e.kind() != ErrorKind::PermissionDenied => Err(e),
        _ => Ok(true),
    }
}

/// Tightens a folder and everything in it, which must all be ours. How many were too open.
///
/// # Errors
/// As [`tighten`].
pub fn tighten_all(dir: &Path) -> Result<usize, Error> {
    let mut open = usize::from(tighten(dir)?);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let done = match entry.file_type()?.is_dir() {
            true => tighten_all(&entry.path()),
            false => tighten(&entry.path()).map(usize::from),
        };
        match done {
            Ok(count) => open += count,
            // Gone meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(open)
}

/// Makes a file anew that only its owner can read, whatever lay there, and writes it. It is not synced.
///
/// # Errors
/// As the system says.
pub fn write_private(path: &Path, content: &[u8]) -> Result<File, Error> {
    // One that is left over may be readable for others.
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn nobody_else_may_look() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        assert!(!private_folder(&below).unwrap());
        assert_eq!((mode(&below), mode(&dir.path().join("a"))), (0o700, 0o700));
        std::fs::set_permissions(&below, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(private_folder(&below).unwrap());
        assert_eq!(mode(&below), 0o700);

        let (file, link) = (below.join("file"), below.join("link"));
        std::fs::write(&file, "left over").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
        drop(write_private(&file, b"new").unwrap());
        assert_eq!((mode(&file), std::fs::read(&file).unwrap()), (0o600, b"new".to_vec()));

        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "").unwrap();
        std::fs::set_permissions(&elsewhere, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        for path in [&below, &file] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(tighten_all(&dir.path().join("a")).unwrap(), 2);
        assert_eq!((mode(&below), mode(&file), mode(&elsewhere)), (0o700, 0o700, 0o644));
    }
}
