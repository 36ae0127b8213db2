//! Compaction: the engine never shortens its file reliably, so what is live is copied into a new store beside the old one.
//!
//! The copy is made in slices between other work, and follows what is written meanwhile (`engine`). It is synced as it grows, on a
//! thread of its own: with the usual way of ext4 a sync of one file waits for what others have just added. When it is complete, the
//! folder names it its store in one step, and the old one goes. Ended before that, the copy is left over and the next open removes it.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::{Engine, Fault};
use crate::error::ArchiveError;
use crate::folder::{self, Folder};
use crate::queue::Reply;
use crate::space::Space;

/// What [`crate::Archive::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The length of the store's file before, in bytes.
    pub before: u64,
    /// Its length afterwards, in bytes.
    pub after: u64,
}

/// How many bytes are copied at once.
const SLICE: usize = 96 * 1024;

/// For how long a turn goes on copying.
const TURN: Duration = Duration::from_millis(3);

/// How much is copied between two syncs.
const SYNC_EVERY: usize = 8 << 20;

/// A compaction under way.
pub(crate) struct Compaction {
    pub(crate) replies: Vec<Reply<Compacted>>,
    /// Those who asked when something had been removed that was copied already: a removal leaves its bytes in the copy's file too, so they get another one.
    pub(crate) again: Vec<Reply<Compacted>>,
    /// Whether that is so.
    pub(crate) stale: bool,
    /// Whether anything was copied.
    pub(crate) begun: bool,
    pub(crate) before: u64,
    /// Where the copy lies.
    pub(crate) dir: PathBuf,
    unsynced: usize,
    sync: Option<JoinHandle<std::io::Result<()>>>,
    complete: bool,
}

/// How a slice ended.
pub(crate) enum Step {
    /// There is more to copy.
    Again,
    /// A sync is under way; there is nothing to do for this long.
    Wait(Duration),
    /// Everything is copied and nearly everything on the disk.
    Ready,
}

impl Compaction {
    /// Begins, if there is room for a copy of this many bytes.
    pub(crate) fn begin(
        engine: &Engine,
        folder: &Folder,
        space: &Space,
        live: u64,
        cache_bytes: u64,
    ) -> Result<Compaction, ArchiveError> {
        space.check_room(live)?;
        let dir = folder.next_store()?;
        let failed = |fault: Fault| ArchiveError::Failed { detail: fault.detail };
        if let Err(fault) = engine.follow(&dir, cache_bytes) {
            let _ = folder::remove_store(&dir);
            return Err(failed(fault));
        }
        Ok(Compaction {
            replies: Vec::new(),
            again: Vec::new(),
            stale: false,
            begun: false,
            before: engine.disk_bytes(),
            dir,
            unsynced: 0,
            sync: None,
            complete: false,
        })
    }

    /// Goes on for a while.
    pub(crate) fn slice(&mut self, engine: &Engine, space: &Space) -> Result<Step, ArchiveError> {
        let failed = |detail: String| ArchiveError::Failed { detail: format!("the copy was given up: {detail}") };
        if let Some(sync) = &self.sync {
            if !sync.is_finished() {
                return Ok(Step::Wait(Duration::from_millis(1)));
            }
            match self.sync.take().map(JoinHandle::join) {
                Some(Ok(Err(error))) => return Err(failed(error.to_string())),
                Some(Err(_)) => return Err(failed("its sync gave up".into())),
                _ => {}
            }
            if self.complete {
                return Ok(Step::Ready);
            }
        }
        // The rest of the archive must find its room as before.
        space.check_room(SYNC_EVERY as u64)?;
        self.begun = true;
        let until = Instant::now() + TURN;
        while !self.complete && self.unsynced < SYNC_EVERY && Instant::now() < until {
            self.complete = engine.copy_on(SLICE).map_err(|fault| failed(fault.detail))?;
            self.unsynced += SLICE;
        }
        if self.complete || self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            if let Some(file) = engine.copy_file() {
                let file = file.map_err(|error| failed(error.to_string()))?;
                let sync = std::thread::Builder::new().name("archive-sync".into()).spawn(move || file.sync_data());
                self.sync = Some(sync.map_err(|error| failed(error.to_string()))?);
            }
        }
        Ok(Step::Again)
    }

    /// Gives up: the copy goes, and whoever waits is told why.
    pub(crate) fn give_up(self, engine: Option<&Engine>, error: &ArchiveError) {
        if let Some(engine) = engine {
            engine.drop_copy();
        }
        if let Some(sync) = self.sync {
            let _ = sync.join();
        }
        if let Err(error) = folder::remove_store(&self.dir) {
            tracing::warn!(%error, "an unfinished copy of the archive stays until the next start");
        }
        // Whoever gave up waiting needs no answer.
        self.replies.into_iter().chain(self.again).for_each(|reply| drop(reply.send(Err(error.clone()))));
    }
}
