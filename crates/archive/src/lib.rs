//! What the agent keeps: deliveries exactly as they came, the attempts to hand them over, what the developer said about them, and
//! the indexes that make lists cheap.
//!
//! [`Archive`] is a cheap handle. Writes go through one thread, which takes everything that waits, makes one atomic change of it,
//! brings that to the disk with one sync and then answers everybody (group commit): whoever has been answered will find the record
//! after a kill or a power cut. Reads run beside it and block; call them from a thread that may.
//!
//! How a record lies in the store: `record`, `attempt` and `codes` (encoding), `keys` (which keys there are), `piece` (no value above
//! 4 KiB), `shelf` and `postings` (records and indexes in blocks), `sketch` (what a search for text may pass over), `ledger` (which keys one
//! operation changes). `engine` is the only file that knows which storage engine this is; what a key hides and what not is in `veil`.
//!
//! This room knows nothing of network and interface, and does not ask what time it is: every time it stores came in
//! with a record.

mod archive;
mod attempt;
mod check;
mod chores;
mod codes;
mod compact;
mod engine;
mod erase;
mod error;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod keep;
mod keys;
mod ledger;
mod migrate;
mod pending;
mod piece;
mod postings;
mod query;
mod queue;
mod reader;
mod record;
mod reindex;
mod rekey;
mod report;
mod rescue;
mod scan;
mod seal;
mod shelf;
mod sketch;
mod sketching;
mod slot;
mod space;
mod trim;
mod veil;
mod writer;

pub use archive::{Archive, Options, Stats};
pub use check::check;
pub use compact::Compacted;
pub use error::ArchiveError;
pub use keep::{Keep, Removed, Spare, Trimmed};
pub use ledger::{Inserted, Intake};
pub use query::{Cursor, EventPattern, Order, Page, Query};
pub use rekey::{encrypt, rekey};
pub use report::{NAMED, Named, Progress, Report};
pub use rescue::{Repaired, Rescued, Salvage, repair, rescue};
