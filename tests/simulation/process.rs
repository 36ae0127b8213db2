//! The processes of a simulation: the relay's and an agent's, as their programs would start them, on the simulated network and storage in memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use healthie_relay::{Bound, Clock, Config, Ground, Limits, Offload, Registry, Relay, Store};
use healthie_tunnel::dial::Dialer;
use healthie_tunnel::forward::{HostHeader, Routes};
use healthie_tunnel::listen::{Allowance, Connecting, Parts, Works};
use healthie_tunnel::notice::{Announcer, Connection, Notice};
use healthie_tunnel::policy::Policy;
use healthie_tunnel::settings::Token;
use tokio::sync::watch;
use tunnel_delivery::DeliveryId;
use tunnel_protocol::Start;

use crate::chance::Chance;
use crate::keep::MemoryKeep;
use crate::log::Log;
use crate::net::{Door, Knife, Net};
use crate::plan::Device;
use crate::spool::{MemorySpool, SpoolDisk};
use crate::world::Machine;

/// How long an idle connection may stay.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How a process is asked to end; a new one for each.
pub(crate) type Ending = Arc<Mutex<watch::Sender<bool>>>;

/// What becomes true when a process is to end, for the process that begins now.
fn new_ending(ending: &Ending) -> impl Future<Output = ()> + Send + 'static {
    let (told, mut tell) = watch::channel(false);
    *ending.lock().unwrap_or_else(PoisonError::into_inner) = told;
    async move {
        if tell.wait_for(|end| *end).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The relay's.
#[derive(Clone)]
pub(crate) struct RelayProcess {
    pub(crate) data: PathBuf,
    pub(crate) seed: u64,
    pub(crate) log: Log,
    pub(crate) disk: SpoolDisk,
    pub(crate) ending: Ending,
    pub(crate) knife: Knife,
    pub(crate) starts: Arc<AtomicU64>,
    pub(crate) at_hand: u64,
    pub(crate) refuses: u64,
}

impl RelayProcess {
    pub(crate) async fn run(self) -> turmoil::Result {
        let ending = new_ending(&self.ending);
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        self.log.say(format_args!("the relay starts for the {start}. time"));
        let chance = Chance::of(self.seed, &format!("spool {start}"));
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        let listener = Door { listener: turmoil::net::TcpListener::bind(addr).await?, knife: self.knife };
        let clock = self.log.clone();
        let ground = Ground {
            registry: Registry::open(&self.data)?,
            spool: Store::new(MemorySpool::open(self.disk, chance, self.at_hand, self.refuses)),
            stream: Bytes::from_static(b"the simulation's"),
            doors: vec![Bound { listener, addr, tls: None }],
            clock: Clock::new(move || clock.wall_clock()),
            offload: Offload::InPlace,
        };
        let limits =
            Limits { head_time: HEAD_TIME, body_time: HEAD_TIME, drain: Duration::from_secs(5), ..Limits::default() };
        let relay = Relay::on(Config { limits, ..Config::loopback(self.data) }, ground).await?;
        ending.await;
        relay.stop().await;
        self.log.say("the relay has stopped");
        std::future::pending().await
    }
}

/// An agent's.
#[derive(Clone)]
pub(crate) struct AgentProcess {
    pub(crate) seed: u64,
    pub(crate) log: Log,
    pub(crate) machine: Machine,
    pub(crate) device: Device,
    pub(crate) port: u16,
    pub(crate) token: Token,
    pub(crate) refuses: u64,
    pub(crate) calm: Arc<AtomicBool>,
}

impl AgentProcess {
    pub(crate) async fn run(self) -> turmoil::Result {
        let ending = new_ending(&self.machine.ending);
        self.machine.stopped.store(false, Ordering::Relaxed);
        let process = self.machine.processes.fetch_add(1, Ordering::Relaxed);
        let name = self.device.name.to_string();
        self.log.say(format_args!("{name} starts for the {process}. time"));
        let chance = |what: &str| Chance::of(self.seed, &format!("{name} {what} {process}"));
        let keep = MemoryKeep::open(
            self.machine.disk.clone(),
            chance("store"),
            (self.refuses, Arc::clone(&self.calm)),
            self.log.clone(),
            name.clone(),
        );
        let pauses = chance("pauses");
        let net = Net {
            log: self.log.clone(),
            device: name.clone(),
            knife: self.machine.knife.clone(),
            process,
            dials: Arc::clone(&self.machine.dials),
        };
        let works = Works::new(Parts {
            connecting: Connecting {
                relay: "http://relay".parse()?,
                token: self.token.clone(),
                tunnel: None,
                device: self.device.name.clone(),
                start: Start::Beginning,
                allowance: Allowance { deliveries: self.device.allowance.0, bytes: self.device.allowance.1 },
            },
            dialer: Dialer::over(Arc::new(net)),
            keep: Arc::new(keep),
            announcer: self.announcer(name.clone()),
            policy: Policy {
                routes: Routes {
                    default: Some(format!("http://handlers:{}", self.port).parse()?),
                    ..Routes::default()
                },
                limit: Duration::from_secs(6),
                ..Policy::default()
            },
            concurrency: self.device.concurrency,
            host_header: HostHeader::Sent,
            secrets: Vec::new(),
            // Made with the system's chance and not the seed's.
            keys: None,
            last_attempts: Duration::from_secs(2),
            chance: Arc::new(move || pauses.fraction()),
        });
        let ended = works.run(ending).await;
        self.machine.stopped.store(true, Ordering::Relaxed);
        match ended {
            Ok(()) => self.log.say(format_args!("{name} has stopped")),
            Err(e) => self.log.wrong(format_args!("{name} cannot go on: {e}")),
        }
        std::future::pending().await
    }

    fn announcer(&self, name: String) -> Announcer {
        let (log, connected) = (self.log.clone(), Arc::clone(&self.machine.connected));
        Announcer::new(Arc::new(move |notice: Arc<Notice>| match &*notice {
            Notice::Connection(state) => {
                connected.store(*state == Connection::Connected, Ordering::Relaxed);
                log.say(format_args!("{name} is {state:?}"));
            }
            Notice::Gap { count, reason } => log.wrong(format_args!("{name} is told of a gap of {count}: {reason}")),
            Notice::Warning { message } => log.say(format_args!("{name} warns: {}", without_ids(message))),
            _ => {}
        }))
    }
}

/// Deliveries' ids have a random end, which is not the seed's.
fn without_ids(message: &str) -> String {
    let words = message.split(' ').map(|word| if word.parse::<DeliveryId>().is_ok() { "a delivery" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
