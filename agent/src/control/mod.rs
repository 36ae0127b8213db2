//! What commands can do with the store: the same operations whether this process has it open or a running agent does.
//!
//! [`Operations`] has them once. A running agent serves them (`api`), and a command finds out here which of the two it is: it asks the
//! agent that the data folder's `agent.json` names, or opens the store itself.

mod edited;
mod export;
mod filter;
mod follow;
mod groups;
mod held;
mod inspect;
mod load;
mod local;
mod meant;
mod operations;
mod production;
mod remote;
mod remove;
mod stats;
mod status;
mod steer;
mod store;
mod trigger;
mod verify;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tunnel_archive::{Archive, ArchiveError, Options};
use tunnel_delivery::Stored;
use tunnel_vault::{KeySource, UserKey, Vault, VaultError};

use remote::{but_id, delivery};

pub use edited::Edited;
pub use export::{Export, Exported};
pub use filter::{Filter, Found};
pub use follow::{Follow, Told};
pub use groups::{Group, Grouped};
pub use held::{AgentFile, Claim};
pub use inspect::{Marking, PageAsk, PageFound, Totals};
pub use load::{Load, Loaded};
pub use local::{Followed, Follower, Local};
pub use operations::{Aimed, Operations, Replay, Replayed, Running};
pub use remote::Remote;
pub use remove::{Purged, Remove, RemoveDone};
pub use stats::StatsAsk;
pub use status::{Figures, Hello, Status, Waiting};
pub use steer::Steering;
pub use store::{Checked, Finding, Ids, Rekey, Saved, Shrunk, Watch};
pub use trigger::{Trigger, Triggered, payload};
pub use verify::{Copied, CopyOf, Examine, Verify, examine_alone};

use crate::audit::{Audit, By};

pub use crate::examine::Explained;
pub use crate::gaps::Missed;

pub(crate) use verify::own_url;

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
    /// The store is damaged.
    Damaged,
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
            ArchiveError::Held { .. } | ArchiveError::TooLarge { .. } | ArchiveError::Key(_) => Kind::Usage,
            ArchiveError::Damaged { .. } => Kind::Damaged,
            _ => Kind::Unreachable,
        };
        let hint = match &e {
            ArchiveError::Damaged { dir, .. } => Some(damaged(dir)),
            ArchiveError::Key(VaultError::Missing { dir, .. } | VaultError::Wrong { dir, .. }) => Some(key_hint(dir)),
            _ => None,
        };
        ControlError { kind, message: e.to_string(), hint }
    }
}

/// How a key is given, and what is left where there is none any more; `locked` is the archive or the device's keys, in the data folder both.
fn key_hint(locked: &Path) -> String {
    let data = locked.parent().unwrap_or(locked).display();
    format!(
        "give the key with --store-key-file, HEALTHIE_TUNNEL_STORE_KEY, --store-key-keyring or --store-key-command; nothing opens them without it: \
         if it is lost, move `archive` and `device.keys` in {data} away and start anew, without what is stored there and what was sealed to this \
         device and waits at the relay"
    )
}

/// What can be done about a damaged archive in `dir`, with the data folder that the commands need; the error names the commands without it.
pub(crate) fn damaged(dir: &Path) -> String {
    let flag = data_flag(dir.parent().unwrap_or(dir));
    format!(
        "`healthie-tunnel store export {flag} --out FILE` writes what is readable to a file; all of these commands take {flag}"
    )
}

/// `--data DIR` as it can be pasted into a shell.
pub(crate) fn data_flag(data: &Path) -> String {
    format!("--data {}", shell_word(&data.display().to_string()))
}

/// A word as it can be pasted into a shell.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+=@:".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
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

/// Whether there is a store in the data folder, or what is left of one. A folder that nobody may look into counts as one: opening it says what is
/// wrong.
pub fn has_store(data: &Path) -> bool {
    match std::fs::read_dir(data.join("archive")) {
        // The lock alone is what somebody left who looked, or died before there was anything.
        Ok(mut entries) => entries.any(|e| e.map_or(true, |e| e.file_name() != "lock")),
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    }
}

