//! The agent while it runs: owns the data folder, keeps the connection to the relay, takes deliveries in and hands them on.
//!
//! [`run`] puts the pieces together and takes them apart again in order. It is handed its settings, its end and who is told; it knows
//! nothing of terminals.

mod asking;
mod device;
mod driver;
mod machine;
mod progress;
mod socket;
mod works;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tunnel_archive::{ArchiveError, Keep};
use tunnel_delivery::{DeviceName, Timestamp, TunnelName};
use tunnel_protocol::{Start, Welcome};
use tunnel_signature::Secret;
use tunnel_telemetry::Traces;
use tunnel_vault::{KeyId, KeySource, UserKey, Vault};

use crate::audit::{Audit, By, Line, What};
use crate::control::{AgentFile, Claim, Operations, Running, has_store, open_archive, user_key};
use crate::data_folder::{self, UnfitFolder};
use crate::device_keys::{self, KeysError};
use crate::dial::{Dialer, Trust};
use crate::forward::HostHeader;
use crate::gaps::Gaps;
use crate::key_guard::Guard;
use crate::notice::{Announcer, Notice, Ready, Sink};
use crate::pause::Pause;
use crate::policy::Policy;
use crate::settings::{RelayUrl, Token};
use crate::upkeep::Upkeep;

pub use asking::Asking;
pub(crate) use asking::NotSet;
pub use device::device_name;
pub use driver::{Allowance, Chance, Connecting, DriveError};
pub use machine::{Act, Cure, Event, Machine, Step, Trouble};
pub use works::{Parts, Works};

/// What this program calls itself to others.
pub const SOFTWARE: &str = concat!("healthie-tunnel/", env!("CARGO_PKG_VERSION"));

/// How long attempts that are under way may usually go on when the agent is to end.
pub const LAST_ATTEMPTS: Duration = Duration::from_secs(5);

/// All that a run needs to know.
#[derive(Debug)]
pub struct ListenConfig {
    /// The relay.
    pub relay: RelayUrl,
    /// The token it gave.
    pub token: Token,
    /// The tunnel; the token's own where it is not said.
    pub tunnel: Option<TunnelName>,
    /// This agent's name within the tunnel; one is made and kept where it is not said.
    pub device: Option<DeviceName>,
    /// Where a new device starts.
    pub start: Start,
    /// The folder that everything is kept in.
    pub data: PathBuf,
    /// Where the key is to be had that it is encrypted with, if it is.
    pub store_key: Option<KeySource>,
    /// How much of it is kept.
    pub keep: Keep,
    /// The signing secrets.
    pub secrets: Vec<Secret>,
    /// What is forwarded and how.
    pub policy: Policy,
    /// How many deliveries are forwarded at once.
    pub concurrency: usize,
    /// What Host lines of forwarded copies say.
    pub host_header: HostHeader,
    /// Whom to trust.
    pub trust: Trust,
    /// The port of the local interface; 0 for any.
    pub inspector_port: u16,
    /// How long attempts that are under way may go on when the agent is to end.
    pub last_attempts: Duration,
    /// Where a collector is told of deliveries' ways, or nowhere.
    pub traces: Traces,
}

/// Why the agent did not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another agent holds the data folder.
    #[error("the data folder {} is held by a running agent (process {pid}, local interface http://{addr})", .data.display())]
    Held {
        /// The folder.
        data: PathBuf,
        /// The agent's process.
        pid: u32,
        /// Its local interface.
        addr: SocketAddr,
    },
    /// The data folder is none to work in.
    #[error(transparent)]
    Folder(#[from] UnfitFolder),
    /// The store cannot be used.
    #[error("{0}")]
    Archive(ArchiveError),
    /// A file or a socket of the agent's own.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The device's keys cannot be used.
    #[error("{0}")]
    Keys(String),
    /// The relay will not have this agent.
    #[error("{0}")]
    Refused(String),
    /// The relay and this agent do not understand each other.
    #[error("{0}")]
    Unfit(String),
    /// There is no relay where one should be, or it cannot be trusted.
    #[error("{0}")]
    Unreached(String),
}

fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> ListenError {
    let doing = doing.into();
    move |source| ListenError::Io { doing, source }
}

