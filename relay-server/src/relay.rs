//! A running relay: opened, reachable, and stopped in the right order. `folder` is what is in its data folder, `upkeep` what it does from time to time.

mod folder;
pub(crate) mod jumps;
#[cfg(test)]
mod tests;
pub(crate) mod upkeep;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};
use tunnel_spool::SpoolError;
use tunnel_telemetry::Traces;

use crate::accept::{Door, Listener, Tasks, listen};
use crate::acme::AcmeError;
use crate::admission::{Admission, Most};
use crate::attempts::Attempts;
use crate::audit::{Audit, Entry, What, Who};
use crate::bodies::Bodies;
use crate::config::Config;
use crate::control;
use crate::flag::{Flag, Raiser};
use crate::ground::{Bound, Clock, Ground, Offload};
use crate::handshakes::Handshakes;
use crate::http::host::Names;
use crate::hub::Hub;
use crate::ids::Ids;
use crate::incarnations::Incarnations;
use crate::lines::Lines;
use crate::metrics::{self, Metrics};
use crate::rates::Rates;
use crate::registry::{Registry, RegistryError};
use crate::route::Domain;
use crate::shared::{Ports, Shared};
use crate::tls::{Tls, TlsError};
use crate::traces;
use crate::whose::Whose;

/// The most connections at once to the operator's own listener.
const OPERATOR_CONNECTIONS: usize = 64;

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// Tunnels and tokens cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificates from an ACME server cannot be kept.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the data folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Where a running relay listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Option<SocketAddr>,
    /// The operator's own listener.
    pub admin: Option<SocketAddr>,
}

/// A running relay. Stop it with [`Relay::stop`]; merely dropped, its tasks end with the runtime.
pub struct Relay {
    shared: Arc<Shared>,
    addresses: Addresses,
    /// Connections are to end as soon as this is gone.
    drain: Raiser,
    listeners: Vec<JoinHandle<()>>,
    upkeep: JoinHandle<()>,
    /// Of certificates.
    keepers: Vec<JoinHandle<()>>,
    control: Option<JoinHandle<()>>,
    connections: Tasks,
    sessions: Tasks,
}

async fn bind(
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
    network_time: Duration,
) -> Result<Bound<TcpListener>, StartError> {
    let listener = TcpListener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
    give_up_after(&listener, network_time);
    let addr = listener.local_addr().map_err(|source| StartError::Listen { addr, source })?;
    Ok(Bound { listener, addr, tls })
}

