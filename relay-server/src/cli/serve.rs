//! `healthie-relay serve`

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::data_key::DataKey;
use super::door::Door;
use super::limits::Bounds;
use super::resolve::{line, resolve, told};
use super::telling::{Telling, common_collector};
use super::{Cli, Command, Data, Failure, supervisor};
use crate::checkup::{Look, Weight};
use crate::config::{Config, Problem};
use crate::control::Reloaded;
use crate::relay::Relay;
use crate::settings::addresses::listener;
use crate::settings::paths::path;
use crate::settings::{SettingsError, Settled, Shown, settle, units};
use tunnel_spool::Limits as SpoolLimits;

#[derive(Args)]
pub(super) struct Serve {
    /// Settings file, TOML; flags and the environment go before it. Without this none is read
    #[arg(long, value_name = "FILE", value_parser = path(), env = "HEALTHIE_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Serve plain HTTP here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", value_parser = listener, env = "HEALTHIE_RELAY_HTTP")]
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
    #[arg(long, value_name = "TIME", default_value = "72h", value_parser = units::span_of("1m", "3650d"), help_heading = "Spool", env = "HEALTHIE_RELAY_SPOOL_AGE")]
    spool_age: Duration,
    /// Most of one tunnel that waits for its agents; beyond it deliveries are answered 503
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = units::size_of(64 << 10, 1 << 50), help_heading = "Spool", env = "HEALTHIE_RELAY_SPOOL_BYTES")]
    spool_bytes: u64,
    /// Room to leave free on the disk; with less, deliveries are answered 503
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = units::size_of(0, 1 << 50), help_heading = "Spool", env = "HEALTHIE_RELAY_MIN_FREE")]
    min_free: u64,
    /// Threads that serve connections; by default one for each processor
    #[arg(long, value_name = "N", env = "HEALTHIE_RELAY_WORKERS", value_parser = units::count_of(1_usize, 1024))]
    workers: Option<usize>,
    #[command(flatten, next_help_heading = "Log")]
    telling: Telling,
}

impl Serve {
    pub(super) fn run(self, settled: &Settled, arguments: Vec<OsString>) -> Result<(), Failure> {
        self.telling.begin_log();
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
        let resolved = resolve(self, settled, Look::BeforeStart);
        if resolved.is_wrong() {
            let wrong = resolved.found.iter().filter(|finding| finding.weight == Weight::Wrong);
            let all: Vec<String> = wrong.map(told).collect();
            return Err(Failure::usage(format!("the settings cannot be used\n{}", all.join("\n"))));
        }
        for finding in &resolved.found {
            warn!("{}", line(finding));
        }
        runtime.block_on(serve(resolved.config, InForce { arguments, shown: resolved.shown }))
    }

    /// The folder that everything is kept in.
    pub(super) fn folder(self) -> PathBuf {
        self.data.data
    }

    /// What the relay is told; what contradicts itself goes to `wrong`.
    pub(super) fn config(self, wrong: &mut Vec<Problem>) -> Config {
        let proxies = self.door.proxies();
        Config {
            data: self.data.data,
            data_key: self.key.source(),
            http: self.http,
            admin: self.door.admin,
            metrics_from: self.door.metrics_from.clone(),
            https: self.door.https(wrong),
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
        }
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
    shown: Vec<Shown>,
}

impl InForce {
    /// Looks at the settings as they are now: which are others than those in force, which takes a restart, and why a relay would not start with them.
    fn compare(&self) -> Reloaded {
        let unusable = |why: String| Reloaded {
            problems: vec![format!("the settings cannot be used: {why}")],
            waiting: Vec::new(),
            mistaken: true,
        };
        let settled = match settle(&Cli::command(), self.arguments.clone(), "serve") {
            Ok(settled) => settled,
            Err(e) => return unusable(e.line()),
        };
        let serve = match Cli::from_arg_matches(&settled.matches).map(|cli| cli.command) {
            Ok(Command::Serve(serve)) => *serve,
            Ok(_) => return unusable("they are of another command".into()),
            Err(e) => return unusable(SettingsError::from(e).line()),
        };
        let now = resolve(serve, &settled, Look::BeforeStart);
        let wrong = now.found.iter().filter(|finding| finding.weight == Weight::Wrong);
        let problems = wrong.map(|finding| format!("a relay would not start so: {}", line(finding))).collect();
        let changed = self.shown.iter().zip(&now.shown).filter(|(before, now)| before.digest != now.digest);
        let waiting =
            changed.filter(|_| settled.mistakes.is_empty()).map(|(before, _)| before.setting.clone()).collect();
        Reloaded { problems, waiting, mistaken: !settled.mistakes.is_empty() }
    }
}

async fn serve(config: Config, settings: InForce) -> Result<(), Failure> {
    raise_open_files();
    // Before anything else, so that no signal is missed between starting and being ready to stop.
    let no_signals = |e: std::io::Error| Failure { code: 3, message: format!("signals cannot be received: {e}") };
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let (wish, mut wishes) = tokio::sync::mpsc::channel(1);
    let relay = Relay::kept(config, Some(wish)).await?;
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
    let settings = Arc::new(settings);
    let mut alive = supervisor::Watchdog::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => drop(reload(&relay, &settings).await),
            Some(wish) = wishes.recv() => {
                // Whoever asked may have gone meanwhile.
                let _ = wish.send(reload(&relay, &settings).await);
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

/// Looks at everything again, and tells the service manager, the log and whoever asked what came of it.
async fn reload(relay: &Relay, settings: &Arc<InForce>) -> Reloaded {
    supervisor::tell(&supervisor::reloading());
    info!("reloading: certificates, tunnels and tokens");
    let mut problems = relay.reload().await;
    let keeper = Arc::clone(settings);
    let Reloaded { problems: of_settings, waiting, mistaken } =
        tokio::task::spawn_blocking(move || keeper.compare()).await.unwrap_or_default();
    // The same file may be wrong to both.
    problems.extend(
        of_settings
            .into_iter()
            .filter(|new| !problems.iter().any(|known| new.contains(known.as_str())))
            .collect::<Vec<_>>(),
    );
    for problem in &problems {
        error!("{problem}; what was read before stays in force");
    }
    if !waiting.is_empty() {
        warn!(settings = waiting.join(" "), "these settings have changed and take a restart to come into force");
    }
    supervisor::tell(&[supervisor::ready()]);
    Reloaded { problems, waiting, mistaken }
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

    #[test]
    fn what_the_help_calls_defaults_is_what_the_library_has() {
        let command = Cli::command();
        let matches = command.get_matches_from(["healthie-relay", "serve", "--data", "/nowhere"]);
        let serve = Serve::from_arg_matches(matches.subcommand().unwrap().1).unwrap();
        let mut wrong = Vec::new();
        let config = serve.config(&mut wrong);
        assert_eq!(wrong, []);
        assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()));
        assert_eq!(config.spool, SpoolLimits::default());
    }
}
