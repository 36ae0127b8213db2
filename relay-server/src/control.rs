//! What this program's commands ask of the relay that runs on their data folder: which devices a tunnel has, to forget one, and how
//! certificates stand;
//! to take over at once what they changed in the registry, and for a backup. They ask over
//! a socket in the folder, because the spool belongs to the running relay alone. Whoever may open the folder may ask.
//!
//! One line of JSON each way, then the connection ends. Without a running relay the commands open the spool themselves ([`ask`]). Tunnels and
//! tokens are not asked for here: they are in the registry's file.

mod backup;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tunnel_delivery::{DeviceName, Timestamp, TunnelName};
use tunnel_spool::{Limits, RedbSpool, Role, Spool, SpoolError};
use tunnel_vault::KeySource;

use crate::audit::{Entry, What, Who};
use crate::backup::BackupError;
use crate::hub::Hub;
use crate::registry::{Registry, RegistryError};
use crate::shared::Shared;
use crate::tls::certificates::Standing;
use crate::tokens::TokenId;

/// The longest question and the longest answer, in bytes. A tunnel has 64 devices at most, so the answer holds some hundreds of full tunnels.
const LINE_MAX: u64 = 8 << 20;

/// How long a question and its answer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The same for what compacts the spool's file.
const PURGE_WITHIN: Duration = Duration::from_secs(600);

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub(crate) enum Question {
    /// The devices of one tunnel, or of all.
    Devices { tunnel: Option<TunnelName> },
    /// How much waits for this tunnel's agents.
    Waiting { tunnel: TunnelName },
    /// Keep nothing for this device any more.
    Forget { tunnel: TunnelName, device: DeviceName },
    /// Drop all that waits for this tunnel's agents.
    Purge { tunnel: TunnelName },
    /// Drop all that is spooled for a tunnel that was removed.
    Drop { tunnel: TunnelName },
    /// How the certificates stand.
    Certificates,
    /// Look at the certificate files now.
    Reload,
    /// Look at everything that can be looked at again, the settings included.
    LookAgain,
    /// Get a new certificate from the ACME server now.
    Renew,
    /// The registry was changed: take it over now.
    Changed,
    /// What holds for tunnels that say nothing else.
    Limits,
    /// When each token last opened a session, as far as this process saw.
    Used,
    /// Write a backup behind the answer ([`crate::backup`], uncompressed).
    Backup,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "lowercase")]
pub(crate) enum Told {
    Devices {
        devices: Vec<Device>,
    },
    Waiting {
        /// That somebody has not taken.
        deliveries: u64,
        /// Of all that is stored for the tunnel.
        bytes: u64,
    },
    Forgotten,
    /// How many deliveries, that somebody had not taken.
    Purged {
        deliveries: u64,
    },
    /// Nothing is left of it.
    Dropped,
    Limits {
        /// The longest body, in bytes.
        max_body: u64,
        /// The most that a tunnel may hold, in bytes.
        spool_bytes: u64,
    },
    Certificates {
        certificates: Vec<Standing>,
    },
    Used {
        used: BTreeMap<TokenId, Timestamp>,
    },
    /// It was looked at.
    LookedAgain {
        #[serde(flatten)]
        reloaded: Reloaded,
    },
    /// It is in force.
    Taken,
    /// It is begun.
    Begun,
    /// It cannot be done, and why.
    No {
        why: String,
    },
}

/// What came of looking at everything again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// What cannot be used; what was read before stays in force.
    pub(crate) problems: Vec<String>,
    /// Settings that have changed and wait for a restart.
    pub(crate) waiting: Vec<String>,
}

/// Somebody's wish that everything be looked at again, and where to say what came of it.
pub(crate) type Wish = oneshot::Sender<Reloaded>;

/// A device of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) tunnel: TunnelName,
    pub(crate) device: DeviceName,
    pub(crate) connected: bool,
    /// Whether it only looks, with a read-only token.
    #[serde(default)]
    pub(crate) only_looks: bool,
    /// When it was last there, as far as is known.
    pub(crate) last_seen: Timestamp,
    /// How many deliveries are spooled that it has not taken.
    pub(crate) waiting: u64,
    /// How many were dropped before it could take them, and it was not told yet.
    pub(crate) missed: u64,
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// A relay runs and does not answer.
    #[error("the relay that runs on {} does not answer: {source}", path.display())]
    Silent { path: PathBuf, source: std::io::Error },
    /// No relay runs, and the spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A backup cannot be made.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

pub(crate) use backup::back_up;

fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Opens the socket. The spool must be held: then one that lies there is left over from a relay that was killed.
pub(crate) fn listen(data: &Path) -> std::io::Result<UnixListener> {
    let path = path(data);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket.
pub(crate) fn close(data: &Path) {
    // One that stays is removed by the next relay.
    let _ = std::fs::remove_file(path(data));
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Whoever asked and went away needs no answer.
                    let _ = tokio::time::timeout(PURGE_WITHIN, answer(stream, &shared)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a command could not be listened to");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let who = match stream.peer_cred() {
        Ok(peer) => Who::Operator { uid: peer.uid() },
        Err(_) => Who::Relay,
    };
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = tokio::io::BufReader::new(read.take(LINE_MAX));
    // Commands ask at once; whoever does not is no command.
    tokio::time::timeout(WITHIN, reader.read_until(b'\n', &mut line)).await??;
    let told = match serde_json::from_slice(&line) {
        Ok(Question::Backup) => {
            let stream = reader.into_inner().into_inner().reunite(write).map_err(std::io::Error::other)?;
            return backup::begin(stream, shared, who);
        }
        Ok(Question::Changed) => match shared.read_again().await {
            Ok(()) => Told::Taken,
            Err(why) => Told::No { why },
        },
        Ok(Question::LookAgain) => Told::LookedAgain { reloaded: reload(shared).await },
        Ok(Question::Limits) => {
            Told::Limits { max_body: shared.config.limits.body, spool_bytes: shared.config.spool.max_bytes_per_tunnel }
        }
        Ok(Question::Used) => Told::Used { used: shared.used.lock().unwrap_or_else(PoisonError::into_inner).clone() },
        Ok(question @ (Question::Certificates | Question::Reload | Question::Renew)) => {
            let told = tell_of_certificates(&question, shared).await;
            note(&question, &told, who, shared);
            told
        }
        Ok(question) => {
            let asked = question.clone();
            let told = tell(question, &*shared.spool, &shared.registry, Some(&shared.hub), shared.now()).await;
            if let (Question::Forget { tunnel, device }, Told::Forgotten) = (&asked, &told) {
                shared.device_forgotten(tunnel, device).await;
            }
            note(&asked, &told, who, shared);
            told
        }
        Err(e) => {
            Told::No { why: format!("the relay does not understand the question: {e}; is it of another version?") }
        }
    };
    let mut text = serde_json::to_vec(&told)?;
    text.push(b'\n');
    write.write_all(&text).await
}

/// Looks at tunnels, tokens and certificate files again; what cannot be used changes nothing.
pub(crate) async fn look_again(shared: &Arc<Shared>) -> Vec<String> {
    let mut problems: Vec<String> = shared.read_again().await.err().into_iter().collect();
    if let Some(tls) = &shared.tls {
        problems.extend(tls.look(shared.offload).await);
    }
    problems
}

/// The same and the settings, which are somebody else's to know.
async fn reload(shared: &Arc<Shared>) -> Reloaded {
    if let Some(wishes) = shared.wishes.get() {
        let (wish, done) = oneshot::channel();
        if wishes.send(wish).await.is_ok()
            && let Ok(reloaded) = done.await
        {
            return reloaded;
        }
    }
    // Nobody keeps settings, as in a relay within another program, or not any more.
    Reloaded { problems: look_again(shared).await, waiting: Vec::new() }
}

/// Writes into the audit log what was done; looking is not doing.
fn note(question: &Question, told: &Told, who: Who, shared: &Shared) {
    if let Some(entry) = noted(question, told, who, shared.now()) {
        shared.audit.note(entry);
    }
}

/// The line for it, with a running relay or without one.
fn noted(question: &Question, told: &Told, who: Who, now: Timestamp) -> Option<Entry> {
    let entry = |what| Entry::new(now, what, who);
    match (question, told) {
        (Question::Forget { tunnel, device }, Told::Forgotten) => {
            Some(entry(What::DeviceForgotten).tunnel(tunnel).device(device))
        }
        (Question::Purge { tunnel }, Told::Purged { deliveries }) => {
            Some(entry(What::Purged).tunnel(tunnel).note(format!("{deliveries} that waited")))
        }
        (Question::Reload, Told::Certificates { .. }) => Some(entry(What::CertificatesReloaded)),
        (Question::Renew, Told::Begun) => Some(entry(What::CertificateRenewal)),
        _ => None,
    }
}

async fn tell_of_certificates(question: &Question, shared: &Shared) -> Told {
    let Some(tls) = &shared.tls else { return Told::No { why: "this relay serves no HTTPS".into() } };
    match question {
        Question::Reload => {
            let wrong = tls.look(shared.offload).await;
            if !wrong.is_empty() {
                return Told::No { why: format!("{}; what was read before stays in force", wrong.join("; ")) };
            }
        }
        Question::Renew if !tls.acme => {
            return Told::No {
                why: "this relay gets no certificate by itself; it was started without --acme-name".into(),
            };
        }
        Question::Renew => {
            tls.renew.notify_one();
            return Told::Begun;
        }
        _ => {}
    }
    Told::Certificates { certificates: tls.standing(&shared.clock) }
}

/// The answer. Without a hub there is no running relay and nobody is connected.
async fn tell(question: Question, spool: &dyn Spool, registry: &Registry, hub: Option<&Hub>, now: Timestamp) -> Told {
    let all = registry.snapshot();
    let unknown = |tunnel: &TunnelName| Told::No { why: RegistryError::NoTunnel(tunnel.clone()).to_string() };
    let connected = |tunnel: &TunnelName, device: &DeviceName| hub.is_some_and(|hub| hub.is_there(tunnel, device));
    match question {
        Question::Devices { tunnel: Some(tunnel) } if !all.tunnels.contains_key(&tunnel) => unknown(&tunnel),
        Question::Devices { tunnel } => {
            let mut devices = Vec::new();
            for name in all.tunnels.keys().filter(|name| tunnel.as_ref().is_none_or(|only| only == *name)) {
                let places = match spool.devices(name) {
                    Ok(places) => places,
                    Err(e) => return Told::No { why: e.to_string() },
                };
                devices.extend(places.into_iter().map(|place| Device {
                    tunnel: name.clone(),
                    connected: connected(name, &place.device),
                    only_looks: place.role == Role::Watches,
                    last_seen: hub.and_then(|hub| hub.last_seen(name, &place.device, now)).unwrap_or(place.joined),
                    waiting: place.waiting,
                    missed: place.gap.map_or(0, |gap| gap.count()),
                    device: place.device,
                }));
            }
            Told::Devices { devices }
        }
        Question::Waiting { tunnel } if !all.tunnels.contains_key(&tunnel) => unknown(&tunnel),
        Question::Waiting { tunnel } => match spool.stats(&tunnel) {
            Ok(stats) => Told::Waiting { deliveries: stats.waiting, bytes: stats.bytes },
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Forget { tunnel, .. } if !all.tunnels.contains_key(&tunnel) => unknown(&tunnel),
        Question::Forget { tunnel, device } if connected(&tunnel, &device) => {
            let why = format!("device {device} of tunnel {tunnel} is connected; stop its agent first");
            Told::No { why }
        }
        Question::Forget { tunnel, device } => match spool.forget(&tunnel, &device).await {
            Ok(true) => {
                if let Some(hub) = hub {
                    // One that came in this very moment has no place any more, and must join anew.
                    hub.dismiss_device(&tunnel, &device, "the device was forgotten");
                }
                tracing::info!(%tunnel, %device, "a device is forgotten, as asked");
                Told::Forgotten
            }
            Ok(false) => Told::No {
                why: format!(
                    "tunnel {tunnel} has no device {device}; `healthie-relay tunnel devices {tunnel}` shows those it has"
                ),
            },
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Purge { tunnel } if !all.tunnels.contains_key(&tunnel) => unknown(&tunnel),
        Question::Purge { tunnel } => match spool.purge(&tunnel).await {
            Ok(dropped) => {
                let deliveries = dropped.iter().map(tunnel_spool::Dropped::count).sum();
                tracing::info!(%tunnel, deliveries, "what waited for a tunnel is dropped, as asked");
                Told::Purged { deliveries }
            }
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Drop { tunnel } if all.tunnels.contains_key(&tunnel) => Told::No {
            why: format!("there is a tunnel {tunnel}; `healthie-relay tunnel purge {tunnel}` drops what waits for it"),
        },
        Question::Drop { tunnel } => match spool.drop_tunnel(&tunnel).await {
            Ok(()) => Told::Dropped,
            Err(e) => Told::No { why: e.to_string() },
        },
        Question::Certificates
        | Question::Reload
        | Question::LookAgain
        | Question::Renew
        | Question::Changed
        | Question::Used
        | Question::Limits
        | Question::Backup => Told::No { why: "no relay runs on this data folder".into() },
    }
}

/// Asks the relay that runs on this data folder, or, if none does, the spool in it, which may take a key.
pub(crate) fn ask(data: &Path, key: Option<KeySource>, question: &Question) -> Result<Told, AskError> {
    let path = path(data);
    match Blocking::connect(&path) {
        Ok(stream) => exchange(stream, question).map_err(|source| AskError::Silent { path, source }),
        // No socket, or one that a relay left behind which was killed.
        Err(_) => {
            let registry = Registry::open(data)?;
            let key = key.map(|source| source.read()).transpose().map_err(SpoolError::Key)?;
            let spool = RedbSpool::open_with(&data.join("spool"), Limits::default(), key.as_ref())?;
            let now = Timestamp::from_system(std::time::SystemTime::now());
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.map_err(|source| AskError::Silent { path, source })?;
            let told = runtime.block_on(tell(question.clone(), &spool, &registry, None, now));
            // What was made just now, where this is root, is the relay's all the same.
            if let Err(error) = crate::ownership::hand_over_all(&data.join("spool"), data) {
                tracing::error!(%error, "the spool cannot be given to the data folder's owner");
            }
            if let Some(entry) = noted(question, &told, Who::operator(), now)
                && let Err(error) = crate::audit::append(data, &[entry])
            {
                tracing::error!(%error, "the audit log cannot be written");
            }
            Ok(told)
        }
    }
}

/// Asks the relay that runs on this data folder, if one does.
pub(crate) fn ask_running(data: &Path, question: &Question) -> Result<Option<Told>, AskError> {
    let path = path(data);
    match Blocking::connect(&path) {
        Ok(stream) => exchange(stream, question).map(Some).map_err(|source| AskError::Silent { path, source }),
        Err(_) => Ok(None),
    }
}

fn exchange(mut stream: Blocking, question: &Question) -> std::io::Result<Told> {
    let long = matches!(question, Question::Purge { .. } | Question::Drop { .. });
    let within = if long { PURGE_WITHIN } else { WITHIN };
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let mut text = serde_json::to_vec(question)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_MAX)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Access, AnswerMode, Pass, TunnelSettings};
    use tunnel_spool::Start;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn why(told: Told) -> String {
        match told {
            Told::No { why } => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn devices_are_shown_and_those_that_are_away_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(dir.path()).unwrap();
        let team: TunnelName = "team".parse().unwrap();
        registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
        registry.reload().unwrap();
        let spool =
            RedbSpool::open(&dir.path().join("spool"), Limits { min_free_bytes: 0, ..Limits::default() }).unwrap();
        let hub = Hub::default();
        let pass = Pass::made_up(&TokenId::parse("0123456789ab").unwrap(), Access::Full);
        let (here, away): (DeviceName, DeviceName) = ("here".parse().unwrap(), "away".parse().unwrap());
        for device in [&here, &away] {
            spool.join(&team, device, Start::Now, NOW).await.unwrap();
        }
        let _seat = hub.seat(&team, &here, &pass, 9).unwrap();
        let ask = |question| tell(question, &spool, &registry, Some(&hub), NOW);
        let forget = |device: &DeviceName| Question::Forget { tunnel: team.clone(), device: device.clone() };

        let Told::Devices { devices } = ask(Question::Devices { tunnel: None }).await else { panic!() };
        let shown: Vec<_> = devices.iter().map(|d| (d.device.as_str(), d.connected)).collect();
        assert_eq!(shown, [("here", true), ("away", false)]);
        assert!(why(ask(forget(&here)).await).contains("is connected"));
        assert_eq!(ask(forget(&away)).await, Told::Forgotten);
        assert!(why(ask(forget(&away)).await).contains("no device away"));
        let nobody = Question::Devices { tunnel: Some("nobody".parse().unwrap()) };
        assert!(why(ask(nobody).await).contains("no tunnel nobody"));
    }

    #[test]
    fn without_a_relay_the_folder_itself_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        // Left behind by a relay that was killed.
        drop(std::os::unix::net::UnixListener::bind(path(dir.path())).unwrap());
        let told = ask(dir.path(), None, &Question::Devices { tunnel: None }).unwrap();
        assert_eq!(told, Told::Devices { devices: Vec::new() });
        // What is done so is noted like anything that a running relay does.
        let team: TunnelName = "team".parse().unwrap();
        let registry = Registry::open(dir.path()).unwrap();
        registry.add_tunnel(team.clone(), TunnelSettings::new(AnswerMode::Ack, NOW)).unwrap();
        let told = ask(dir.path(), None, &Question::Purge { tunnel: team.clone() }).unwrap();
        assert_eq!(told, Told::Purged { deliveries: 0 });
        let lines = crate::audit::read(dir.path(), Some(&team), None).unwrap().lines;
        assert!(lines.len() == 1 && lines[0]["what"] == "purged", "{lines:?}");
        // Only what was removed is dropped.
        let drop = || ask(dir.path(), None, &Question::Drop { tunnel: team.clone() }).unwrap();
        assert!(why(drop()).contains("there is a tunnel team"));
        registry.retire_tunnel(&team, NOW, false, NOW).unwrap();
        assert_eq!(drop(), Told::Dropped);
    }
}
