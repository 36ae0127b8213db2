//! When a relay was last at work on this spool: a time in `alive`, a file beside it, written now and then and at the end. Devices that were there when a relay was
//! killed were there at least until then. Blocks on the disk.
//!
//! It is not waited for until it is on the disk: a relay that is killed leaves what was written, and after a power cut an older time, or none, is as true.

use std::io::Error;
use std::path::Path;

use tunnel_delivery::Timestamp;

/// How the file is named.
const NAME: &str = "alive";

/// What stands there; nothing where nothing does that can be read.
pub(super) fn read(spool: &Path) -> Option<Timestamp> {
    serde_json::from_slice(&std::fs::read(spool.join(NAME)).ok()?).ok()
}

/// Writes that it is now.
///
/// # Errors
/// It cannot be written; what stood there may be gone.
pub(super) fn write(spool: &Path, now: Timestamp) -> Result<(), Error> {
    let (new, path) = (spool.join("alive.new"), spool.join(NAME));
    let file = tunnel_vault::write_private(&new, &serde_json::to_vec(&now)?)?;
    crate::ownership::hand_over(&file, spool)?;
    std::fs::rename(new, path)
}
