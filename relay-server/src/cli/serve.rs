//! `healthie-relay serve`

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

use super::data_key::DataKey;
use super::door::Door;
use super::{Data, Failure};
use crate::config::{Config, Limits};
use crate::relay::Relay;
use tunnel_spool::Limits as SpoolLimits;

#[derive(Args)]
pub(super) struct Serve {
    /// Serve plain HTTP here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", env = "HEALTHIE_RELAY_HTTP")]
    http: Vec<SocketAddr>,
    #[command(flatten)]
    door: Door,
    /// Domain below which each tunnel NAME is https://NAME.DOMAIN; without it tunnels are reached as /t/NAME
    #[arg(long, value_name = "DOMAIN", env = "HEALTHIE_RELAY_DOMAIN")]
    domain: Option<String>,
    /// Where the world reaches this relay, if a proxy stands before it, such as https://relay.example.com; told to agents
    #[arg(long, value_name = "URL", env = "HEALTHIE_RELAY_PUBLIC_URL")]
    public_url: Option<String>,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    key: DataKey,
    /// Longest body, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body)]
    max_body: u64,
    /// Longest time a delivery waits for its agents, in hours
    #[arg(long, value_name = "HOURS", default_value_t = 72)]
    spool_hours: u32,
    /// Most bytes of one tunnel that wait for its agents; beyond it deliveries are answered 503
    #[arg(long, value_name = "BYTES", default_value_t = SpoolLimits::default().max_bytes_per_tunnel)]
    spool_bytes: u64,
    /// Free bytes to leave on the disk; with less, deliveries are answered 503
    #[arg(long, value_name = "BYTES", default_value_t = SpoolLimits::default().min_free_bytes)]
    min_free: u64,
    /// Threads that serve connections; by default one for each processor
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Form of the log, on standard error
    #[arg(long, value_name = "FORM", default_value = "text")]
    log: LogForm,
    /// What to log, for example `debug` or `healthie_relay=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "HEALTHIE_RELAY_LOG")]
    log_level: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogForm {
    /// a line of text for each event
    Text,
    /// a JSON object for each event
    Json,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.log_level)
            .map_err(|e| Failure::usage(format!("--log-level {:?}: {e}", self.log_level)))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
        match self.log {
            LogForm::Text => log.init(),
            LogForm::Json => log.json().flatten_event(true).init(),
        }
        let workers = self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let mut runtime = if workers > 1 {
            tokio::runtime::Builder::new_multi_thread()
        } else {
            tokio::runtime::Builder::new_current_thread()
        };
        let runtime = runtime
            .worker_threads(workers.max(1))
            .max_blocking_threads(16)
            .enable_all()
            .build()
            .map_err(|e| Failure { code: 3, message: format!("cannot start: {e}") })?;
        runtime.block_on(serve(self.config()?))
    }

    fn config(self) -> Result<Config, Failure> {
        let proxies = self.door.proxies();
        Ok(Config {
            data: self.data.data,
            data_key: self.key.source(),
            http: self.http,
            https: self.door.https()?,
            proxies,
            domain: self.domain,
            public_url: self.public_url,
            limits: Limits { body: self.max_body, ..Limits::default() },
            spool: SpoolLimits {
                max_age: Duration::from_secs(u64::from(self.spool_hours) * 3600),
                max_bytes_per_tunnel: self.spool_bytes,
                min_free_bytes: self.min_free,
            },
        })
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    raise_open_files();
    // Before anything else, so that no signal is missed between starting and being ready to stop.
    let no_signals = |e: std::io::Error| Failure { code: 3, message: format!("signals cannot be received: {e}") };
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let relay = Relay::start(config).await?;
    for addr in &relay.addresses().http {
        info!(%addr, "serving HTTP");
    }
    if let Some(addr) = relay.addresses().https {
        info!(%addr, "serving HTTPS");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping: finishing what is in flight");
    tokio::select! {
        () = relay.stop() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// As many open files as the system lets this process have: each connection is one, and the usual 1,024 are soon used up.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    // Not being allowed to is no reason not to serve.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}
