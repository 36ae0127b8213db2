//! Saving what is readable of a store that is damaged: [`rescue`] hands it out, [`repair`] builds a new store of it.

use std::path::{Path, PathBuf};

use tunnel_delivery::{AnswerClass, Stored};

use crate::error::ArchiveError;
use crate::report::{Named, Progress};

/// A delivery that was saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescued {
    /// The delivery with those of its attempts that can be read.
    pub stored: Stored,
    /// What the last attempt came to, or that it waits to be forwarded.
    pub class: AnswerClass,
    /// How many attempts it had of which nothing can be read.
    pub attempts_lost: u32,
    /// Whether it had a note that cannot be read.
    pub note_lost: bool,
}

/// What a rescue found, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// How many deliveries were saved.
    pub deliveries: u64,
    /// How many attempts with them.
    pub attempts: u64,
    /// Deliveries that were there and of which too little is readable.
    pub lost: Named,
    /// Deliveries that were saved without a note or an attempt that they had.
    pub incomplete: Named,
}

/// What [`repair`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What the new store has and what was lost.
    pub salvage: Salvage,
    /// Where the damaged files are now. They are not needed any more.
    pub aside: Vec<PathBuf>,
}

/// Reads everything that is readable of the archive in this folder, whatever state it is in, and hands it out, oldest first.
/// The archive must not be open; nothing in it is changed. Blocks.
///
/// # Errors
/// [`ArchiveError::Held`], [`ArchiveError::Newer`], [`ArchiveError::Io`].
pub fn rescue(dir: &Path, progress: impl FnMut(Progress), each: impl FnMut(Rescued)) -> Result<Salvage, ArchiveError> {
    let _ = (progress, each);
    Err(ArchiveError::Failed { detail: format!("nothing is rescued from {} yet", dir.display()) })
}

/// Builds a new store of everything that is readable, puts the damaged files aside within the folder, and makes the folder usable
/// again. The archive must not be open. Ended half way, it leaves everything as it was and can be done again. Blocks.
///
/// # Errors
/// As [`rescue`]; [`ArchiveError::DiskFull`] if there is no room for the new store.
pub fn repair(dir: &Path, progress: impl FnMut(Progress)) -> Result<Repaired, ArchiveError> {
    let _ = progress;
    Err(ArchiveError::Failed { detail: format!("{} cannot be repaired yet", dir.display()) })
}
