//! `events`: what is stored.

pub(crate) mod filters;
pub(crate) mod find;
mod list;
mod show;
mod tail;
pub(crate) mod unknown;
mod wait;

use clap::Subcommand;

use super::{Context, Failure};

/// What is stored: list, show, follow, wait for
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(list::Args),
    Show(show::Args),
    Tail(tail::Args),
    Wait(wait::Args),
}

pub(crate) async fn run(command: Command, context: &mut Context) -> Result<(), Failure> {
    match command {
        Command::List(args) => list::run(args, context).await,
        Command::Show(args) => show::run(args, context).await,
        Command::Tail(args) => tail::run(args, context).await,
        Command::Wait(args) => wait::run(args, context).await,
    }
}
