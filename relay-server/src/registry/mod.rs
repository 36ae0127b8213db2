//! Tunnels and tokens, kept in one small file of the data folder, `registry.json`.
//!
//! A plain file and not a table of the spool, so that `tunnel` and `token` work beside a running relay as well as without one: writers take
//! a lock, write a new file and rename it over the old one; the relay reads it again when it changed. It knows nothing of sessions.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tunnel_delivery::{Timestamp, TunnelName};

use crate::tokens::{Token, TokenHash, TokenId};

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
    /// When the tunnel was added.
    pub created_at: Timestamp,
}

/// Healthie's own time limit is not documented; senders of webhooks commonly wait 10 to 30 seconds.
fn default_answer_within_ms() -> u64 {
    15_000
}

impl TunnelSettings {
    /// The settings of a tunnel added at `now` that answers in that way.
    pub fn new(answer: AnswerMode, now: Timestamp) -> TunnelSettings {
        TunnelSettings {
            answer,
            when_away: WhenAway::default(),
            answer_within_ms: default_answer_within_ms(),
            created_at: now,
        }
    }

    /// How long a sender waits for the handler's answer.
    pub fn answer_within(&self) -> Duration {
        Duration::from_millis(self.answer_within_ms)
    }
}

/// One token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The tunnel it opens.
    pub tunnel: TunnelName,
    /// SHA-256 of the token, in hexadecimal.
    sha256: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// All tunnels and tokens at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of the file's form.
    version: u32,
    /// The tunnels by name.
    pub tunnels: BTreeMap<TunnelName, Arc<TunnelSettings>>,
    /// The tokens by their public part.
    pub tokens: BTreeMap<TokenId, TokenRecord>,
}

const VERSION: u32 = 1;

