//! Saved filters on the disk: those of the settings files, and beside them those that were saved in the inspector, in `filters.toml` in the
//! data folder. What a name and a filter may be is `query`'s.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::data_folder;
use crate::query::Saved;
use crate::settings::Settings;

/// A longer file was not written here.
const MOST_BYTES: u64 = 1 << 20;

/// Where they are in that data folder.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("filters.toml")
}

/// Those of the settings with those of the data folder, which win.
///
/// # Errors
/// A sentence that names the file and what is wrong in it.
pub(crate) fn all(settings: &Settings, own: &Saved) -> Result<Saved, String> {
    let mut all = Saved::default();
    for (name, query, origin) in settings.filters() {
        all.insert(name, query).map_err(|why| format!("[filters] in {origin}: {why}"))?;
    }
    for (name, query) in own.iter() {
        all.insert(name, query).map_err(|why| format!("the saved filters: {why}"))?;
    }
    Ok(all)
}

/// Those of the data folder; none where nothing was saved.
///
/// # Errors
/// A sentence that names the file and what is wrong in it.
pub(crate) fn read(data: &Path) -> Result<Saved, String> {
    let path = path(data);
    let mut text = String::new();
    match std::fs::File::open(&path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)) {
        Ok(_) => Saved::from_text(&text).map_err(|why| format!("{}: {why}", path.display())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Saved::default()),
        Err(e) => Err(format!("{} cannot be read: {e}", path.display())),
    }
}

/// Saves a filter in the file, or removes the one of that name; what another inspector saved there meanwhile stays.
///
/// # Errors
/// A sentence that names the file and why it could not be read or written, or why the filter cannot be saved.
pub(crate) fn change(data: &Path, name: &str, query: Option<&str>) -> Result<(), String> {
    data_folder::check(data).map_err(|e| e.to_string())?;
    let mut all = read(data)?;
    match query {
        Some(query) => all.insert(name, query)?,
        None => {
            all.remove(name);
        }
    }
    write(data, &all)
}

/// Writes them whole or not at all, readable by their user only: a filter may name a patient.
///
/// # Errors
/// A sentence that names the file and why it could not be written.
fn write(data: &Path, saved: &Saved) -> Result<(), String> {
    let path = path(data);
    let failed = |e: std::io::Error| format!("{} cannot be written: {e}", path.display());
    // A temporary file is its user's only.
    let mut new = tempfile::Builder::new().prefix(".filters-").tempfile_in(data).map_err(failed)?;
    new.write_all(saved.to_text().as_bytes()).and_then(|()| new.as_file().sync_all()).map_err(failed)?;
    new.persist(&path).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_again_and_only_for_its_user() {
        let data = tempfile::tempdir().unwrap();
        assert!(read(data.path()).unwrap().is_empty());
        let mut saved = Saved::default();
        saved.insert("failing", "status:failed \"no show\"").unwrap();
        write(data.path(), &saved).unwrap();
        assert_eq!(read(data.path()).unwrap(), saved);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(path(data.path())).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // Another inspector has one of its own meanwhile.
        change(data.path(), "slow", Some("status:error")).unwrap();
        change(data.path(), "failing", None).unwrap();
        change(data.path(), "mine", Some("is:pinned")).unwrap();
        let names: Vec<String> = read(data.path()).unwrap().iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["mine", "slow"]);
        std::fs::write(path(data.path()), "failing = [").unwrap();
        assert!(read(data.path()).unwrap_err().contains("filters.toml"));
    }
}
