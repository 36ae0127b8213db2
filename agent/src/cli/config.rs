//! `config`: the settings and where each comes from, and consent to what a project's file says.

use std::io::IsTerminal as _;

use super::arguments::{Data, Gather};
use super::events::unknown;
use super::style::Tone;
use super::{Context, Failure, judge};
use crate::data_folder::{self, UnfitFolder};
use crate::dial::{split_url, without_user};
use crate::forward::{Route, TargetUrl};
use crate::safe_text::SafeText;
use crate::settings::{Consents, KEYS, Key, PROJECT_FILE, Settings, Wish, Wishes};

/// Show the settings and where each comes from
///
/// A flag wins over the environment, that over healthie-tunnel.toml in the current folder, that over the user's
/// healthie-tunnel/config.toml. Secrets and tokens are never shown. What healthie-tunnel.toml says of the relay, tokens, secrets, certificates,
/// folders, how long is kept, and targets beyond this machine holds only once you have allowed it with `config allow`: the file comes
/// with the folder, whoever wrote that.
///
/// What is wrong with the settings is told, all of it, and ends with exit code 2; what `listen` would lack beside that, such as a token, is told too.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// List every key instead, with its flag, its environment variable, and whether healthie-tunnel.toml may set it: free, near (to this
    /// machine by itself), asked (both else with consent), never
    #[arg(long)]
    keys: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Allow(Allow),
    /// Take back what `config allow` allowed for this folder
    Deny,
}

/// Let this folder's healthie-tunnel.toml say where your token goes, and the like
///
/// Shows what it is that it says and asks. It holds until the file says something else; it is noted in your own configuration folder, not
/// in this one.
#[derive(Debug, clap::Args)]
struct Allow {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    match args.command {
        Some(Command::Allow(args)) => return allow(&args, context),
        Some(Command::Deny) => return deny(context),
        None => {}
    }
    if args.keys {
        return keys(args.json, context);
    }
    let (settings, mistakes) = Gather::default().data(&args.data).load_with_mistakes(context)?;
    let mut all = Vec::new();
    for key in KEYS {
        let (values, origin) = shown(key, &settings);
        let held = settings.raw(key.name).is_some_and(|s| s.held);
        if args.json {
            let value = match &values[..] {
                values if key.many => serde_json::json!(values),
                [] => serde_json::Value::Null,
                [one, ..] => serde_json::json!(one),
            };
            all.push(serde_json::json!({ "key": key.name, "value": value, "origin": origin, "allowed": !held }));
        } else {
            let values = values.join(", ");
            let note = if held { context.out.style.paint(Tone::Doubtful, ", not allowed") } else { String::new() };
            let origin = SafeText::new(&origin);
            context.out.line(&format!("{:<17} {:<40} {origin}{note}", key.name, SafeText::new(&values)))?;
        }
    }
    if args.json {
        context.out.json(&all)?;
    }
    context.out.flush()?;
    for line in judge::lacking(&settings) {
        context.out.message(&SafeText::new(&line).to_string());
    }
    unknown::note(&judge::patterns(&settings), None, &mut context.out).await?;
    let mut wrong = mistakes.into_iter().map(Failure::from).chain(judge::wrong(&settings));
    let Some(first) = wrong.next() else { return Ok(()) };
    for other in wrong {
        context.out.message(&SafeText::new(&other.message).to_string());
    }
    Err(first)
}

fn allow(args: &Allow, context: &mut Context) -> Result<(), Failure> {
    let Some((consents, wishes)) = asked(context)? else { return Ok(()) };
    context.out.message(&format!("{} says:", wishes.file().display()));
    for wish in &wishes.all {
        // On one line, whatever is in it: a value of several lines could pass for other keys.
        let wished = wished(wish);
        context.out.message(&format!("  {} = {}   ({})", wish.key.name, SafeText::new(&wished), wish.stake()));
    }
    if wishes.allowed {
        context.out.message("all of it is allowed already");
        return Ok(());
    }
    // What is no folder is told when it is written to.
    if let Err(unfit @ UnfitFolder::Anothers { owner, .. }) = data_folder::check(consents.folder()) {
        return Err(Failure::usage(unfit.to_string()).hint(data_folder::as_owner(owner)));
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Failure::usage("nobody can be asked here whether that is to hold")
                .hint("--yes allows it without asking"));
        }
        if !context.out.sure("Shall that hold, until the file says something else?")? {
            return Err(Failure::negative("nothing was allowed"));
        }
    }
    consents.give(&wishes).map_err(|e| Failure::unreachable(format!("your consent cannot be kept: {e}")))?;
    context.out.message("it holds now");
    Ok(())
}

