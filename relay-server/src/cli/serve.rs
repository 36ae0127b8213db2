//! `healthie-relay serve`

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use super::data_key::DataKey;
use super::door::Door;
use super::limits::Bounds;
use super::telling::{Telling, common_collector};
use super::{Cli, Data, Failure, supervisor};
use crate::checkup::{Look, Weight, checkup};
use crate::config::Config;
use crate::relay::Relay;
use crate::settings::{Settled, Shown, settle, shown, units};
use tunnel_spool::Limits as SpoolLimits;

#[derive(Args)]
pub(super) struct Serve {
    /// Settings file, TOML; flags and the environment go before it. Without this none is read
    #[arg(long, value_name = "FILE", env = "HEALTHIE_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Serve plain HTTP here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", env = "HEALTHIE_RELAY_HTTP")]
    http: Vec<SocketAddr>,
    #[command(flatten)]
    door: Door,
    /// Domain below which each tunnel NAME is https://NAME.DOMAIN; without it tunnels are reached as /t/NAME
    #[arg(long, value_name = "DOMAIN", env = "HEALTHIE_RELAY_DOMAIN")]
    domain: Option<String>,
    /// Another name or address by which requests may name this relay; may be given more than once. The domain, names below it and the addresses
    /// listened on need not be given. Without this and --domain any name is taken
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "HEALTHIE_RELAY_HOST", value_parser = host)]
    host: Vec<String>,
    /// Where the world reaches this relay, if a proxy stands before it, such as https://relay.example.com; told to agents
    #[arg(long, value_name = "URL", env = "HEALTHIE_RELAY_PUBLIC_URL")]
    public_url: Option<String>,
    #[command(flatten)]
    data: Data,
    #[command(flatten, next_help_heading = "Spool")]
    key: DataKey,
    #[command(flatten, next_help_heading = "Limits")]
    bounds: Bounds,
    /// Longest time a delivery waits for its agents
    #[arg(long, value_name = "TIME", default_value = "72h", value_parser = units::some_span, help_heading = "Spool", env = "HEALTHIE_RELAY_SPOOL_AGE")]
    spool_age: Duration,
    /// Most of one tunnel that waits for its agents; beyond it deliveries are answered 503
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = units::size, help_heading = "Spool", env = "HEALTHIE_RELAY_SPOOL_BYTES")]
    spool_bytes: u64,
    /// Room to leave free on the disk; with less, deliveries are answered 503
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = units::size, help_heading = "Spool", env = "HEALTHIE_RELAY_MIN_FREE")]
    min_free: u64,
    /// Threads that serve connections; by default one for each processor
    #[arg(long, value_name = "N", env = "HEALTHIE_RELAY_WORKERS")]
    workers: Option<usize>,
    #[command(flatten, next_help_heading = "Log")]
    telling: Telling,
}

impl Serve {
    pub(super) fn run(self, settled: &Settled, arguments: Vec<OsString>) -> Result<(), Failure> {
        self.telling.begin_log()?;
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
        let settings = InForce::new(settled, arguments);
        let config = self.config()?;
        settings.check(&config)?;
        runtime.block_on(serve(config, settings))
    }

    /// What is logged.
    pub(super) fn filter(&self) -> Result<EnvFilter, Failure> {
        self.telling.filter()
    }

    /// What the relay is told.
    pub(super) fn config(self) -> Result<Config, Failure> {
        let proxies = self.door.proxies();
        Ok(Config {
            data: self.data.data,
            data_key: self.key.source(),
            http: self.http,
            admin: self.door.admin,
            metrics_from: self.door.metrics_from.clone(),
            https: self.door.https()?,
            proxies,
            domain: self.domain,
            hosts: self.host,
            public_url: self.public_url,
            log_requests: self.telling.log_requests,
            traces: self.telling.traces(common_collector()),
            limits: self.bounds.limits(),
            spool: SpoolLimits {
                max_age: self.spool_age,
                max_bytes_per_tunnel: self.spool_bytes,
                min_free_bytes: self.min_free,
            },
        })
    }
}

