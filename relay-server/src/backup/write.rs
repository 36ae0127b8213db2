//! Writes the archive, uncompressed, to whoever takes it: the order of things is what makes it one moment.
//!
//! First which tunnels and tokens there are and which of them the spool is of, then the moment of the spool, then everything else. A tunnel that is removed and
//! added anew meanwhile is thus newer in the registry than in the spool, and what was spooled for the one before it is dropped when the restored
//! relay starts, as it is in any relay. What is changed while it is read is replaced as a whole by whoever changes it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tunnel_delivery::Timestamp;
use tunnel_spool::{Copied, CopyError, CopySink};

use super::{
    ABOUT, About, BROKEN, BackupError, DATA, Held, Listed, MANIFEST, MAX_FILE, MAX_FILES, Manifest, SPOOL, VERSION, hex,
};
use crate::audit;

/// Where the spool comes from.
type Source<'a> = &'a mut dyn FnMut(&mut dyn CopySink) -> Result<Copied, CopyError>;

/// Before the moment of the spool: who may have what is in it.
const FIRST: [&str; 2] = ["registry.json", "spool/tunnels.json"];
/// What belongs to a process, or is in the copy in another form.
const LEFT_OUT: [&str; 7] =
    ["control.sock", "addresses.json", "registry.lock", "audit.lock", "spool/spool.redb", "spool/stream-id", "lock"];

/// Writes a backup of the data folder.
///
/// # Errors
/// [`BackupError`]; whoever reads what was written until then is told so in it, as far as that can be written.
pub(crate) fn write(data: &Path, spool: Source<'_>, now: Timestamp, to: &mut dyn Write) -> Result<Held, BackupError> {
    let mut archive = Archive { tar: tar::Builder::new(to), manifest: Manifest::default(), at: now };
    let written = fill(data, spool, &mut archive);
    if let Err(e) = &written {
        // It may be just the writing that does not work.
        let _ = archive.entry(BROKEN, e.to_string().as_bytes());
    }
    let finished = archive.tar.into_inner().and_then(|to| to.flush());
    let held = written?;
    finished.map_err(|source| BackupError::Stream { doing: "written", source })?;
    Ok(held)
}

fn fill(data: &Path, spool: Source<'_>, archive: &mut Archive<'_>) -> Result<Held, BackupError> {
    let made_at = archive.at;
    let about =
        About { version: VERSION, made_at, program: concat!("healthie-relay ", env!("CARGO_PKG_VERSION")).to_owned() };
    archive.json(ABOUT, &about)?;
    let mut files = 0;
    for name in FIRST {
        files += u64::from(archive.file(data, name)?);
    }
    let mut sink = Sink { data, archive, parts: 0, files: 0, failed: None };
    let copied = spool(&mut sink);
    let Sink { files: others, failed, .. } = sink;
    files += others;
    if let Some(e) = failed {
        return Err(e);
    }
    archive.manifest.deliveries = copied?.deliveries;
    let bytes = archive.manifest.entries.iter().map(|entry| entry.bytes).sum();
    let manifest = std::mem::take(&mut archive.manifest);
    archive.json(MANIFEST, &manifest)?;
    Ok(Held { made_at, files, deliveries: manifest.deliveries, bytes })
}

struct Archive<'a> {
    tar: tar::Builder<&'a mut dyn Write>,
    manifest: Manifest,
    at: Timestamp,
}

impl Archive<'_> {
    fn entry(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.at.as_micros() / 1_000_000).unwrap_or(0));
        // Names that need an extension of the format are not ours, and reading knows none.
        let stream = |source| BackupError::Stream { doing: "written", source };
        header.set_path(name).map_err(stream)?;
        header.set_cksum();
        self.tar.append(&header, bytes).map_err(stream)?;
        let sha256 = hex(&Sha256::digest(bytes));
        self.manifest.entries.push(Listed { name: name.to_owned(), bytes: bytes.len() as u64, sha256 });
        Ok(())
    }

    fn json(&mut self, name: &str, value: &impl serde::Serialize) -> Result<(), BackupError> {
        let text = serde_json::to_vec(value).map_err(|e| BackupError::NotWhole(e.to_string()))?;
        self.entry(name, &text)
    }

    /// Adds a file of the data folder, if it is there.
    fn file(&mut self, data: &Path, name: &str) -> Result<bool, BackupError> {
        let path = data.join(name);
        let io = |source| BackupError::Io { doing: "read", path: path.clone(), source };
        match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(io(e)),
            Ok(file) if file.len() > MAX_FILE => return Err(io(io::ErrorKind::FileTooLarge.into())),
            Ok(_) => {}
        }
        match fs::read(&path) {
            // Replaced by its next version, or put aside, at this very moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(io(e)),
            Ok(bytes) => self.entry(&format!("{DATA}{name}"), &bytes).map(|()| true),
        }
    }
}

/// What takes the spool's parts.
struct Sink<'s, 'a> {
    data: &'s Path,
    archive: &'s mut Archive<'a>,
    parts: u64,
    files: u64,
    /// Why it broke off, where that is not the spool's.
    failed: Option<BackupError>,
}

impl Sink<'_, '_> {
    fn keep(&mut self, done: Result<(), BackupError>) -> io::Result<()> {
        done.map_err(|e| {
            let told = io::Error::other(e.to_string());
            self.failed = Some(e);
            told
        })
    }
}

impl CopySink for Sink<'_, '_> {
    fn begun(&mut self) -> io::Result<()> {
        let all = (|| {
            let log = self.data.join("audit.jsonl");
            let io = |source| BackupError::Io { doing: "read", path: log.clone(), source };
            // Opened before the others are listed, because its files get other names while it is written.
            let parts = audit::parts(self.data).map_err(io)?;
            for mut part in parts {
                let mut bytes = Vec::new();
                part.content.read_to_end(&mut bytes).map_err(io)?;
                let name = part.path.file_name().unwrap_or_default().to_string_lossy();
                self.archive.entry(&format!("{DATA}{name}"), &bytes)?;
                self.files += 1;
            }
            for name in others(self.data)?.iter().filter(|name| !audit::is_part(name)) {
                self.files += u64::from(self.archive.file(self.data, name)?);
            }
            Ok(())
        })();
        self.keep(all)
    }

    fn part(&mut self, part: &[u8]) -> io::Result<()> {
        self.parts += 1;
        let name = format!("{SPOOL}{:08}", self.parts);
        let added = self.archive.entry(&name, part);
        self.keep(added)
    }
}

/// The names of all other files of the data folder, below it, in order.
fn others(data: &Path) -> Result<BTreeSet<String>, BackupError> {
    let mut names = BTreeSet::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((below, depth)) = folders.pop() {
        let path = data.join(&below);
        let io = |source| BackupError::Io { doing: "look into", path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let kind = entry.file_type().map_err(io)?;
            let name = below.join(entry.file_name());
            // Names that are not ours to begin with are not text.
            let Some(shown) = name.to_str() else { continue };
            let passing = shown.ends_with(".new") || shown.contains(".new-") || shown.starts_with(super::UNFINISHED);
            if passing || LEFT_OUT.contains(&shown) || FIRST.contains(&shown) {
                continue;
            }
            if kind.is_dir() && depth < super::read::MAX_DEPTH {
                folders.push((name, depth + 1));
            } else if kind.is_file() {
                names.insert(shown.to_owned());
            }
            if names.len() > MAX_FILES {
                return Err(io(io::Error::other(format!("there are more than {MAX_FILES} files in it"))));
            }
        }
    }
    Ok(names)
}
