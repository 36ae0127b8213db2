//! The file in which it is kept whose the devices are: `devices.jsonl`, a line for each change, the last one counts. What is written is on the disk itself, as is the
//! file's name, before it is said to be. Blocks on the disk, all of it.
//!
//! It knows lines and not what they mean.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What is read of the file at most, in bytes: a line has some 150, and it is written anew long before.
const LONGEST: u64 = 256 << 20;
/// The file is written anew when it has so many lines more than twice what they say.
pub(super) const SPARE: usize = 1000;

/// The file.
pub(super) struct Book {
    path: PathBuf,
    /// Lines of it.
    lines: usize,
    /// Open once something was added.
    file: Option<File>,
    /// What was to be written last could not be, and that was told.
    told: bool,
}

/// What is to be written.
pub(super) enum Entries {
    /// These lines behind those that are there.
    More(Vec<u8>),
    /// These instead of all that is there.
    All(Vec<u8>),
}

impl Book {
    /// The file beside the spool, and what is in it. Without one there is nothing.
    pub(super) fn open(spool: &Path) -> (Book, Vec<u8>) {
        let path = spool.join("devices.jsonl");
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "with which tokens devices came cannot be read");
            }
            _ => {}
        }
        // A cut line at the end must not take the next one with it.
        let is_cut = !text.is_empty() && text.last() != Some(&b'\n');
        let lines = if is_cut { usize::MAX } else { lines(&text) };
        (Book { path, lines, file: None, told: false }, text)
    }

    /// Whether it is time to write all of it anew, where `count` lines would say the same.
    pub(super) fn is_long(&self, count: usize) -> bool {
        self.lines > count.saturating_mul(2).saturating_add(SPARE)
    }

    /// Writes, and returns when it is durable. What could not be written is told in the log, once until it can be.
    ///
    /// # Errors
    /// Nothing more is said; how much of it is in the file is not known.
    pub(super) fn write(&mut self, entries: &Entries) -> Result<(), ()> {
        let written = match entries {
            Entries::More(text) => self.append(text),
            Entries::All(text) => self.write_anew(text),
        };
        match written {
            Ok(()) if self.told => {
                self.told = false;
                tracing::info!(path = %self.path.display(), "with which tokens devices came is noted again");
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.told, true) {
                    // What is known is in force all the same.
                    tracing::warn!(path = %self.path.display(), %error, "with which token a device came cannot be noted; it is tried again");
                }
                Err(())
            }
        }
    }

    fn append(&mut self, text: &[u8]) -> Result<(), Error> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = File::options().append(true).create(true).mode(0o600).open(&self.path)?;
                self.hand_over(&file)?;
                self.sync_folder()?;
                file
            }
        };
        file.write_all(text)?;
        file.sync_data()?;
        self.lines = self.lines.saturating_add(lines(text));
        self.file = Some(file);
        Ok(())
    }

    fn write_anew(&mut self, text: &[u8]) -> Result<(), Error> {
        self.file = None;
        let new = self.path.with_extension("jsonl.new");
        let file = tunnel_vault::write_private(&new, text)?;
        self.hand_over(&file)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        self.sync_folder()?;
        self.lines = lines(text);
        Ok(())
    }

    /// The next relay may not be root's, as this one may be.
    fn hand_over(&self, file: &File) -> Result<(), Error> {
        self.path.parent().map_or(Ok(()), |folder| crate::ownership::hand_over(file, folder))
    }

    fn sync_folder(&self) -> Result<(), Error> {
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}