/// A name or an address, without a port to it: ports are not compared.
fn host(text: &str) -> Result<String, String> {
    let plain = if text.starts_with('[') { !text.contains("]:") } else { !text.contains(':') };
    match crate::http::host::Host::parse(text.as_bytes()) {
        Some(_) if plain => Ok(text.to_owned()),
        _ => Err("write a name or an address, such as relay.example.com or [2001:db8::1], without a port".into()),
    }
}

/// The settings that this process was started with.
struct InForce {
    arguments: Vec<OsString>,
    file: Option<PathBuf>,
    shown: Vec<Shown>,
}

impl InForce {
    fn new(settled: &Settled, arguments: Vec<OsString>) -> InForce {
        InForce { arguments, file: settled.file.clone(), shown: values(settled) }
    }

    /// What `check-config` would say, as far as starting does not say it by itself.
    fn check(&self, config: &Config) -> Result<(), Failure> {
        let mut wrong = Vec::new();
        let path = std::env::var_os("PATH");
        for finding in checkup(config, self.file.as_deref(), path.as_deref(), Look::BeforeStart) {
            match finding.weight {
                Weight::Doubtful => warn!("{}", finding.message),
                Weight::Wrong => wrong.push(finding.message),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Failure::usage(wrong.join("\n"))) }
    }

    /// Tells which settings are others in the file by now. They are taken over by a restart only.
    fn compare(&self) {
        let now = match settle(&Cli::command(), self.arguments.clone(), "serve") {
            Ok(settled) => values(&settled),
            Err(e) => return error!("the settings file cannot be used; what was read before stays in force: {e}"),
        };
        let before = self.shown.iter();
        let changed: Vec<&str> = before
            .zip(&now)
            .filter(|(before, now)| before.values != now.values)
            .map(|(before, _)| before.setting.as_str())
            .collect();
        if !changed.is_empty() {
            warn!(settings = changed.join(" "), "these settings have changed and take a restart to come into force");
        }
    }
}

fn values(settled: &Settled) -> Vec<Shown> {
    let matches = settled.matches.subcommand().map_or(&settled.matches, |(_, matches)| matches);
    shown(&Cli::command(), "serve", settled, matches)
}

async fn serve(config: Config, settings: InForce) -> Result<(), Failure> {
    raise_open_files();
    // Before anything else, so that no signal is missed between starting and being ready to stop.
    let no_signals = |e: std::io::Error| Failure { code: 3, message: format!("signals cannot be received: {e}") };
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let relay = Relay::start(config).await?;
    for addr in &relay.addresses().http {
        info!(%addr, "serving HTTP");
    }
    if let Some(addr) = relay.addresses().https {
        info!(%addr, "serving HTTPS");
    }
    if let Some(addr) = relay.addresses().admin {
        info!(%addr, "serving health and figures to the operator");
    }
    supervisor::tell(&[supervisor::ready()]);
    let mut alive = supervisor::Watchdog::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                supervisor::tell(&supervisor::reloading());
                info!("reloading: certificates, tunnels and tokens");
                for problem in relay.reload().await {
                    error!("{problem}; what was read before stays in force");
                }
                settings.compare();
                supervisor::tell(&[supervisor::ready()]);
            }
            () = alive.due() => {
                // Without a usable spool nothing is taken any more, and only a fresh process opens it again.
                if relay.is_usable() {
                    supervisor::tell(&[supervisor::alive()]);
                }
            }
        }
    }
    supervisor::tell(&[supervisor::stopping()]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use clap::FromArgMatches as _;

    #[test]
    fn what_the_help_calls_defaults_is_what_the_library_has() {
        let command = Cli::command();
        let matches = command.get_matches_from(["healthie-relay", "serve", "--data", "/nowhere"]);
        let serve = Serve::from_arg_matches(matches.subcommand().unwrap().1).unwrap();
        let config = serve.config().map_err(|e| e.message).unwrap();
        assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()));
        assert_eq!(config.spool, SpoolLimits::default());
    }
}
