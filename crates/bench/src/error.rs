//! What can keep the bench from measuring.

use std::io;

use tunnel_archive::ArchiveError;
use tunnel_spool::SpoolError;

/// Why a figure is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The spool refused.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The archive refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// One of the two programs did not do what it was started for.
    #[error("{name}: {what}")]
    Program {
        /// Its name.
        name: String,
        /// What happened, with its last words.
        what: String,
    },
    /// What was measured gave a wrong result, so its speed says nothing.
    #[error("not measured: {0}")]
    Wrong(String),
    /// Deliveries were answered 2xx and never came.
    #[error("{0} deliveries were answered 2xx and never reached the handler")]
    Missing(usize),
    /// A part that ran in a process of its own said why.
    #[error("the part {0} was not measured to its end")]
    Part(String),
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// Turns an error of the system into ours.
pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> BenchError {
    move |source| BenchError::Io { doing, source }
}

/// For results that must not be: the measured thing is broken.
pub(crate) fn wrong(what: impl std::fmt::Display) -> BenchError {
    BenchError::Wrong(what.to_string())
}
