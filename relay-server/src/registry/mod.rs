//! Tunnels and tokens, kept in one small file of the data folder, `registry.json`: `snapshot` is what is in it, `read` how it is read, `changes` what is
//! done to it.
//!
//! A plain file and not a table of the spool, so that `tunnel` and `token` work beside a running relay as well as without one: writers take
//! a lock, write a new file and rename it over the old one; the relay reads it again when it changed. It knows nothing of sessions.

mod changes;
mod read;
mod snapshot;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tunnel_delivery::{Method, Timestamp, TunnelName};
use tunnel_spool::Share;

use crate::ownership::hand_over;
use crate::rates::Rate;
use crate::sources::Source;
use crate::tokens::TokenId;
pub use changes::NewToken;
use read::{FILE_MAX, NotRead, VERSION};
pub use snapshot::{Access, Reserved, Snapshot, TokenRecord};
pub(crate) use snapshot::{Admission, Pass};

/// How a tunnel answers the sender of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AnswerMode {
    /// 200 as soon as the delivery is durably spooled
    #[default]
    Ack,
    /// the handler's own status, headers and body
    Passthrough,
}

impl AnswerMode {
    /// As it is written: `ack` or `passthrough`.
    pub fn as_str(self) -> &'static str {
        match self {
            AnswerMode::Ack => "ack",
            AnswerMode::Passthrough => "passthrough",
        }
    }
}

/// What a passthrough tunnel does with a delivery when no agent is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// answer 503, so that Healthie sends it again later
    #[default]
    Refuse,
    /// spool it and answer 200
    Spool,
}

/// One tunnel's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelSettings {
    /// How it answers.
    #[serde(default)]
    pub answer: AnswerMode,
    /// What a passthrough tunnel does without an agent.
    #[serde(default)]
    pub when_away: WhenAway,
    /// How long a sender waits for the handler's answer in passthrough, in milliseconds.
    #[serde(default = "default_answer_within_ms")]
    pub answer_within_ms: u64,
    /// Whether deliveries are sealed to the keys of the tunnel's devices before anything else is done with them.
    #[serde(default)]
    pub seal: bool,
    /// The methods that it answers.
    #[serde(default = "default_methods", with = "methods")]
    pub methods: Vec<Method>,
    /// From where it takes deliveries; from anywhere if the list is empty.
    #[serde(default)]
    pub from: Vec<Source>,
    /// The longest body, in bytes, where it is to be shorter than the relay's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// Deliveries a second, where it is to be other than the relay's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// Deliveries at once, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// The most bytes that wait for its agents, where that is to be other than the relay's share for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_bytes: Option<u64>,
    /// How long they wait at most, in milliseconds, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_age_ms: Option<u64>,
    /// When the tunnel was added.
    pub created_at: Timestamp,
}

/// Healthie's own time limit is not documented; senders of webhooks commonly wait 10 to 30 seconds.
fn default_answer_within_ms() -> u64 {
    15_000
}

/// What Healthie sends, and all that it sends.
fn default_methods() -> Vec<Method> {
    "POST".parse().into_iter().collect()
}

/// Methods as the file has them.
mod methods {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use tunnel_delivery::Method;

