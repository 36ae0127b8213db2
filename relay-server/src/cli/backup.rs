//! `healthie-relay backup`

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Data, Failure, tell};
use crate::backup::{Held, verify};
use crate::control::back_up;
use crate::settings::units::show_size;

/// zstd's level: the usual one.
const LEVEL: i32 = 3;

#[derive(Args)]
pub(super) struct Backup {
    /// Where to write it, such as relay.tar.zst; `-` is standard output. It holds deliveries and keys: keep it as you keep those
    file: PathBuf,
    #[command(flatten)]
    data: Data,
}

impl Backup {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.data.there()?;
        let data = &self.data.data;
        if self.file.as_os_str() == "-" {
            let out = io::stdout();
            if out.is_terminal() {
                return Err(Failure::usage("a backup is not for a terminal; send it on to a file or program"));
            }
            compressed(data, out.lock())?;
            tell("written; `healthie-relay restore --check FILE` says whether what arrived is whole");
            return Ok(());
        }
        let held = to_file(data, &self.file)?;
        let Held { deliveries, files, bytes, .. } = held;
        tell(&format!(
            "{deliveries} deliveries and {files} files, {} before compression; read back and whole",
            about(bytes)
        ));
        Ok(())
    }
}

/// A size to the nearest KiB or MiB.
fn about(bytes: u64) -> String {
    let unit: u64 = if bytes < 10 << 20 { 1 << 10 } else { 1 << 20 };
    show_size(bytes.div_ceil(unit) * unit)
}

fn compressed(data: &Path, to: impl Write) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure { code: 3, message: format!("the backup cannot be written: {e}") };
    let mut zstd = zstd::stream::write::Encoder::new(BufWriter::with_capacity(1 << 20, to), LEVEL).map_err(failed)?;
    zstd.include_checksum(true).map_err(failed)?;
    let mut told = String::new();
    back_up(data, &mut zstd, &mut |why| {
        if told != why {
            tell(&format!("the relay waits with the backup until the spool can be copied: {why}"));
            why.clone_into(&mut told);
        }
    })?;
    zstd.finish().and_then(|mut to| to.flush()).map_err(failed)
}

/// Whether the file is to be in that folder, by whatever way.
fn is_below(file: &Path, folder: &Path) -> bool {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match (dir.canonicalize(), folder.canonicalize()) {
        (Ok(dir), Ok(folder)) => dir.starts_with(folder),
        // Where there is no such folder, that is told by whoever writes.
        _ => false,
    }
}

/// Writes it beside its name, reads it back, and only then gives it the name.
fn to_file(data: &Path, file: &Path) -> Result<Held, Failure> {
    if file.exists() {
        return Err(Failure { code: 1, message: format!("{} is there already; name another file", file.display()) });
    }
    if is_below(file, data) {
        let why = "a backup in the data folder would be in every later one, and is lost with it; name a file elsewhere";
        return Err(Failure::usage(format!("{}: {why}", file.display())));
    }
    let mut name = file.file_name().ok_or_else(|| Failure::usage("name a file to write to"))?.to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let failed = |e: io::Error| Failure { code: 3, message: format!("cannot write {}: {e}", part.display()) };
    match fs::remove_file(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let made = (|| {
        let out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
        compressed(data, &out)?;
        out.sync_all().map_err(failed)?;
        let held = verify(File::open(&part).map_err(failed)?).map_err(super::restore::failure)?;
        // A link and not a rename: nothing that came there meanwhile is written over.
        fs::hard_link(&part, file).map_err(failed)?;
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(held)
    })();
    // Half a backup is of no use.
    let _ = fs::remove_file(&part);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_not_kept_in_what_it_is_of() {
        let dir = tempfile::tempdir().unwrap();
        let (data, beside) = (dir.path().join("data"), dir.path().join("beside"));
        fs::create_dir_all(data.join("spool")).unwrap();
        fs::create_dir(&beside).unwrap();
        std::os::unix::fs::symlink(&data, beside.join("link")).unwrap();
        for below in [data.join("b"), data.join("spool/b"), beside.join("link/b"), beside.join("../data/b")] {
            assert!(is_below(&below, &data), "{}", below.display());
        }
        for elsewhere in [beside.join("b"), dir.path().join("data.tar.zst"), PathBuf::from("b")] {
            assert!(!is_below(&elsewhere, &data), "{}", elsewhere.display());
        }
        assert!(to_file(&data, &data.join("b")).is_err_and(|e| e.code == 2));
    }
}
