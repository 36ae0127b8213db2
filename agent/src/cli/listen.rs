//! `listen`: connect, store, verify, forward.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tunnel_telemetry::{TraceSettings, Traces};

use super::arguments::{self, Data, Gather, Secrets};
use super::events::unknown;
use super::inspect::{self, on_a_terminal};
use super::ui::{Form, Ui};
use super::{Context, Failure, Output, signals};
use crate::control::{Control, Remote, has_store};
use crate::data_folder;
use crate::dial::{DialError, Trust, addresses};
use crate::forward::{HostHeader, Routes};
use crate::listen::{LAST_ATTEMPTS, ListenConfig, run as listen};
use crate::settings::{Environment, Moment, Settings, SettingsError};
use crate::tui::{Setup, Tui};

/// Connect to the relay; store, verify and forward what comes
///
/// Deliveries are stored exactly as they were sent, checked against the webhook's secret, and handed to TARGET. While it runs, every
/// other command works from another terminal against the same data folder.
///
/// A TARGET without a path gets each delivery at its own path; a TARGET with a path gets all of them there, with the delivery's query.
/// Where the relay's address puts a prefix before the path (/t/NAME), the handler does not see the prefix, and a valid delivery is signed
/// again for the path that it sees; --forward-as decides otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where deliveries are forwarded to: a port, host:port or a URL
    target: Option<String>,
    /// Forward events of a pattern to a target of their own, such as 'appointment.*=http://localhost:3000/hooks'; may be repeated,
    /// the first that matches wins
    #[arg(long, value_name = "PATTERN=TARGET")]
    forward: Vec<String>,
    /// Forward only events of this pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    events: Vec<String>,
    /// Forward only deliveries whose signature is valid
    #[arg(long)]
    skip_invalid: bool,
    /// Store and verify only
    #[arg(long)]
    no_forward: bool,
    /// The signature of forwarded copies: `sent`, or `resigned` for the path that the handler sees
    #[arg(long, value_name = "HOW")]
    forward_as: Option<String>,
    /// The Host line of forwarded copies: `sent`, or `target` for the target's own name
    #[arg(long, value_name = "HOW")]
    host_header: Option<String>,
    /// How long a handler may take [default: 30s]
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// How many deliveries are forwarded at once [default: 16]
    #[arg(long, value_name = "N")]
    concurrency: Option<String>,
    /// Do not tell the handler in Healthie-Tunnel-Delivery, -Attempt and -Replay lines which delivery and which try a request is
    #[arg(long)]
    no_tunnel_headers: bool,
    /// Try again so often what could not be handed over, out of order with what comes later; never in passthrough, where the sender sends
    /// again, and not beyond the agent's end [default: 0]
    #[arg(long, value_name = "N")]
    retry: Option<String>,
    /// The pauses between tries: the first, doubling, and the longest; Retry-After is heeded up to the longest [default: 1s..1m]
    #[arg(long, value_name = "TIME..TIME")]
    retry_backoff: Option<String>,
    /// After what: connect, timeout, exit, 5xx, 4xx, or statuses [default: connect,timeout,5xx,429,exit]
    #[arg(long, value_name = "LIST")]
    retry_on: Option<String>,
    /// Give each delivery that --events and --skip-invalid mean to this command, besides TARGET and --forward: as JSON on standard input,
    /// with its id, event and resource in HEALTHIE_TUNNEL_DELIVERY, _EVENT, _RESOURCE_ID and _RESOURCE_TYPE. Exit code 0 is success; --timeout,
    /// --concurrency and --retry hold for it too
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// The relay's address, http(s)://HOST:PORT
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
    /// Talk to a relay beyond this machine without TLS: everybody on the way can read the token and the deliveries
    #[arg(long)]
    allow_plain_http: bool,
    /// The token that the relay gave, or @FILE
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The tunnel's name [default: the token's]
    #[arg(long, value_name = "NAME")]
    tunnel: Option<String>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    data: Data,
    /// How long deliveries are kept, or `forever`; pinned ones and those that wait to be forwarded always stay [default: 30d]
    #[arg(long, value_name = "AGE")]
    keep: Option<String>,
    /// How many deliveries are kept, or `all`; the oldest go first [default: all]
    #[arg(long, value_name = "N")]
    keep_count: Option<String>,
    /// How much is kept, such as 500MiB, or `all`; the oldest go first [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    keep_size: Option<String>,
    /// This agent's name within the tunnel [default: one is made and kept]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Where an agent starts that the tunnel does not know: now, beginning, 24h or a time [default: now]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Trust the certificates in this PEM file, besides the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// Send traces of deliveries to this OpenTelemetry collector, by OTLP over HTTP, such as http://127.0.0.1:4318; OTEL_EXPORTER_OTLP_ENDPOINT counts too
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// How it reports: tui, log or json [default: tui on a terminal, else log]
    #[arg(long, value_name = "FORM")]
    ui: Option<String>,
    /// The port of the local interface on 127.0.0.1; another one where it is in use [default: any]
    #[arg(long, value_name = "PORT")]
    inspector_port: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default()
        .one("target", &args.target)
        .many("forward", &args.forward)
        .many("events", &args.events)
        .switch("skip_invalid", args.skip_invalid)
        .switch("no_forward", args.no_forward)
        .one("forward_as", &args.forward_as)
        .one("host_header", &args.host_header)
        .one("timeout", &args.timeout)
        .one("concurrency", &args.concurrency)
        .one("tunnel_headers", &args.no_tunnel_headers.then(|| "false".to_owned()))
        .one("retry", &args.retry)
        .one("retry_backoff", &args.retry_backoff)
        .one("retry_on", &args.retry_on)
        .one("exec", &args.exec)
        .one("relay", &args.relay)
        .switch("allow_plain_http", args.allow_plain_http)
        .one("token", &args.token)
        .one("tunnel", &args.tunnel)
        .many("secret", &args.secrets.secrets)
        .data(&args.data)
        .one("keep", &args.keep)
        .one("keep_count", &args.keep_count)
        .one("keep_size", &args.keep_size)
        .one("device", &args.device)
        .one("since", &args.since)
        .one("ca", &args.ca)
        .one("otlp_endpoint", &args.otlp_endpoint)
        .one("ui", &args.ui)
        .one("inspector_port", &args.inspector_port)
        .load(context)?;
    let terminal = on_a_terminal(&context.environment);
    let form = settings.value::<Form>("ui")?.unwrap_or(if terminal { Form::Tui } else { Form::Log });
    if form == Form::Tui && !terminal {
        return Err(Failure::usage("--ui tui needs a terminal").hint("use --ui log or --ui json"));
    }
    let trust = arguments::trust(&settings)?;
    let config = ListenConfig {
        traces: traces(&settings, &context.environment, &trust)?,
        relay: settings.relay()?.ok_or(SettingsError::Missing { key: "relay" })?,
        token: settings.token()?.ok_or(SettingsError::Missing { key: "token" })?,
        tunnel: settings.value("tunnel")?,
        device: settings.value("device")?,
        start: settings.value::<Moment>("since")?.unwrap_or(Moment::Now).start(arguments::now()),
        data: settings.data()?,
        store_key: settings.store_key()?,
        keep: arguments::keep(&settings)?,
        secrets: settings.secrets()?,
        policy: arguments::policy(&settings)?,
        concurrency: settings.read("concurrency", concurrency)?.unwrap_or(16),
        host_header: settings.value::<HostHeader>("host_header")?.unwrap_or_default(),
        trust,
        inspector_port: settings.value("inspector_port")?.unwrap_or(0),
        last_attempts: LAST_ATTEMPTS,
    };
    data_folder::check(&config.data)?;
    if form == Form::Tui {
        // The inspector covers what is printed before it opens.
        context.out.hold_messages();
    }
    if config.policy.routes.is_empty() && config.policy.exec.is_none() && !config.policy.no_forward {
        context.out.message("no target is given: deliveries are stored and verified, and forwarded nowhere");
    }
    if config.secrets.is_empty() {
        context.out.message(
            "no secret is given: signatures are not checked (set one with --secret or HEALTHIE_WEBHOOK_SECRET)",
        );
    }
    if args.since.is_some() && args.device.is_none() && knows_device(&config.data) {
        context.out.message(
            "note: --since is for an agent that the tunnel does not know yet; this one was there before and goes on where it was",
        );
    }
    resolved(&config.policy.routes, &mut context.out).await;
    let policy = &config.policy;
    let patterns: Vec<String> =
        policy.events.iter().cloned().chain(policy.routes.routes.iter().map(|r| r.pattern.clone())).collect();
    unknown::note(&patterns, None, &mut context.out).await?;
    if form == Form::Tui {
        let notes = context.out.held_messages();
        let setup = inspect::setup(&settings, context.out.style.colour, "")?;
        return inspected(config, Setup { notes, ..setup }).await;
    }
    let ui = Ui::start(form, context.out.style)?;
    let ended = listen(config, Arc::new(ui.sink()), signals::end()).await;
    ui.finish();
    Ok(ended?)
}