impl Snapshot {
    /// The tunnel that `token` opens, if there is one.
    pub(crate) fn tunnel_of(&self, token: &str) -> Option<(TokenId, TunnelName)> {
        let (id, token) = Token::parse(token)?;
        let record = self.tokens.get(&id)?;
        let known = TokenHash::from_hex(&record.sha256).is_some_and(|hash| hash.matches(&token));
        (known && self.tunnels.contains_key(&record.tunnel)).then(|| (id, record.tunnel.clone()))
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
    /// No random bytes could be had.
    #[error("the system gave no random bytes: {0}")]
    Random(String),
}

/// Which file was read: a rename changes the inode, a write the time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    inode: u64,
    modified: (i64, i64),
    len: u64,
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
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| RegistryError::Io {
            doing: "make the folder",
            path: dir.to_owned(),
            source,
        })?;
        let registry = Registry {
            dir: dir.to_owned(),
            current: RwLock::default(),
            seen: Mutex::new(Seen { inode: u64::MAX, ..Seen::default() }),
        };
        registry.reload()?;
        Ok(registry)
    }

    fn path(&self) -> PathBuf {
        self.dir.join("registry.json")
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
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Seen::default(),
            Err(source) => return Err(RegistryError::Io { doing: "look at", path, source }),
        };
        if *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == now {
            return Ok(None);
        }
        Ok(Some((read(&path)?, now)))
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

    /// Adds a tunnel.
    ///
    /// # Errors
    /// There is one of that name, or the file cannot be written.
    pub fn add_tunnel(&self, name: TunnelName, settings: TunnelSettings) -> Result<(), RegistryError> {
        self.change(|all| {
            if all.tunnels.contains_key(&name) {
                return Err(RegistryError::TunnelExists(name));
            }
            all.tunnels.insert(name, Arc::new(settings));
            Ok(())
        })
    }

    /// Removes a tunnel and its tokens.
    ///
    /// # Errors
    /// There is none of that name, or the file cannot be written.
    pub fn remove_tunnel(&self, name: &TunnelName) -> Result<(), RegistryError> {
        self.change(|all| {
            all.tokens.retain(|_, token| token.tunnel != *name);
            all.tunnels.remove(name).map(|_| ()).ok_or_else(|| RegistryError::NoTunnel(name.clone()))
        })
    }

    /// Changes how a tunnel answers; whether it did not answer so already. With `by`, only if that token still opens the tunnel.
    ///
    /// # Errors
    /// There is no such tunnel, or no such token of it, or the file cannot be written.
    pub fn set_answer(
        &self,
        name: &TunnelName,
        by: Option<&TokenId>,
        answer: AnswerMode,
    ) -> Result<bool, RegistryError> {
        let mut changed = false;
        self.change(|all| {
            if let Some(id) = by
                && all.tokens.get(id).is_none_or(|token| token.tunnel != *name)
            {
                return Err(RegistryError::NoToken(id.clone()));
            }
            let tunnel = all.tunnels.get_mut(name).ok_or_else(|| RegistryError::NoTunnel(name.clone()))?;
            changed = tunnel.answer != answer;
            Arc::make_mut(tunnel).answer = answer;
            Ok(())
        })?;
        Ok(changed)
    }

    /// Creates a token for a tunnel. This is the only time that it can be seen.
    ///
    /// # Errors
    /// There is no such tunnel, there are no random bytes, or the file cannot be written.
    pub fn create_token(&self, tunnel: &TunnelName, now: Timestamp) -> Result<Token, RegistryError> {
        let mut random = [0; 38];
        getrandom::fill(&mut random).map_err(|e| RegistryError::Random(e.to_string()))?;
        let token = Token::from_random(&random);
        self.change(|all| {
            if !all.tunnels.contains_key(tunnel) {
                return Err(RegistryError::NoTunnel(tunnel.clone()));
            }
            let record = TokenRecord { tunnel: tunnel.clone(), sha256: token.hash().to_hex(), created_at: now };
            all.tokens.insert(token.id(), record);
            Ok(())
        })?;
        Ok(token)
    }

    /// Revokes a token; sessions that were opened with it are closed by the running relay.
    ///
    /// # Errors
    /// There is none of that id, or the file cannot be written.
    pub fn revoke_token(&self, id: &TokenId) -> Result<(), RegistryError> {
        self.change(|all| all.tokens.remove(id).map(|_| ()).ok_or_else(|| RegistryError::NoToken(id.clone())))
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
        lock.lock().map_err(io("lock", &lock_path))?;
        let path = self.path();
        let mut all = read(&path)?;
        edit(&mut all)?;
        all.version = VERSION;
        let text = serde_json::to_vec_pretty(&all)
            .map_err(|e| RegistryError::Damaged { path: path.clone(), problem: e.to_string() })?;
        let new_path = self.dir.join("registry.json.new");
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new_path)
            .map_err(io("write", &new_path))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(io("write", &new_path))?;
        fs::rename(&new_path, &path).map_err(io("replace", &path))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io("sync", &self.dir))?;
        drop(lock);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Snapshot, RegistryError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Snapshot { version: VERSION, ..Snapshot::default() });
        }
        Err(source) => return Err(RegistryError::Io { doing: "read", path: path.to_owned(), source }),
    };
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let damaged = |e: serde_json::Error| RegistryError::Damaged { path: path.to_owned(), problem: e.to_string() };
    let Version { version } = serde_json::from_slice(&text).map_err(damaged)?;
    if version > VERSION {
        return Err(RegistryError::TooNew { path: path.to_owned(), found: version });
    }
    serde_json::from_slice(&text).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn two_processes_see_each_other_s_changes() {
        let dir = tempfile::tempdir().unwrap();
        let relay = Registry::open(dir.path()).unwrap();
        let command = Registry::open(dir.path()).unwrap();
        let team: TunnelName = "team".parse().unwrap();
        command.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Passthrough, at(1))).unwrap();
        let token = command.create_token(&team, at(2)).unwrap();
        assert!(relay.snapshot().tunnels.is_empty());
        assert!(relay.reload().unwrap());
        assert!(!relay.reload().unwrap());
        assert_eq!(relay.snapshot().tunnel_of(token.expose()), Some((token.id(), team.clone())));
        command.revoke_token(&token.id()).unwrap();
        relay.reload().unwrap();
        assert_eq!(relay.snapshot().tunnel_of(token.expose()), None);
        let file = fs::read_to_string(dir.path().join("registry.json")).unwrap();
        assert!(!file.contains(&token.expose()[16..]), "the secret is in the file");
        assert_eq!(fs::metadata(dir.path().join("registry.json")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_there_or_there_already_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(dir.path()).unwrap();
        let team: TunnelName = "team".parse().unwrap();
        assert!(matches!(registry.create_token(&team, at(1)), Err(RegistryError::NoTunnel(_))));
        assert!(matches!(registry.remove_tunnel(&team), Err(RegistryError::NoTunnel(_))));
        registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1))).unwrap();
        let again = registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, at(1)));
        assert!(matches!(again, Err(RegistryError::TunnelExists(_))));
        let token = registry.create_token(&team, at(1)).unwrap();
        registry.remove_tunnel(&team).unwrap();
        registry.reload().unwrap();
        assert!(registry.snapshot().tokens.is_empty());
        assert!(matches!(registry.revoke_token(&token.id()), Err(RegistryError::NoToken(_))));
    }

    #[test]
    fn a_damaged_or_newer_file_is_told_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        for (text, newer) in [("{", false), (r#"{"version":2,"shape":"other"}"#, true)] {
            fs::write(&path, text).unwrap();
            match Registry::open(dir.path()) {
                Err(RegistryError::Damaged { .. }) if !newer => {}
                Err(RegistryError::TooNew { found: 2, .. }) if newer => {}
                other => panic!("{text}: {:?}", other.err()),
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