/// Has the system give up a connection whose other end's network has taken nothing for so long, also after we have closed it: what was not taken would otherwise be
/// kept, and sent again, for a quarter of an hour. Connections have it from their listener.
#[cfg(target_os = "linux")]
fn give_up_after(listener: &TcpListener, network_time: Duration) {
    let millis = u32::try_from(network_time.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(listener, millis) {
        warn!(%error, "connections through a dead network are given up as late as the system does by itself");
    }
}

/// Other systems have their own time.
#[cfg(not(target_os = "linux"))]
fn give_up_after(_: &TcpListener, _: Duration) {}

impl Relay {
    /// Opens the data folder, listens, and serves from then on.
    ///
    /// # Errors
    /// Anything that would keep the relay from doing its work; nothing is left running.
    pub async fn start(config: Config) -> Result<Relay, StartError> {
        Relay::kept(config, None).await
    }

    /// The same where somebody keeps the settings and looks at them again when commands wish it: he is there before the first command can ask.
    pub(crate) async fn kept(config: Config, wishes: Option<mpsc::Sender<control::Wish>>) -> Result<Relay, StartError> {
        let problems = config.problems();
        if !problems.is_empty() {
            let all: Vec<String> = problems.into_iter().map(|problem| problem.what).collect();
            return Err(StartError::Config(all.join("\n")));
        }
        let traces =
            config.traces.as_ref().map(traces::open).transpose().map_err(StartError::Config)?.unwrap_or_default();
        folder::tell_of_files(&config);
        let opening = config.clone();
        let (clock, offload) = (Clock::default(), Offload::default());
        let opened = {
            let clock = clock.clone();
            tokio::task::spawn_blocking(move || {
                let opened = folder::open(&opening, &clock, offload);
                // Also where it failed half-way.
                folder::hand_over(&opening.data);
                opened
            })
            .await
        };
        let folder::Opened { registry, spool, stream, tls, keeper, audit } =
            opened.map_err(|e| StartError::Config(format!("opening the data folder failed: {e}")))??;
        let network_time = config.limits.network_time;
        let mut doors = Vec::new();
        for addr in &config.http {
            doors.push(bind(*addr, None, network_time).await?);
        }
        if let (Some(https), Some(tls)) = (&config.https, &tls) {
            doors.push(bind(https.addr, Some(tls.acceptor()?), network_time).await?);
        }
        let admin = match config.admin {
            Some(addr) => Some(bind(addr, None, network_time).await?),
            None => None,
        };
        let ground = Ground { registry, spool, stream, doors, clock, offload };
        let data = config.data.clone();
        let mut relay = Relay::with_tls(config, ground, tls, (audit.clone(), traces)).await?;
        if let Some(wishes) = wishes {
            // Nobody else has set it.
            let _ = relay.shared.wishes.set(wishes);
        }
        if let Some(bound) = admin {
            relay.serve_operator(bound);
        }
        relay.keepers.extend(keeper.map(|keeper| tokio::spawn(keeper.keep())));
        relay.control = match control::listen(&data) {
            Ok(listener) => Some(tokio::spawn(control::serve(listener, Arc::clone(&relay.shared)))),
            Err(e) => {
                // A path that is too long for a socket's, mostly. Deliveries do not need it.
                warn!(error = %e, "commands that ask a running relay will not work: its socket cannot be opened");
                None
            }
        };
        let shared = Arc::clone(&relay.shared);
        // Beside all else: it takes a second where the log is as long as it gets, and agents come back until then as strangers do.
        drop(relay.shared.offload.run(move || folder::remember_agents(&shared)));
        // Told to whoever started it only once connections are really accepted.
        audit.note(Entry::new(relay.shared.now(), What::RelayStarted, Who::Relay));
        if let Err(e) = folder::write_addresses(&data, &relay.addresses) {
            relay.stop().await;
            return Err(e);
        }
        // The socket and the addresses, for commands of the folder's owner.
        folder::hand_over(&data);
        Ok(relay)
    }

    /// Serves from now on, standing on what it is handed instead of what `config` says about addresses and the spool. The data folder has a folder
    /// `spool` all the same: which tunnels there are is noted in it.
    ///
    /// # Errors
    /// What removed tunnels had spooled cannot be dropped.
    pub async fn on<L: Listener>(config: Config, ground: Ground<L>) -> Result<Relay, StartError> {
        Relay::with_tls(config, ground, None, (Audit::none(), Traces::none())).await
    }

    async fn with_tls<L: Listener>(
        config: Config,
        ground: Ground<L>,
        tls: Option<Arc<Tls>>,
        (audit, traces): (Audit, Traces),
    ) -> Result<Relay, StartError> {
        let Ground { registry, spool, stream, doors, clock, offload } = ground;
        let of = |tls: bool| doors.iter().filter(move |door| door.tls.is_some() == tls).map(|door| door.addr);
        let addresses = Addresses { http: of(false).collect(), https: of(true).next(), admin: None };
        let listening: Vec<SocketAddr> = doors.iter().map(|door| door.addr).collect();
        let ports =
            Ports { http: addresses.http.first().map(SocketAddr::port), https: addresses.https.map(|a| a.port()) };
        let beside = folder::of_spool(&config);
        let incarnations = Incarnations::load(&beside, &registry.snapshot());
        let whose = offload.run(move || Whose::load(&beside)).await;
        let whose = Arc::new(whose.map_err(|e| StartError::Config(format!("opening the data folder failed: {e}")))?);
        let limits = &config.limits;
        let most = Most {
            connections: limits.connections,
            per_address: limits.connections_per_address,
            agents: limits.agents,
            agents_per_tunnel: limits.agents_per_tunnel,
        };
        let shared = Arc::new(Shared {
            admission: Admission::new(most),
            rates: Rates::new(limits.address_rate),
            handshakes: Handshakes::new(limits.address_handshakes, limits.handshakes),
            bodies: Bodies::new(limits.bodies),
            domain: config.domain.as_deref().and_then(Domain::new),
            names: Names::new(&config, &listening),
            registry,
            spool,
            hub: Hub::new(clock.clone()),
            attempts: Attempts::new(NonZeroU32::new(config.limits.failed_attempts).unwrap_or(NonZeroU32::MIN)),
            audit,
            used: Mutex::default(),
            ids: Ids::default(),
            lines: Lines::default(),
            metrics: Metrics::new(),
            traces,
            incarnations,
            whose,
            wishes: std::sync::OnceLock::new(),
            taking: Arc::default(),
            reloading: tokio::sync::Mutex::new(()),
            started: clock.now(),
            clock,
            offload,
            stream,
            stopping: Flag::default(),
            end_sessions: Flag::default(),
            tls,
            ports,
            config,
        });
        // Tunnels that were removed, or removed and added again, while no relay ran.
        let all = shared.registry.snapshot();
        shared.metrics.tunnels(all.tunnels.keys());
        shared.spool.set_shares(all.shares());
        if !shared.drop_spooled(&shared.incarnations.stale(&all)).await {
            return Err(StartError::Config("what removed tunnels had spooled cannot be dropped; see the log".into()));
        }
        let beside = folder::of_spool(&shared.config);
        shared.incarnations.settle(&all).map_err(|source| StartError::Write { path: beside, source })?;
        let drain = Raiser(Flag::default());
        let (connections, sessions) = (Tasks::new(), Tasks::new());
        let door = Door {
            shared: Arc::clone(&shared),
            tls: None,
            preface: false,
            listener: metrics::Listener::Http,
            admission: Arc::clone(&shared.admission),
            draining: drain.0.clone(),
            connections: connections.clone(),
            sessions: sessions.clone(),
        };
        let mut listeners = Vec::new();
        for Bound { listener, tls, .. } in doors {
            let proxies = &shared.config.proxies;
            let preface = if tls.is_some() { proxies.preface_on_https } else { proxies.preface_on_http };
            let kind = if tls.is_some() { metrics::Listener::Https } else { metrics::Listener::Http };
            listeners.push(tokio::spawn(listen(listener, Door { tls, preface, listener: kind, ..door.clone() })));
        }
        let mut keepers = Vec::new();
        if let Some(tls) = &shared.tls {
            let (tls, clock) = (Arc::clone(tls), shared.clock.clone());
            keepers.push(tokio::spawn(async move { tls.keep(clock, offload).await }));
        }
        let upkeep = tokio::spawn(upkeep::keep(Arc::clone(&shared)));
        Ok(Relay { shared, addresses, drain, listeners, upkeep, keepers, control: None, connections, sessions })
    }

    /// Serves the operator's own listener. Its connections have their own bound: when the public has used up its own, this is where to look why.
    fn serve_operator(&mut self, bound: Bound<TcpListener>) {
        let Bound { listener, addr, .. } = bound;
        self.addresses.admin = Some(addr);
        if !addr.ip().is_loopback() {
            warn!(%addr, "the operator's listener can be reached from other machines; see that only yours can");
        }
        let door = Door {
            shared: Arc::clone(&self.shared),
            tls: None,
            preface: false,
            listener: metrics::Listener::Admin,
            admission: Admission::new(Most {
                connections: OPERATOR_CONNECTIONS,
                per_address: OPERATOR_CONNECTIONS,
                agents: 0,
                agents_per_tunnel: 0,
            }),
            draining: self.drain.0.clone(),
            connections: self.connections.clone(),
            sessions: self.sessions.clone(),
        };
        self.listeners.push(tokio::spawn(listen(listener, door)));
    }

    /// Where it listens; a port 0 of the configuration is a real one here.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Tunnels and tokens.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether deliveries can be taken at all, as far as the spool is concerned.
    pub fn is_usable(&self) -> bool {
        self.shared.spool.usable().is_ok()
    }

    /// Looks at tunnels, tokens and certificate files now. What cannot be used changes nothing and is given back as sentences.
    pub async fn reload(&self) -> Vec<String> {
        control::look_again(&self.shared).await
    }

    /// Stops: no new connections, requests in hand are answered, agents are told, the spool is flushed.
    pub async fn stop(self) {
        let Relay { shared, drain, listeners, upkeep, keepers, control, connections, sessions, .. } = self;
        shared.stopping.raise();
        drain.0.raise();
        for listener in listeners {
            let _ = listener.await;
        }
        // Agents stay until here: the senders in hand may be waiting for their answers.
        if tokio::time::timeout(shared.config.limits.drain, connections.wait()).await.is_err() {
            warn!("some requests were still not answered when the time to stop had come");
        }
        shared.end_sessions.raise();
        if tokio::time::timeout(Duration::from_secs(5), sessions.wait()).await.is_err() {
            warn!("some agents did not go when told to");
        }
        upkeep.abort();
        keepers.iter().for_each(JoinHandle::abort);
        let _ = upkeep.await;
        if let Some(control) = control {
            control.abort();
            let _ = control.await;
            control::close(&shared.config.data);
        }
        // What could not be noted before has one more chance.
        let _ = tokio::time::timeout(Duration::from_secs(5), upkeep::note_alive(&shared)).await;
        let (audit, now) = (shared.audit.clone(), shared.now());
        shared.lines.sum_up(now);
        audit.sum_up(now);
        audit.note(Entry::new(now, What::RelayStopped, Who::Relay));
        let _ = shared.offload.run(move || audit.flush()).await;
        if let Err(e) = shared.spool.flush().await {
            error!(error = %e, "the spool could not be flushed; what was answered is in it all the same");
        }
        let _ = std::fs::remove_file(shared.config.data.join("addresses.json"));
        // What runs on a thread of its own cannot be ended, only waited for: a look at the registry's file, an answer to a command.
        let others = async {
            while Arc::strong_count(&shared) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(5), others).await.is_err() {
            warn!("something still holds the spool; it is free when that ends, or with this process");
        }
        shared.traces.close().await;
        info!("stopped");
    }
}