/// Traces to the collector of the settings, or of the variables that are common to all programs.
fn traces(settings: &Settings, environment: &Environment, trust: &Trust) -> Result<Traces, Failure> {
    let common = || common_collector(environment).map(|(_, endpoint)| endpoint.to_owned());
    let endpoint = settings.value::<String>("otlp_endpoint")?.or_else(common);
    let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else { return Ok(Traces::none()) };
    let https = endpoint.starts_with("https:");
    let tls = https.then(|| trust.client_config()).transpose().map_err(|e| Failure::usage(e.to_string()))?;
    let settings = TraceSettings {
        endpoint,
        service: "healthie-tunnel",
        version: env!("CARGO_PKG_VERSION"),
        ratio: 1.0,
        trust_senders: false,
        tls,
    };
    Traces::open(&settings, &tokio::runtime::Handle::current()).map_err(|e| Failure::usage(e.to_string()))
}

/// The collector of the variables that are common to all programs, and which of them names it.
pub(super) fn common_collector(environment: &Environment) -> Option<(&'static str, &str)> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    names.into_iter().find_map(|name| Some((name, environment.get(name)?)))
}

/// Whether an agent ran on the data folder before; the tunnel knows it unless it was forgotten.
fn knows_device(data: &Path) -> bool {
    data.join("device").exists() && has_store(data)
}

