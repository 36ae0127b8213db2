//! `inspect`: the inspector on what is stored, here or at a running agent.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::arguments::{self, Data, Gather, Secrets};
use super::{Context, Failure, events, signals};
use crate::control::{Control, Remote};
use crate::query::Saved;
use crate::saved_filters;
use crate::settings::{Environment, KeyBinding, Settings};
use crate::tui::{KeyMap, Setup, Tui, Whose, clipboard};

/// Open the inspector on what is stored, or on an agent that runs in another terminal
///
/// The list follows what comes; press ? for its keys. Without a running agent it has the store for itself as long as it is open, and
/// `listen` cannot start on the same folder. FILTER is words that all must hold: event:appointment.* type:Appointment resource:123
/// status:failed sig:invalid env:staging tunnel:NAME since:24h until:1h is:repeat text:"no show", or text that the body must have; | stands
/// between alternatives inside one word (event:task.*|patient.*), - before what must not be. @NAME stands for a filter that was saved in the
/// inspector or under [filters] in a settings file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to show to begin with
    filter: Vec<String>,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().many("secret", &args.secrets.secrets).data(&args.data).load(context)?;
    if !on_a_terminal(&context.environment) {
        return Err(
            Failure::usage("the inspector needs a terminal").hint("`healthie-tunnel events list` prints a list")
        );
    }
    let filter = args.filter.join(" ");
    events::filters::check(&filter, &saved(&settings)?.0)?;
    let local = arguments::local(&settings)?;
    let control = local.connect().await?;
    let mut setup = setup(&settings, context.out.style.colour, &filter)?;
    match &control {
        Control::Local(_) => setup.whose = Whose::Store,
        Control::Remote(_) => {
            setup.whose = Whose::Others;
            if let Ok(status) = control.status().await {
                (setup.tunnel, setup.urls) = (status.tunnel, status.public_urls);
            }
        }
    }
    let ended = signals::end();
    let (mut tui, closed) = Tui::open(setup).map_err(gone)?;
    let control = Arc::new(control);
    tui.connect(Arc::clone(&control));
    tokio::select! {
        () = ended => {}
        () = closed => {}
    }
    let finished = tui.finish();
    control.end().await;
    finished.map_err(gone)
}

/// The inspector on the agent that runs in this process with that data folder, until it is closed.
pub(super) async fn running(data: PathBuf, mut setup: Setup) -> Result<(), Failure> {
    let Some(agent) = Remote::find(&data).await else {
        return Err(Failure::unreachable("the agent does not answer"));
    };
    let agent = Control::Remote(agent);
    let status = agent.status().await?;
    setup.whose = Whose::Others;
    (setup.tunnel, setup.urls, setup.folder) = (status.tunnel, status.public_urls, data);
    let (mut tui, closed) = Tui::open(setup).map_err(gone)?;
    tui.connect(Arc::new(agent));
    closed.await;
    tui.finish().map_err(gone)
}

/// Why the inspector ended that nobody closed.
pub(super) fn gone(e: std::io::Error) -> Failure {
    Failure::unreachable(format!("the inspector ended: {e}"))
        .hint("`--ui log` needs no screen; `events list` prints a list")
}

/// Whether keys can be read and a screen can be drawn.
pub(super) fn on_a_terminal(environment: &Environment) -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && environment.get("TERM") != Some("dumb")
}

/// The saved filters: all of them, and those that were saved in the inspector.
pub(super) fn saved(settings: &Settings) -> Result<(Saved, Saved), Failure> {
    let own = saved_filters::read(&settings.data()?).map_err(Failure::usage)?;
    let all = saved_filters::all(settings, &own).map_err(Failure::usage)?;
    Ok((all, own))
}

/// Whether a program of that name can be run.
fn there(environment: &Environment, name: &str) -> bool {
    std::env::split_paths(environment.get("PATH").unwrap_or_default()).any(|folder| folder.join(name).is_file())
}

/// The keys of the inspector as the settings have them.
pub(super) fn keys(settings: &Settings) -> Result<KeyMap, Failure> {
    let (map, wrong) = judged_keys(settings);
    wrong.into_iter().next().map_or(Ok(map), Err)
}

/// The same with all that is wrong with them; the others hold.
pub(super) fn judged_keys(settings: &Settings) -> (KeyMap, Vec<Failure>) {
    let (mut map, mut good, mut wrong) = (KeyMap::default(), Vec::<&KeyBinding>::new(), Vec::new());
    for binding in settings.key_bindings() {
        good.push(binding);
        match KeyMap::with(good.iter().map(|k| (k.action.as_str(), k.keys.as_str()))) {
            Ok(with) => map = with,
            Err(why) => {
                good.pop();
                wrong.push(Failure::usage(format!("[keys] in {}: {why}", binding.origin)));
            }
        }
    }
    (map, wrong)
}

/// The inspector as the settings have it.
pub(super) fn setup(settings: &Settings, colour: bool, filter: &str) -> Result<Setup, Failure> {
    let environment = settings.environment();
    let keys = keys(settings)?;
    let (saved, own_filters) = saved(settings)?;
    Ok(Setup {
        saved,
        own_filters,
        clipboard: clipboard(environment, cfg!(target_os = "macos"), |name| there(environment, name)),
        colour,
        keys,
        whose: Whose::Ours,
        target: arguments::policy(settings)?.default_target().map(ToString::to_string),
        tunnel: None,
        urls: Vec::new(),
        filter: filter.to_owned(),
        editor: environment.get("VISUAL").or_else(|| environment.get("EDITOR")).unwrap_or("vi").to_owned(),
        folder: settings.data()?,
        notes: Vec::new(),
    })
}