fn deny(context: &mut Context) -> Result<(), Failure> {
    let folder =
        std::env::current_dir().map_err(|e| Failure::unreachable(format!("there is no current folder: {e}")))?;
    // The file is not read: whatever is in it by now, and if it is gone, what was said about it is taken back.
    let consents = context.environment.config_file().map(|file| Consents::beside(&file)).ok_or_else(no_home)?;
    let there = consents
        .take_back(&folder)
        .map_err(|e| Failure::unreachable(format!("your consent cannot be taken back: {e}")))?;
    let file = folder.join(PROJECT_FILE);
    let file = SafeText::new(&file.display().to_string()).to_string();
    context.out.message(&match there {
        true => format!("what you had allowed {file} to say is not allowed any more"),
        false => format!("nothing was allowed to {file}"),
    });
    Ok(())
}

/// What this folder's file may not say by itself, and where consents are kept; says so where there is nothing of that kind.
fn asked(context: &mut Context) -> Result<Option<(Consents, Wishes)>, Failure> {
    let settings = Gather::default().load(context)?;
    let Some(wishes) = settings.wishes().cloned() else {
        context.out.message(&format!("there is no {PROJECT_FILE} here, or nothing in it needs your consent"));
        return Ok(None);
    };
    Ok(Some((settings.consents().ok_or_else(no_home)?, wishes)))
}

fn no_home() -> Failure {
    Failure::usage("consent cannot be kept without a home folder").hint("set HOME or XDG_CONFIG_HOME")
}

/// What a file wishes, as it may be seen: of a private setting no more than which file it would be read from.
fn wished(wish: &Wish) -> String {
    let shown = wish.values.iter().map(|v| if v.starts_with('@') { v.clone() } else { seen(wish.key, v) });
    shown.collect::<Vec<_>>().join(", ")
}

/// One value as it may be seen.
fn seen(key: &Key, value: &str) -> String {
    match key.name {
        _ if key.private => "(set, not shown)".to_owned(),
        // They are refused with a user's name and password in them, but shown here all the same.
        "relay" | "target" | "forward" | "otlp_endpoint" if !is_address(key, value) => without_user(value),
        _ => value.to_owned(),
    }
}

/// Whether it is an address as it may be used, without a user's name: an `@` further on is part of its path, and the host before it is to be seen.
fn is_address(key: &Key, value: &str) -> bool {
    match key.name {
        "target" => value.parse::<TargetUrl>().is_ok(),
        "forward" => value.parse::<Route>().is_ok(),
        _ => split_url(value, &["http", "ws"], &["https", "wss"]).is_ok(),
    }
}

/// The values as they may be seen, and where they are from.
fn shown(key: &Key, settings: &Settings) -> (Vec<String>, String) {
    match settings.raw(key.name) {
        Some(sourced) => (sourced.values.iter().map(|v| seen(key, v)).collect(), sourced.origin.to_string()),
        None => {
            let value = match key.name {
                "data" => settings.data().map(|d| d.display().to_string()).unwrap_or_default(),
                _ => key.default.to_owned(),
            };
            ((!value.is_empty()).then_some(value).into_iter().collect(), "default".to_owned())
        }
    }
}

fn keys(json: bool, context: &mut Context) -> Result<(), Failure> {
    if json {
        let all: Vec<_> = KEYS
            .iter()
            .map(|k| serde_json::json!({ "key": k.name, "flag": k.flag, "variable": k.variable, "about": k.about, "in_project": k.in_project.as_str() }))
            .collect();
        return context.out.json(&all);
    }
    for k in KEYS {
        context.out.line(&format!(
            "{:<17} {:<19} {:<33} {:<6} {}",
            k.name,
            k.flag,
            k.variable,
            k.in_project.as_str(),
            k.about
        ))?;
    }
    Ok(())
}
