//! What a session sends when, over a spool of its own and no socket. Here is what the files below stand on.

mod endings;
mod modes;
mod opening;
mod sending;

use std::path::Path;
use std::sync::Mutex;

use tokio::sync::oneshot;
use tunnel_protocol::{AnswerBody, AnswerFailure, Answers, Hello, SetAnswer, Start, Window};
use tunnel_spool::{Limits, RedbSpool};

use super::opening::window;
use super::*;
use crate::attempts::Attempts;
use crate::audit::Audit;
use crate::config::Config;
use crate::ground::{Clock, Offload};
use crate::hub::{Hub, Offer};
use crate::ids::Ids;
use crate::incarnations::Incarnations;
use crate::registry::{Admission, Registry};
use crate::shared::Ports;
use crate::store::Store;
use crate::tokens::TokenId;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn shared(dir: &Path) -> Arc<Shared> {
    shared_with(dir, Clock::new(|| NOW))
}

fn shared_with(dir: &Path, clock: Clock) -> Arc<Shared> {
    let registry = Registry::open(dir).unwrap();
    let spool = RedbSpool::open(&dir.join("spool"), Limits { min_free_bytes: 0, ..Limits::default() }).unwrap();
    Arc::new(Shared {
        wishes: std::sync::OnceLock::new(),
        handshakes: crate::handshakes::Handshakes::new(crate::rates::Rate { per_second: 0, burst: 0 }, 0),
        names: crate::http::host::Names::default(),
        domain: None,
        admission: crate::admission::Admission::new(crate::admission::Most {
            connections: 9,
            per_address: 9,
            agents: 9,
            agents_per_tunnel: 9,
        }),
        rates: crate::rates::Rates::new(crate::rates::Rate { per_second: 0, burst: 0 }),
        bodies: crate::bodies::Bodies::new(1 << 20),
        spool: Store::new(spool),
        metrics: crate::metrics::Metrics::new(),
        traces: tunnel_telemetry::Traces::none(),
        hub: Hub::new(clock.clone()),
        ids: Ids::default(),
        lines: Default::default(),
        attempts: Attempts::new(std::num::NonZeroU32::MIN),
        audit: Audit::none(),
        used: Mutex::default(),
        incarnations: Incarnations::load(&dir.join("spool"), &registry.snapshot()),
        registry,
        whose: Arc::new(crate::whose::Whose::load(&dir.join("spool"))),
        taking: Arc::default(),
        reloading: tokio::sync::Mutex::new(()),
        started: NOW,
        clock,
        offload: Offload::InPlace,
        stream: Bytes::from_static(b"stream"),
        stopping: Flag::default(),
        end_sessions: Flag::default(),
        tls: None,
        ports: Ports::default(),
        config: Config::loopback(dir.to_owned()),
    })
}

fn delivery(number: u8) -> Arc<Delivery> {
    crate::sample::delivery(number, NOW, "{}")
}

async fn session(shared: &Arc<Shared>, device: &str) -> Session {
    let (tunnel, name): (TunnelName, DeviceName) = ("team".parse().unwrap(), device.parse().unwrap());
    let place = shared.spool.join(&tunnel, &name, tunnel_spool::Start::Now, NOW).await.unwrap();
    let pass = Pass::made_up(&TokenId::parse("0123456789ab").unwrap(), Access::Full);
    session_with(shared, device, pass, place)
}

fn session_with(shared: &Arc<Shared>, device: &str, pass: Pass, place: tunnel_spool::Place) -> Session {
    let (tunnel, device): (TunnelName, DeviceName) = ("team".parse().unwrap(), device.parse().unwrap());
    let seat = shared.hub.seat(&tunnel, &device, &pass, 9).unwrap();
    let caller = Caller { tunnel: tunnel.clone(), pass, from: [127, 0, 0, 1].into(), public_urls: Vec::new() };
    let limits = &shared.config.limits;
    Session {
        tunnel,
        device,
        heartbeat: Heartbeat::new(Instant::now().into_std(), limits.heartbeat, limits.dead_after),
        shared: Arc::clone(shared),
        seat,
        ledger: Ledger::new(Window::new(9, 999), place.after, 9),
        backlog: VecDeque::new(),
        reading: None,
        caller,
        sealed: false,
        has_key: false,
        told: AnswerMode::Ack,
        changing: None,
        change_after: Instant::now(),
    }
}