    pub(super) fn serialize<S: Serializer>(methods: &[Method], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(methods.iter().map(Method::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Method>, D::Error> {
        Vec::<String>::deserialize(from)?.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}

impl TunnelSettings {
    /// The settings of a tunnel added at `now` that answers in that way.
    pub fn new(answer: AnswerMode, now: Timestamp) -> TunnelSettings {
        TunnelSettings {
            answer,
            when_away: WhenAway::default(),
            answer_within_ms: default_answer_within_ms(),
            seal: false,
            methods: default_methods(),
            from: Vec::new(),
            max_body: None,
            per_second: None,
            burst: None,
            spool_bytes: None,
            spool_age_ms: None,
            created_at: now,
        }
    }

    /// How many deliveries it takes a second, where `relays` is what tunnels take that say nothing of it. A rate of its own has ten seconds of it at once.
    pub(crate) fn rate(&self, relays: Rate) -> Rate {
        let per_second = self.per_second.unwrap_or(relays.per_second);
        let usual = if self.per_second.is_some() { per_second.saturating_mul(10) } else { relays.burst };
        Rate { per_second, burst: self.burst.unwrap_or(usual) }
    }

    /// What it may hold in the spool, where that is its own.
    pub(crate) fn share(&self) -> Option<Share> {
        let share = Share { max_age: self.spool_age_ms.map(Duration::from_millis), max_bytes: self.spool_bytes };
        (share != Share::default()).then_some(share)
    }

    /// How long a sender waits for the handler's answer.
    pub fn answer_within(&self) -> Duration {
        Duration::from_millis(self.answer_within_ms)
    }
}

/// Why the registry could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file or folder is not accessible.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what this program wrote.
    #[error("{} is damaged: {problem}; restore it from a copy, or remove it and add tunnels and tokens again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file was written by a newer version.
    #[error("{} was written by a newer version (form {found}, this version knows {VERSION}); update healthie-relay", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
    /// There is a tunnel of that name.
    #[error("there is a tunnel {0} already; remove it first, or choose another name")]
    TunnelExists(TunnelName),
    /// There is no tunnel of that name.
    #[error("there is no tunnel {0}; `healthie-relay tunnel list` shows those there are")]
    NoTunnel(TunnelName),
    /// There is no token of that id.
    #[error("there is no token {0}; `healthie-relay token list` shows those there are")]
    NoToken(TokenId),
    /// The token does not open that tunnel.
    #[error("token {token} does not open tunnel {tunnel}; `healthie-relay token list` shows what it opens")]
    NotGranted {
        /// The token.
        token: TokenId,
        /// The tunnel.
        tunnel: TunnelName,
    },
    /// The name was another owner's until not long ago.
    #[error(
        "tunnel {tunnel} was removed on {removed_at} and its name is kept for its owner until {until}: give it back with `--for TOKEN` ({}), or say --take-name to have it all the same",
        opened_by(owners)
    )]
    Reserved {
        /// The name.
        tunnel: TunnelName,
        /// When the tunnel of that name was removed.
        removed_at: Timestamp,
        /// From when on anybody may have it.
        until: Timestamp,
        /// The tokens that may have it now.
        owners: Vec<TokenId>,
    },
    /// The token's time is over.
    #[error("token {0} has expired; create a new one")]
    Expired(TokenId),
    /// No random bytes could be had.
    #[error("the system gave no random bytes: {0}")]
    Random(String),
}

fn opened_by(tokens: &[TokenId]) -> String {
    if tokens.is_empty() {
        return "no token opened it".into();
    }
    let tokens: Vec<String> = tokens.iter().map(TokenId::to_string).collect();
    format!("it was opened by {}", tokens.join(", "))
}

/// Which file was read: a rename changes the inode, a write the time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    inode: u64,
    modified: (i64, i64),
    len: u64,
}

impl Seen {
    /// As before the first look.
    const NOT_YET: Seen = Seen { inode: u64::MAX, modified: (0, 0), len: 0 };

    fn is_a_file(self) -> bool {
        self != Seen::NOT_YET && self != Seen::default()
    }
}

/// The registry of a data folder. A change takes effect in a running relay with its next look at the file, half a second later at most; for a name
/// or token that it does not know it looks at once.
pub struct Registry {
    dir: PathBuf,
    current: RwLock<Arc<Snapshot>>,
    seen: Mutex<Seen>,
}

impl Registry {
    /// Opens the registry of the data folder, making the folder (mode 0700) if it is not there.
    ///
    /// # Errors
    /// The folder or file is not accessible, damaged or of a newer version.
    pub fn open(dir: &Path) -> Result<Registry, RegistryError> {
        let made = tunnel_vault::private_folder(dir);
        let open =
            made.map_err(|source| RegistryError::Io { doing: "make the folder", path: dir.to_owned(), source })?;
        if open {
            tracing::warn!(data = %dir.display(), "others could look into the data folder; it is its owner's alone now");
        }
        let registry = Registry { dir: dir.to_owned(), current: RwLock::default(), seen: Mutex::new(Seen::NOT_YET) };
        registry.reload()?;
        Ok(registry)
    }