/// Says which targets have names that nothing is known by: a slip such as `listen abc` is taken for a host.
async fn resolved(routes: &Routes, out: &mut Output) {
    /// An answer that takes longer is no reason to wait.
    const PATIENCE: Duration = Duration::from_secs(2);
    for target in routes.default.iter().chain(routes.routes.iter().map(|r| &r.target)) {
        if let Ok(Err(DialError::Resolve { host, why })) = tokio::time::timeout(PATIENCE, addresses(&target.peer)).await
        {
            out.message(&format!(
                "note: the target's host {host:?} is not known ({why}), so nothing can be forwarded to it; a target is a port such as 3000, \
                 host:port or a URL"
            ));
        }
    }
}

/// Runs the agent under the inspector, until the user quits or the agent ends.
async fn inspected(config: ListenConfig, setup: Setup) -> Result<(), Failure> {
    let data = config.data.clone();
    let end = signals::end();
    let (mut tui, closed) = Tui::open(setup).map_err(inspect::gone)?;
    if let Some(connect) = tui.connector() {
        // By the way that other processes take, so that there is one way.
        tokio::spawn(async move {
            let agent = loop {
                match Remote::find(&data).await {
                    Some(agent) if agent.file().pid == std::process::id() => break agent,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            drop(connect.send(Arc::new(Control::Remote(agent))));
        });
    }
    let until = async move {
        tokio::select! {
            () = end => {}
            () = closed => {}
        }
    };
    let ended = listen(config, Arc::new(tui.sink()), until).await;
    let finished = tui.finish();
    ended?;
    finished.map_err(inspect::gone)
}

pub(super) fn concurrency(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=1024).contains(n))
        .ok_or_else(|| format!("{text:?} is not a number from 1 to 1024"))
}
