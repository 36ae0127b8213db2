//! What this program's commands ask of the relay that runs on their data folder: which devices a tunnel has, to forget one, and how certificates stand; to take
//! over at once what they changed in the registry; to look at everything again; for a backup. They ask over a socket in the folder, because the spool belongs to the
//! running relay alone. Whoever may open the folder may ask.
//!
//! One line of JSON each way, then the connection ends. `words` are those lines; `answering` is the running relay's end of the socket, `asking` the
//! command's; `spooled` answers from the spool what a command that finds no relay answers itself; `backup` is a backup from the relay that runs. Tunnels and
//! tokens are not asked for here: they are in the registry's file.

mod answering;
mod asking;
mod backup;
mod spooled;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use answering::{close, listen, look_again, serve};
pub(crate) use asking::{AskError, ask, ask_running, ask_telling};
pub(crate) use backup::back_up;
pub(crate) use words::{Device, Question, Reloaded, Told, Wish, Without};

/// The longest question and the longest answer, in bytes. A tunnel has 64 devices at most, so the answer holds some hundreds of full tunnels.
const LINE_MAX: u64 = 8 << 20;

/// How long a question and its answer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The same where deliveries may have to be dropped before the answer, or files looked at.
const LOOK_WITHIN: Duration = Duration::from_secs(120);
/// The same for what compacts the spool's file.
const TIDY_WITHIN: Duration = Duration::from_secs(600);

fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}
