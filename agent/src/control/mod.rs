//! What commands can do with the store: the same operations whether this process has it open or a running agent does.
//!
//! [`Operations`] has them once. A running agent serves them (`api`), and a command finds out here which of the two it is: it asks the
//! agent that the data folder's `agent.json` names, or opens the store itself.

mod edited;
mod filter;
mod follow;
mod held;
mod inspect;
mod local;
mod operations;
mod remote;
mod trigger;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tunnel_archive::{Archive, ArchiveError, Options};
use tunnel_delivery::Stored;

pub use edited::Edited;
pub use filter::{Filter, Found};
pub use follow::{Follow, Told};
pub use held::{AgentFile, Claim};
pub use inspect::{Marking, PageAsk, PageFound, Totals};
pub use local::{Followed, Follower, Local};
pub use operations::{Explained, Operations, Replay, Replayed, Status, Verify};
pub use remote::Remote;
pub use trigger::{Trigger, Triggered, payload};

/// Why a command was not done. `kind` decides the exit code.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// For programs.
    pub kind: Kind,
    /// What was wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// There is no such thing, or the answer is no.
    Negative,
    /// It was asked for wrongly.
    Usage,
    /// Somebody who is needed cannot be reached, or the store cannot be used.
    Unreachable,
}

impl ControlError {
    /// A failure without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> ControlError {
        ControlError { kind, message: message.into(), hint: None }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> ControlError {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ArchiveError> for ControlError {
    fn from(e: ArchiveError) -> ControlError {
        let kind = match e {
            ArchiveError::Unknown(_) => Kind::Negative,
            ArchiveError::Held { .. } => Kind::Usage,
            _ => Kind::Unreachable,
        };
        ControlError::new(kind, e.to_string())
    }
}

/// How long somebody who wants the store waits for a command that has it open; commands are short.
const HELD_WAIT: Duration = Duration::from_secs(5);

/// Makes a folder that only its user can look into: what Healthie sends may be about patients.
fn private_folder(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Opens the store in the data folder; waits for a command that has it.
///
/// # Errors
/// [`ArchiveError`]; `Held` if whoever has it keeps it.
pub async fn open_archive(data: &Path) -> Result<Archive, ArchiveError> {
    let dir = data.join("archive");
    let deadline = Instant::now() + HELD_WAIT;
    loop {
        let dir = dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            private_folder(&dir).map_err(|source| ArchiveError::Io {
                doing: "create",
                path: dir.clone(),
                source: std::sync::Arc::new(source),
            })?;
            Archive::open(&dir, Options::default())
        });
        match opened.await.unwrap_or(Err(ArchiveError::Closed)) {
            // A running agent keeps it; anybody else is a command, even where a killed agent left its file.
            Err(ArchiveError::Held { .. }) if Instant::now() < deadline && Remote::find(data).await.is_none() => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// Who does what a command asks for.
pub enum Control {
    /// This process has the store open.
    Local(Box<Operations>),
    /// A running agent has it.
    Remote(Remote),
}

impl Control {
    /// Everything about one delivery; `id` is `latest`, an id, or a part of one.
    ///
    /// # Errors
    /// There is none, there are several, or the store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Stored, ControlError> {
        match self {
            Control::Local(ops) => ops.get(id).await,
            Control::Remote(agent) => agent.ask("get", &id).await,
        }
    }

    /// A list.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, filter: &Filter) -> Result<Found, ControlError> {
        match self {
            Control::Local(ops) => ops.list(filter).await,
            Control::Remote(agent) => agent.ask("list", filter).await,
        }
    }

    /// Sends a stored delivery again.
    ///
    /// # Errors
    /// It cannot be tried; a try that failed is not an error.
    pub async fn replay(&self, replay: &Replay) -> Result<Replayed, ControlError> {
        match self {
            Control::Local(ops) => ops.replay(replay).await,
            Control::Remote(agent) => agent.ask("replay", replay).await,
        }
    }

    /// Checks a stored delivery's signature now.
    ///
    /// # Errors
    /// There is no such delivery, or a secret is empty.
    pub async fn verify(&self, verify: &Verify) -> Result<Explained, ControlError> {
        match self {
            Control::Local(ops) => ops.verify(verify).await,
            Control::Remote(agent) => agent.ask("verify", verify).await,
        }
    }

    /// Sends one synthetic delivery.
    ///
    /// # Errors
    /// It cannot be made, or nobody knows where to send it.
    pub async fn trigger(&self, trigger: &Trigger) -> Result<Triggered, ControlError> {
        match self {
            Control::Local(ops) => ops.trigger(trigger).await,
            Control::Remote(agent) => agent.ask("trigger", trigger).await,
        }
    }

    /// Closes the store, if it is open here.
    pub async fn close(self) {
        if let Control::Local(ops) = self {
            // What was written is on the disk already; a failure to close was told when it happened.
            let _ = ops.hand.archive.clone().close().await;
        }
    }
}
