//! The whole way in one process: a relay, an agent by the same code as `listen`, a sample handler that verifies, and signed deliveries of
//! every resource type. All on loopback and in a temporary folder that is removed at the end.
//!
//! `deliveries` says what is sent and what should come of it, `handler` is the developer's side, `report` compares.

mod deliveries;
mod handler;
mod report;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use healthie_relay::{AnswerMode, Relay, TunnelSettings};
use tokio::sync::{mpsc, oneshot};
use tunnel_delivery::{DeliveryId, Stored, Timestamp};
use tunnel_protocol::Start;
use tunnel_signature::Secret;

use crate::control::{Control, Remote, Replay};
use crate::dial::{Dialer, Peer, Trust};
use crate::forward::{Client, HostHeader, Interrupt, Outgoing, Routes, TargetUrl};
use crate::listen::{self, LAST_ATTEMPTS, ListenConfig, ListenError};
use crate::notice::Notice;
use crate::policy::Policy;
use crate::settings::{RelayUrl, Token};

use deliveries::{Planned, plan};
pub use report::{Line, Report};

/// The secret of the demo's webhook. It protects nothing.
const SECRET: &str = "whsec_demo";
/// The demo's tunnel.
const TUNNEL: &str = "demo";
/// The relay's domain; the Host line is all that is needed of it.
const DOMAIN: &str = "relay.test";
/// How long the whole may take.
const PATIENCE: Duration = Duration::from_secs(9);

/// How many notices may wait: many times those of the whole demo.
const NOTICES: usize = 4096;

/// Why there was no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A piece of it did not start.
    #[error("the demo's {what} cannot start: {why}")]
    Start {
        /// Which piece.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A piece of it ended or did not answer.
    #[error("the demo cannot go on: {0}")]
    Lost(String),
    /// It was to end.
    #[error("the demo was interrupted")]
    Interrupted,
}

fn start<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> DemoError {
    move |e| DemoError::Start { what, why: e.to_string() }
}

/// A folder that is removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("healthie-tunnel-demo-{:016x}", getrandom::u64()?));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is removed with the system's temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the demo, or as much of it as there is before `shutdown`; the folder goes either way.
///
/// # Errors
/// A piece of it did not start, or was lost, or it was interrupted.
pub async fn run(shutdown: impl Future<Output = ()>) -> Result<Report, DemoError> {
    run_and_show(shutdown, |_| async {}).await
}

/// As [`run`]; once everything has happened, and before anything is taken apart, `show` is given the agent's data folder.
///
/// # Errors
/// Likewise.
pub async fn run_and_show<S: Future<Output = ()>>(
    shutdown: impl Future<Output = ()>,
    show: impl FnOnce(PathBuf) -> S,
) -> Result<Report, DemoError> {
    let began = Instant::now();
    let folder = Folder::new().map_err(start("folder"))?;
    let (relay, token) = relay(&folder.0.join("relay")).await?;
    let addr = relay.addresses().http.first().copied().ok_or_else(|| DemoError::Lost("no relay".into()))?;
    let report = with_agent(&folder.0.join("agent"), addr, token, began, shutdown, show).await;
    relay.stop().await;
    report
}

async fn relay(data: &Path) -> Result<(Relay, Token), DemoError> {
    let mut config = healthie_relay::Config::loopback(data.to_owned());
    config.domain = Some(DOMAIN.to_owned());
    let relay = Relay::start(config).await.map_err(start("relay"))?;
    let name: tunnel_delivery::TunnelName = TUNNEL.parse().map_err(start("tunnel"))?;
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let registry = relay.registry();
    registry.add_tunnel(name.clone(), TunnelSettings::new(AnswerMode::Ack, now)).map_err(start("tunnel"))?;
    let token = registry.create_token(&name, now).map_err(start("tunnel"))?;
    Ok((relay, Token::new(token.expose().to_owned()).map_err(start("tunnel"))?))
}