/// What a command that only reads says where there is nothing to read. It must make no store: the folder's name may be a slip.
fn nothing_there(data: &Path) -> ControlError {
    let what = if data.try_exists().unwrap_or(true) { "has no stored deliveries in it" } else { "does not exist" };
    ControlError::new(Kind::Usage, format!("the data folder {} {what}", data.display())).hint(
        "name the folder with --data as `healthie-tunnel listen` has it; `listen` makes a store where there is none",
    )
}

/// Opens the store in the data folder, or makes one; waits for a command that has it. One that is not encrypted is from then on, where a key is given:
/// [`key_as_it_is`] keeps a command from that.
///
/// # Errors
/// [`ArchiveError`]; `Held` if whoever has it keeps it.
pub(crate) async fn open_archive(data: &Path, key: Option<UserKey>) -> Result<Archive, ArchiveError> {
    let dir = data.join("archive");
    let deadline = Instant::now() + HELD_WAIT;
    loop {
        let (dir, key) = (dir.clone(), key.clone());
        let opened = tokio::task::spawn_blocking(move || {
            private_folder(&dir).map_err(|source| ArchiveError::Io {
                doing: "create",
                path: dir.clone(),
                source: std::sync::Arc::new(source),
            })?;
            Archive::open(&dir, Options { key, ..Options::default() })
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

/// The key for whoever must leave the store's form as it is: none for a store that is not encrypted. It would be encrypted from then on and need the key
/// ever after, because of a command that only looks.
pub(crate) async fn key_as_it_is(data: &Path, source: Option<&KeySource>) -> Result<Option<UserKey>, ArchiveError> {
    let standing = Vault::standing(&data.join("archive"))?;
    if source.is_some() && has_store(data) && standing.as_ref().is_none_or(|store| !store.needs) {
        // A key that is at hand is judged as `listen` would; nobody is asked for one that nothing needs, nor waits for one at a pipe or misses a file that is gone.
        let at_hand = match source {
            Some(KeySource::File(path)) => path.is_file(),
            Some(KeySource::Text(..)) => true,
            _ => false,
        };
        let key = if at_hand || standing.is_some() { user_key(source).await? } else { None };
        // With the key that encrypting was turned off with, it stays off.
        if let Some(key) = key.filter(|key| standing.is_some_and(|off| off.key == key.id())) {
            return Ok(Some(key));
        }
        tracing::warn!(data = %data.display(), "a key is given and the store is not encrypted: it stays as it is; `healthie-tunnel listen` with the key encrypts what comes from then on");
        return Ok(None);
    }
    user_key(source).await
}

/// Gets the key, which may take a command, and that may ask something.
pub(crate) async fn user_key(source: Option<&KeySource>) -> Result<Option<UserKey>, ArchiveError> {
    let Some(source) = source.cloned() else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || source.read());
    Ok(Some(read.await.map_err(|_| ArchiveError::Closed)??))
}

/// Refuses an id that is empty: on the way to a running agent it would be another path.
fn some_id(id: &str) -> Result<(), ControlError> {
    if id.trim().is_empty() {
        let e = ControlError::new(Kind::Usage, "the id of a delivery is empty");
        return Err(e.hint("name one, or write `latest`; `healthie-tunnel events list` shows what is there"));
    }
    Ok(())
}

/// Who does what a command asks for.
pub enum Control {
    /// This process has the store open.
    Local(Box<Operations>),
    /// A running agent has it.
    Remote(Remote),
}

impl Control {
    /// Everything about one delivery, with a hint where its signature is not valid; `id` is `latest`, an id, or a part of one.
    ///
    /// # Errors
    /// There is none, there are several, or the store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Stored, ControlError> {
        some_id(id)?;
        match self {
            Control::Local(ops) => ops.show(id).await,
            Control::Remote(agent) => agent.get(&delivery(id, ""), &[]).await,
        }
    }

    /// A list.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, filter: &Filter) -> Result<Found, ControlError> {
        match self {
            Control::Local(ops) => ops.list(filter).await,
            Control::Remote(agent) => agent.list(filter).await,
        }
    }

    /// A list in which repeats stand with what they repeat.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn groups(&self, filter: &Filter) -> Result<Grouped, ControlError> {
        match self {
            Control::Local(ops) => ops.groups(filter).await,
            Control::Remote(agent) => agent.groups(filter).await,
        }
    }

    /// Sends a stored delivery again.
    ///
    /// # Errors
    /// It cannot be tried; a try that failed is not an error.
    pub async fn replay(&self, replay: &Replay) -> Result<Replayed, ControlError> {
        some_id(&replay.id)?;
        match self {
            Control::Local(ops) => ops.replay(replay).await,
            Control::Remote(agent) => agent.post(&delivery(&replay.id, "/replays"), &but_id(replay)?).await,
        }
    }

    /// Where a stored delivery would go if it was sent again, or why it would not be sent. Sends nothing.
    ///
    /// # Errors
    /// There is no such delivery, or no target for it, or one that it may not be sent to.
    pub async fn aim(&self, replay: &Replay) -> Result<Aimed, ControlError> {
        some_id(&replay.id)?;
        match self {
            Control::Local(ops) => ops.aim(replay).await,
            Control::Remote(agent) => agent.post(&delivery(&replay.id, "/replays/dry-run"), &but_id(replay)?).await,
        }
    }

    /// Checks a stored delivery's signature now.
    ///
    /// # Errors
    /// There is no such delivery, or a secret is empty.
    pub async fn verify(&self, verify: &Verify) -> Result<Explained, ControlError> {
        some_id(&verify.id)?;
        match self {
            Control::Local(ops) => ops.verify(verify).await,
            Control::Remote(agent) => agent.post(&delivery(&verify.id, "/signature"), &but_id(verify)?).await,
        }
    }

    /// Checks the signature of a request from elsewhere.
    ///
    /// # Errors
    /// A secret is empty, or the store cannot be read.
    pub async fn examine(&self, asked: Examine) -> Result<Explained, ControlError> {
        match self {
            Control::Local(ops) => ops.examine(asked).await,
            Control::Remote(agent) => agent.post("/v1/signatures", &asked).await,
        }
    }

    /// Copies a stored delivery for something else to send.
    ///
    /// # Errors
    /// There is no such delivery, or it is to be signed again and cannot be.
    pub async fn copy(&self, copy: &CopyOf) -> Result<Copied, ControlError> {
        some_id(&copy.id)?;
        match self {
            Control::Local(ops) => ops.copy(copy).await,
            Control::Remote(agent) => agent.post(&delivery(&copy.id, "/copy"), &but_id(copy)?).await,
        }
    }

    /// Stores a delivery that did not come from the relay.
    ///
    /// # Errors
    /// It is longer than anything that can be delivered, or cannot be stored.
    pub async fn load(&self, load: Load) -> Result<Loaded, ControlError> {
        match self {
            Control::Local(ops) => ops.load(load).await,
            Control::Remote(agent) => agent.post("/v1/deliveries", &load).await,
        }
    }

    /// Sends one synthetic delivery.
    ///
    /// # Errors
    /// It cannot be made, or nobody knows where to send it.
    pub async fn trigger(&self, trigger: &Trigger) -> Result<Triggered, ControlError> {
        match self {
            Control::Local(ops) => ops.trigger(trigger).await,
            Control::Remote(agent) => agent.post("/v1/triggers", trigger).await,
        }
    }

    /// How the agent and the store are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn status(&self) -> Result<Status, ControlError> {
        match self {
            Control::Local(ops) => ops.status().await,
            Control::Remote(agent) => agent.get("/v1/status", &[]).await,
        }
    }

    /// Where is noted what is done with deliveries, for what is not done through this.
    pub(crate) fn audit(&self) -> Audit {
        match self {
            Control::Local(ops) => ops.audit.clone(),
            Control::Remote(agent) => Audit::new(&agent.data, By::Command),
        }
    }

    /// Closes the store, if it is open here.
    pub async fn close(self) {
        if let Control::Local(ops) = self {
            // What was written is on the disk already; a failure to close was told when it happened.
            let _ = ops.archive.clone().close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, data_flag, some_id};
    use std::path::Path;

    #[test]
    fn an_empty_id_is_no_delivery() {
        for id in ["", " "] {
            assert_eq!(some_id(id).unwrap_err().kind, Kind::Usage, "{id:?}");
        }
        assert!(some_id("latest").is_ok());
    }

    #[test]
    fn a_folder_s_name_can_be_pasted() {
        assert_eq!(data_flag(Path::new("/home/x/.local")), "--data /home/x/.local");
        assert_eq!(data_flag(Path::new("it's $HOME")), r"--data 'it'\''s $HOME'");
    }
}
