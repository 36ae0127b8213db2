//! The command line: one file per command, each with its arguments and what is printed. What is done is done elsewhere.
//!
//! Exit codes: 0 done, 1 a negative answer (a relay that refuses the token gives one), 2 wrong use, 3 unreachable.

mod answer;
mod api;
mod arguments;
mod check;
mod config;
mod curl;
mod demo;
mod diff;
mod editor;
mod events;
mod failure;
mod fixtures;
mod inspect;
mod judge;
mod key;
mod listen;
mod log;
mod manual;
mod out_file;
mod output;
mod panics;
mod pause;
mod purge;
mod replay;
mod resume;
mod sign;
mod signals;
mod status;
mod store;
mod style;
mod trigger;
mod ui;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tunnel_telemetry::SafeLines;

pub use failure::Failure;
pub use output::Output;

use crate::settings::Environment;

/// What every command ends with.
const CODES: &str = "Exit codes: 0 done, 1 a negative answer (also a relay's that refuses the token), 2 wrong use, 3 nobody could be reached.";

/// Healthie webhooks on localhost: stored as sent, verified, explained, replayed.
#[derive(Debug, Parser)]
#[command(name = "healthie-tunnel", version, max_term_width = 100, after_help = CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Listen(Box<listen::Args>),
    Demo(demo::Args),
    Inspect(inspect::Args),
    #[command(subcommand)]
    Events(events::Command),
    Replay(Box<replay::Args>),
    Trigger(Box<trigger::Args>),
    Check(Box<check::Args>),
    Verify(Box<verify::Args>),
    Sign(Box<sign::Args>),
    Curl(curl::Args),
    Diff(diff::Args),
    #[command(subcommand)]
    Fixtures(fixtures::Command),
    #[command(subcommand)]
    Key(key::Command),
    Status(status::Args),
    Api(api::Args),
    Pause(pause::Args),
    Resume(resume::Args),
    Answer(answer::Args),
    #[command(subcommand)]
    Store(store::Command),
    Purge(purge::Args),
    Config(config::Args),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// What every command gets.
pub(crate) struct Context {
    /// Where it prints.
    pub(crate) out: Output,
    /// The environment.
    pub(crate) environment: Environment,
}

/// Runs the command line `args`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed =
        Cli::command().try_get_matches_from(args.into_iter().map(negated)).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version go to stdout, mistakes to stderr; a closed pipe is no reason to fail.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    // Secrets and deliveries are in memory from here on. Handlers that it starts are their owner's own.
    tunnel_vault::no_core_dumps(tunnel_vault::Dumps::NotOurs);
    let environment = Environment::of_process();
    diagnostics(&environment);
    panics::quiet_engine();
    let mut context = Context { out: Output::new(&environment), environment };
    let ended = runtime().and_then(|runtime| {
        let ended = runtime.block_on(run(cli.command, &mut context));
        // A read of the archive that nobody waits for any more must not hold up the end.
        runtime.shutdown_background();
        ended
    });
    let ended = ended.and_then(|()| context.out.flush());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            context.out.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A negated condition of a filter, `-status:2xx`, made one that the reader of options does not take for options: with a blank before it, which the
/// query language passes over. No option looks like that.
fn negated(arg: OsString) -> OsString {
    let condition = arg.to_str().and_then(|text| text.strip_prefix('-')).and_then(|text| text.split_once(':'));
    match condition {
        Some((name, _)) if crate::query::WORDS.iter().any(|word| word.name == name) => {
            let mut behind_a_blank = OsString::from(" ");
            behind_a_blank.push(arg);
            behind_a_blank
        }
        _ => arg,
    }
}

/// What the rooms below have to say beside their results goes to stderr; `HEALTHIE_TUNNEL_LOG` is error, warn, info, debug or trace, and
/// `HEALTHIE_TUNNEL_LOG_FORMAT` is text or json.
fn diagnostics(environment: &Environment) {
    let level = environment.get("HEALTHIE_TUNNEL_LOG").and_then(|l| l.parse().ok()).unwrap_or(tracing::Level::WARN);
    let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
    // Somebody else's subscriber, in a test, is as good.
    let _ = match environment.get("HEALTHIE_TUNNEL_LOG_FORMAT") {
        Some("json") => log.with_writer(|| crate::tui::Aside).json().flatten_event(true).try_init(),
        _ => log.with_writer(SafeLines(|| crate::tui::Aside)).with_target(false).try_init(),
    };
}

/// One thread: measured, the agent's work per delivery is less than what passing it between threads would cost.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(|e| Failure::unreachable(format!("the program cannot start: {e}")))
}

async fn run(command: Command, context: &mut Context) -> Result<(), Failure> {
    match command {
        Command::Listen(args) => listen::run(*args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Events(command) => events::run(command, context).await,
        Command::Replay(args) => replay::run(*args, context).await,
        Command::Trigger(args) => trigger::run(*args, context).await,
        Command::Check(args) => check::run(*args, context).await,
        Command::Verify(args) => verify::run(*args, context).await,
        Command::Sign(args) => sign::run(*args, context).await,
        Command::Curl(args) => curl::run(args, context).await,
        Command::Diff(args) => diff::run(args, context).await,
        Command::Fixtures(command) => fixtures::run(command, context).await,
        Command::Key(command) => key::run(command, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Api(args) => api::run(args, context).await,
        Command::Pause(args) => pause::run(args, context).await,
        Command::Resume(args) => resume::run(args, context).await,
        Command::Answer(args) => answer::run(args, context).await,
        Command::Store(command) => store::run(command, context).await,
        Command::Purge(args) => purge::run(args, context).await,
        Command::Config(args) => config::run(args, context).await,
        Command::Completions(args) => manual::completions(&args, context),
        Command::Man(args) => manual::man(args, context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negated_conditions_are_no_options() {
        let parse = |args: &[&str]| {
            let args = args.iter().map(|arg| negated(OsString::from(arg)));
            Cli::command().try_get_matches_from(args).map(drop)
        };
        assert!(parse(&["healthie-tunnel", "events", "list", "-status:2xx", "--json"]).is_ok());
        assert!(parse(&["healthie-tunnel", "events", "list", "a", "-is:pinned", "--limit", "3"]).is_ok());
        assert!(parse(&["healthie-tunnel", "events", "list", "--limt", "3"]).is_err());
        assert!(parse(&["healthie-tunnel", "events", "list", "-x:y"]).is_err());
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The reference of the command line. When this fails the change is seen by every user: look at it, then accept it.
    #[test]
    fn help() {
        let mut text = String::new();
        let mut waiting = vec![(Cli::command(), String::new())];
        while let Some((command, path)) = waiting.pop() {
            let path = format!("{path} {}", command.get_name()).trim().to_owned();
            let mut shown = command.clone().bin_name(path.clone()).term_width(100);
            text.push_str(&format!("## {path}\n\n{}\n", shown.render_help()));
            let mut below: Vec<_> = command.get_subcommands().map(|c| (c.clone(), path.clone())).collect();
            below.reverse();
            waiting.extend(below);
        }
        insta::assert_snapshot!(text);
    }
}
