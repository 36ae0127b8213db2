//! `events`: what is stored.

mod audit;
mod export;
pub(crate) mod filters;
mod list;
mod marks;
mod remove;
mod show;
mod stats;
mod tail;
pub(crate) mod unknown;
mod wait;

use clap::Subcommand;

use super::{Context, Failure, diff};

/// What is stored: list, show, follow, wait for, count, compare, export, mark, remove
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Show(show::Args),
    Tail(tail::Args),
    Wait(wait::Args),
    Stats(stats::Args),
    Diff(diff::Args),
    Export(export::Args),
    Note(marks::NoteArgs),
    Pin(marks::PinArgs),
    /// Keep deliveries no longer than others
    Unpin(marks::PinArgs),
    Remove(remove::Args),
    Audit(audit::Args),
}

pub(crate) async fn run(command: Command, context: &mut Context) -> Result<(), Failure> {
    match command {
        Command::List(args) => list::run(args, context).await,
        Command::Show(args) => show::run(args, context).await,
        Command::Tail(args) => tail::run(args, context).await,
        Command::Wait(args) => wait::run(args, context).await,
        Command::Stats(args) => stats::run(args, context).await,
        Command::Diff(args) => diff::run(args, context).await,
        Command::Export(args) => export::run(args, context).await,
        Command::Note(args) => marks::note(args, context).await,
        Command::Pin(args) => marks::pin(args, true, context).await,
        Command::Unpin(args) => marks::pin(args, false, context).await,
        Command::Remove(args) => remove::run(args, context).await,
        Command::Audit(args) => audit::run(&args, context),
    }
}