async fn with_agent<S: Future<Output = ()>>(
    data: &Path,
    relay: SocketAddr,
    token: Token,
    began: Instant,
    shutdown: impl Future<Output = ()>,
    show: impl FnOnce(PathBuf) -> S,
) -> Result<Report, DemoError> {
    let handler = handler::start().await.map_err(start("handler"))?;
    let peer = Peer { tls: false, host: relay.ip().to_string(), port: relay.port() };
    let config = ListenConfig {
        store_key: None,
        relay: RelayUrl(peer.clone()),
        token,
        tunnel: None,
        device: None,
        start: Start::Now,
        data: data.to_owned(),
        keep: tunnel_archive::Keep::default(),
        secrets: vec![Secret::new(SECRET).map_err(start("agent"))?],
        policy: Policy {
            routes: Routes { routes: Vec::new(), default: Some(TargetUrl::of(handler.peer())) },
            limit: Duration::from_secs(5),
            ..Policy::default()
        },
        // One at a time, so that the handler that fails once fails for the delivery that the report says.
        concurrency: 1,
        host_header: HostHeader::Sent,
        trust: Trust::default(),
        inspector_port: 0,
        last_attempts: LAST_ATTEMPTS,
        traces: tunnel_telemetry::Traces::none(),
    };
    let (notices, mut heard) = mpsc::channel(NOTICES);
    let sink = move |notice: Arc<Notice>| {
        // If there is no room, what is waited for does not come, and the demo says so.
        let _ = notices.try_send(notice);
    };
    let (end, ended) = oneshot::channel::<()>();
    let agent = tokio::spawn(listen::run(config, Arc::new(sink), async {
        let _ = ended.await;
    }));
    let mut shutdown = std::pin::pin!(shutdown);
    let story = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            told = tell(data, &peer, &mut heard, began) => told,
            () = &mut shutdown => Err(DemoError::Interrupted),
        }
    })
    .await;
    if matches!(story, Ok(Ok(_))) {
        tokio::select! {
            () = show(data.to_owned()) => {}
            () = shutdown => {}
        }
    }
    let _ = end.send(());
    let stopped: Result<(), ListenError> = agent.await.unwrap_or(Ok(()));
    match (story, stopped) {
        (Ok(Ok(report)), Ok(())) => Ok(report),
        (_, Err(e)) => Err(DemoError::Lost(e.to_string())),
        (Ok(Err(e)), _) => Err(e),
        (Err(_), _) => Err(DemoError::Lost(format!("it was not done within {} s", PATIENCE.as_secs()))),
    }
}

type Heard = mpsc::Receiver<Arc<Notice>>;

async fn tell(data: &Path, relay: &Peer, heard: &mut Heard, began: Instant) -> Result<Report, DemoError> {
    until(heard, |n| matches!(n, Notice::Ready(_))).await?;
    let secret = Secret::new(SECRET).map_err(start("sender"))?;
    let planned = plan(&secret).map_err(start("sender"))?;
    let sent = send(relay, &planned).await?;
    let mut tried: HashMap<DeliveryId, usize> = HashMap::new();
    while tried.len() < sent.len() {
        if let Notice::Attempt(t) = &*next(heard).await? {
            *tried.entry(t.delivery).or_default() += 1;
        }
    }
    let agent = Remote::find(data).await.ok_or_else(|| DemoError::Lost("the agent does not answer".into()))?;
    let agent = Control::Remote(agent);
    let mut stored: Vec<Stored> = Vec::new();
    for (plan, id) in planned.iter().zip(&sent) {
        if plan.replayed {
            let replay = Replay { id: id.to_string(), ..Replay::default() };
            agent.replay(&replay).await.map_err(|e| DemoError::Lost(e.to_string()))?;
        }
        stored.push(agent.get(&id.to_string()).await.map_err(|e| DemoError::Lost(e.to_string()))?);
    }
    Ok(report::compare(&planned, &stored, began.elapsed()))
}

/// Sends everything to the relay as Healthie would; gives the ids that the relay answered with.
async fn send(relay: &Peer, planned: &[Planned]) -> Result<Vec<DeliveryId>, DemoError> {
    let client = Client::new(Dialer::new(Trust::default()), HostHeader::Sent, Interrupt::default());
    let to = TargetUrl::of(relay.clone());
    let mut ids = Vec::new();
    for plan in planned {
        let out = Outgoing {
            method: "POST".into(),
            target: plan.target.clone(),
            headers: plan.headers.clone(),
            body: plan.body.clone(),
            resigned: false,
            marks: None,
        };
        let answer = client.exchange(&to, &out, PATIENCE, 1024).await;
        let id =
            answer.headers.get("healthie-tunnel-delivery").and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
        match (answer.status, id) {
            (Some(200), Some(id)) => ids.push(id),
            (status, _) => {
                let why = answer.error.map(|e| e.message).unwrap_or_default();
                return Err(DemoError::Lost(format!("the relay answered {status:?} {why}")));
            }
        }
    }
    Ok(ids)
}

async fn next(heard: &mut Heard) -> Result<Arc<Notice>, DemoError> {
    let notice = heard.recv().await.ok_or_else(|| DemoError::Lost("the agent ended".into()))?;
    match &*notice {
        Notice::Stopped { reason } => Err(DemoError::Lost(reason.clone().unwrap_or_else(|| "the agent ended".into()))),
        _ => Ok(notice),
    }
}

async fn until(heard: &mut Heard, wanted: impl Fn(&Notice) -> bool) -> Result<(), DemoError> {
    while !wanted(&*next(heard).await?) {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_in_order_when_it_is_to_end() {
        assert!(matches!(run(async {}).await, Err(DemoError::Interrupted)));
    }
}