/// Runs until `shutdown`, or until the agent cannot go on.
///
/// # Errors
/// Any [`ListenError`].
pub async fn run(
    config: ListenConfig,
    sink: Arc<dyn Sink>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ListenError> {
    let announcer = Announcer::new(sink);
    let ended = start(config, &announcer, shutdown).await;
    let reason = ended.as_ref().err().map(ToString::to_string);
    announcer.tell(Notice::Stopped { reason });
    ended
}

async fn start(
    config: ListenConfig,
    announcer: &Announcer,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ListenError> {
    let data = config.data.clone();
    data_folder::check(&data)?;
    let key = user_key(config.store_key.as_ref()).await.map_err(ListenError::Archive)?;
    if !has_store(&data) {
        // Keys of this device that do not open are told before a store is made beside them.
        let guard = Guard::of(&data, key.as_ref()).map_err(|e| ListenError::Archive(e.into()))?;
        device_keys::load(&data, &guard).map_err(keys_failed)?;
    }
    let first_key = encrypted_by(&data, key.as_ref());
    let audit = Audit::new(&data, By::Agent);
    let line = || Line::new(What::StoreRekeyed).with("to", "encryption on");
    if let Some(id) = first_key {
        let noted = audit.note(line().with("key", id.to_string())).await;
        noted.map_err(|e| io("have the store encrypted from now on")(std::io::Error::other(e.message)))?;
    }
    let opened = open_archive(&data, key.clone()).await;
    if let (Some(id), Err(e)) = (first_key, &opened) {
        // The line above says that it was done.
        audit.note_if_possible(line().with("key", id.to_string()).with("failed", e.to_string())).await;
    }
    let archive = opened.map_err(|e| held(e, &data))?;
    let device = match config.device.clone() {
        Some(device) => device,
        None => device_name(&data).map_err(io(format!("keep a device name in {}", data.display())))?,
    };
    let guard = Guard::of(&data, key.as_ref()).map_err(|e| ListenError::Archive(e.into()))?;
    let keys = device_keys::load_or_make(&data, &guard).map_err(keys_failed)?;
    drop((guard, key));
    let (listener, addr, elsewhere) = interface(config.inspector_port).await?;
    let file = AgentFile { addr, token: random_token()?, pid: std::process::id() };
    let claim = Claim::write(&data, &file).map_err(io(format!("write to {}", data.display())))?;

    if let Some(id) = first_key {
        announcer.warn(format!(
            "the store in {} was not encrypted: what comes from now on is encrypted with the key {id}, and without that key it does not open any more; \
             `healthie-tunnel store compact` encrypts what is there already",
            data.display()
        ));
    }
    if let Some(message) = elsewhere {
        announcer.tell(Notice::Warning { message });
    }

    let pause = Pause::kept_in(&data);
    let gaps = Gaps::kept_in(&data, clock);
    let works = Works::new(Parts {
        connecting: Connecting {
            relay: config.relay.clone(),
            token: config.token,
            tunnel: config.tunnel.clone(),
            device: device.clone(),
            start: config.start,
            allowance: Allowance::default(),
        },
        dialer: Dialer::new(config.trust),
        keep: Arc::new(archive.clone()),
        announcer: announcer.clone(),
        policy: config.policy,
        concurrency: config.concurrency,
        host_header: config.host_header,
        secrets: config.secrets,
        keys: Some(Arc::new(keys)),
        last_attempts: config.last_attempts,
        chance: Arc::new(driver::random),
        traces: config.traces.clone(),
    })
    .paused_by(pause.clone())
    .knowing(gaps.clone());
    if pause.is_on() {
        announcer.tell(Notice::Forwarding { paused: true });
        announcer
            .warn("forwarding was paused before this agent started, and still is: `healthie-tunnel resume` goes on");
    }
    let (upkeep, upkept) = Upkeep::new(archive.clone(), config.keep, announcer.clone(), clock);
    tokio::spawn(upkeep.run(works.stopping()));
    let ops = Arc::new(Operations {
        hand: works.hand().clone(),
        archive: archive.clone(),
        policy: Arc::clone(works.policy()),
        welcomed: works.welcomed(),
        agent: Some(Running {
            relay: config.relay.clone(),
            device: device.clone(),
            upkept,
            steering: works.steering(),
        }),
        turn: Arc::default(),
        sender: works.sender(),
        audit,
        gaps,
    });
    let token = file.token.clone();
    let mut until = works.stopping();
    let api = tokio::spawn(async move {
        let stop = async move {
            let _ = until.wait_for(|stop| *stop).await;
        };
        crate::api::serve(listener, &token, ops, stop).await
    });
    tokio::spawn(tell_ready(
        announcer.clone(),
        works.welcomed(),
        Ready {
            relay: config.relay.to_string(),
            device,
            target: works.policy().default_target().map(ToString::to_string),
            forwards: works.policy().forwards(),
            control: format!("http://{addr}"),
            pid: file.pid,
            // From the welcome.
            tunnel: config.tunnel.unwrap_or_else(unnamed),
            public_urls: Vec::new(),
            answer: "",
            read_only: false,
            waiting: 0,
        },
    ));
    let ended = works.run(shutdown).await;
    config.traces.close().await;
    api.abort();
    // Before the store is let go: whoever opens it next writes a file of its own.
    drop(claim);
    let closed = archive.close().await;
    match ended {
        Ok(()) => closed.map_err(ListenError::Archive),
        Err(DriveError::Refused(why)) => Err(ListenError::Refused(why)),
        Err(DriveError::Unfit(why)) => Err(ListenError::Unfit(why)),
        Err(DriveError::Unreached(why)) => Err(ListenError::Unreached(why)),
        Err(DriveError::Archive(e)) => Err(ListenError::Archive(e)),
    }
}

/// Where the local interface listens, and what is to be said if that is not the port that was asked for: nothing else of the agent needs that
/// one, and commands find it by its file.
async fn interface(port: u16) -> Result<(TcpListener, SocketAddr, Option<String>), ListenError> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (bound, in_use) = match TcpListener::bind(wanted).await {
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && port != 0 => {
            (TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await, true)
        }
        bound => (bound, false),
    };
    let listener = bound.map_err(io(format!("listen on {wanted}")))?;
    let addr = listener.local_addr().map_err(io("listen"))?;
    let said = in_use.then(|| {
        format!(
            "port {port} is in use by another program; the local interface is at http://{addr} instead (--inspector-port chooses another)"
        )
    });
    Ok((listener, addr, said))
}

/// The wall clock.
pub(crate) fn clock() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

async fn tell_ready(announcer: Announcer, mut welcome: watch::Receiver<Option<Welcome>>, ready: Ready) {
    let first = match welcome.wait_for(Option::is_some).await {
        Ok(first) => first.clone(),
        Err(_) => return,
    };
    if let Some(w) = first {
        announcer.tell(Notice::Ready(Ready {
            tunnel: w.tunnel,
            public_urls: w.public_urls,
            waiting: w.waiting,
            answer: w.answer_mode.as_str(),
            read_only: w.read_only,
            ..ready
        }));
    }
}

fn keys_failed(e: KeysError) -> ListenError {
    match e {
        KeysError::Guarded(e) => ListenError::Archive(e.into()),
        other => ListenError::Keys(other.to_string()),
    }
}

/// The key that a store which is there already and needs none is encrypted with from now on, if it is.
fn encrypted_by(data: &std::path::Path, key: Option<&UserKey>) -> Option<KeyId> {
    let id = key?.id();
    // What cannot be read of it is told by opening it.
    let standing = Vault::standing(&data.join("archive")).ok()?;
    // With the key that encrypting was turned off with, it stays off.
    let plain = standing.is_none_or(|store| !store.needs && store.key != id);
    (plain && has_store(data)).then_some(id)
}

fn held(e: ArchiveError, data: &std::path::Path) -> ListenError {
    match (AgentFile::read(data), e) {
        // The file may be left over from an agent that was killed; then whoever holds the folder now is another process.
        (Some(file), ArchiveError::Held { pid, .. }) if pid.is_none_or(|pid| pid == file.pid) => {
            ListenError::Held { data: data.to_owned(), pid: file.pid, addr: file.addr }
        }
        (_, e) => ListenError::Archive(e),
    }
}

fn random_token() -> Result<String, ListenError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| ListenError::Io { doing: "make a token for the local interface".into(), source: e.into() })?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn unnamed() -> TunnelName {
    // A constant that is a legal name.
    "unknown".parse().unwrap_or_else(|_| unreachable!("\"unknown\" is a name"))
}