    /// Whether the registry of a data folder can be read; nothing is made or changed.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub(crate) fn look(dir: &Path) -> Result<(), RegistryError> {
        read(&path(dir)).map(drop)
    }

    fn path(&self) -> PathBuf {
        path(&self.dir)
    }

    /// Whether there is a file at all, be there tunnels in it or not.
    pub(crate) fn is_there(&self) -> bool {
        self.path().exists()
    }

    /// What is in force: what was last read, not what this process may just have written.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again if it is another one than last time; whether it was.
    ///
    /// # Errors
    /// As [`Registry::open`]; what was read before stays in force.
    pub fn reload(&self) -> Result<bool, RegistryError> {
        let Some(changed) = self.changed()? else { return Ok(false) };
        self.publish(Arc::new(changed.0), changed.1);
        Ok(true)
    }

    /// What the file says now, if it is another one than that which was last published. It is not in force before it is published.
    pub(crate) fn changed(&self) -> Result<Option<(Snapshot, Seen)>, RegistryError> {
        let path = self.path();
        let now = match fs::metadata(&path) {
            Ok(m) => Seen { inode: m.ino(), modified: (m.mtime(), m.mtime_nsec()), len: m.len() },
            // It was there, and commands only ever replace it: somebody has moved it away, for a moment or by mistake. Taken for a registry without tunnels it
            // would have all that waits dropped.
            Err(source) if source.kind() == std::io::ErrorKind::NotFound && self.last_seen().is_a_file() => {
                return Err(RegistryError::Io { doing: "look at", path, source });
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Seen::default(),
            Err(source) => return Err(RegistryError::Io { doing: "look at", path, source }),
        };
        if *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == now {
            return Ok(None);
        }
        match read(&path)? {
            // Gone between the two looks.
            all if all.tunnels.is_empty() && now.is_a_file() && !path.exists() => {
                Err(RegistryError::Io { doing: "read", path, source: std::io::ErrorKind::NotFound.into() })
            }
            all => Ok(Some((all, now))),
        }
    }

    /// Which file is in force.
    pub(crate) fn last_seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what was read into force.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    fn change(&self, edit: impl FnOnce(&mut Snapshot) -> Result<(), RegistryError>) -> Result<(), RegistryError> {
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| RegistryError::Io { doing, path, source }
        };
        // A lock file of its own: the registry itself is replaced, and a lock on a replaced file excludes nobody.
        let lock_path = self.dir.join("registry.lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io("open", &lock_path))?;
        hand_over(&lock, &self.dir).map_err(io("give to the folder's owner", &lock_path))?;
        lock.lock().map_err(io("lock", &lock_path))?;
        let path = self.path();
        let mut all = read(&path)?;
        edit(&mut all)?;
        all.version = VERSION;
        let text = serde_json::to_vec_pretty(&all)
            .map_err(|e| RegistryError::Damaged { path: path.clone(), problem: e.to_string() })?;
        let new_path = self.dir.join("registry.json.new");
        // Made anew: what lies there may be for others to read, or a link.
        let file = tunnel_vault::write_private(&new_path, &text).map_err(io("write", &new_path))?;
        hand_over(&file, &self.dir).map_err(io("give to the folder's owner", &new_path))?;
        file.sync_all().map_err(io("write", &new_path))?;
        fs::rename(&new_path, &path).map_err(io("replace", &path))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io("sync", &self.dir))?;
        drop(lock);
        Ok(())
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("registry.json")
}

fn read(path: &Path) -> Result<Snapshot, RegistryError> {
    let none = Snapshot { version: VERSION, ..Snapshot::default() };
    let damaged = |problem| RegistryError::Damaged { path: path.to_owned(), problem };
    let io = |source| RegistryError::Io { doing: "read", path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(file) if file.len() > FILE_MAX => return Err(damaged(format!("it is longer than {FILE_MAX} bytes"))),
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(none),
        Err(e) => return Err(io(e)),
    }
    read::read(&fs::read(path).map_err(io)?).map_err(|e| match e {
        NotRead::Damaged(problem) => damaged(problem),
        NotRead::TooNew(found) => RegistryError::TooNew { path: path.to_owned(), found },
    })
}
