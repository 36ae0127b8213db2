//! The floor of the disk: one write and one sync of the same bytes, one after the other, in a bare file.
//!
//! The baseline writes where the file already has its blocks, so that a sync brings data to the disk and nothing else: no store that answers
//! for each write alone can be quicker. A file that grows costs a change of the file system's own books with each sync as well; that
//! is measured beside it, since it is what a plain log would do.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::error::{self, BenchError};
use crate::figures;

/// How much of the file has its blocks before the baseline writes, in bytes; then it begins at the front again.
const LAID_OUT: usize = 4 << 20;

/// How the two are printed, in the order in which they are measured.
pub(crate) const NAMES: [&str; 2] = ["the floor: bare write+fdatasync", "bare write+fdatasync, file grows"];

/// A bare file beside what is measured.
pub(crate) struct Floor {
    file: File,
    bytes: Vec<u8>,
}

impl Floor {
    /// Makes the file; each write will have that many bytes.
    pub(crate) fn create(path: &Path, bytes: usize) -> Result<Floor, BenchError> {
        let file = File::create(path).map_err(error::io("make a file in the temporary folder"))?;
        // Not zeros, which a file system might leave out.
        let bytes = (0..bytes).map(|at| (at % 251) as u8 + 1).collect();
        Ok(Floor { file, bytes })
    }

    /// How many writes per second into blocks that are there are each on the disk before the next begins.
    pub(crate) fn rate(&mut self, limit: Duration) -> Result<f64, BenchError> {
        self.begin()?;
        let Floor { file, bytes } = self;
        let filling = vec![1; LAID_OUT];
        let laid_out = file.write_all(&filling).and_then(|()| file.sync_all()).and_then(|()| file.rewind());
        laid_out.map_err(error::io("fill a file"))?;
        let mut at = 0;
        figures::rate(limit, &mut || {
            at += bytes.len();
            if at > LAID_OUT {
                file.rewind().map_err(error::io("begin a file anew"))?;
                at = bytes.len();
            }
            let written = file.write_all(bytes).and_then(|()| file.sync_data());
            written.map_err(error::io("write and sync a file"))
        })
    }

    /// The same with a file that grows.
    pub(crate) fn growing_rate(&mut self, limit: Duration) -> Result<f64, BenchError> {
        self.begin()?;
        let Floor { file, bytes } = self;
        figures::rate(limit, &mut || {
            let written = file.write_all(bytes).and_then(|()| file.sync_data());
            written.map_err(error::io("write and sync a file"))
        })
    }

    fn begin(&mut self) -> Result<(), BenchError> {
        let Floor { file, .. } = self;
        let begun = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.sync_all());
        begun.map_err(error::io("begin a file anew"))
    }
}

#[cfg(test)]
mod tests {
    use tunnel_testkit::Stage;

    use super::*;

    #[test]
    fn the_baseline_stays_within_what_is_laid_out_and_the_other_grows() {
        let stage = Stage::new();
        let path = stage.folder().join("floor");
        // The third write of this length would not fit.
        let mut floor = Floor::create(&path, LAID_OUT / 2 - 1).unwrap();
        let len = || std::fs::metadata(&path).unwrap().len();
        assert!(floor.rate(Duration::from_millis(50)).unwrap() > 0.0);
        assert_eq!(len(), LAID_OUT as u64);
        assert!(floor.growing_rate(Duration::from_millis(1)).unwrap() > 0.0);
        assert_eq!(len() % (LAID_OUT as u64 / 2 - 1), 0);
    }
}
