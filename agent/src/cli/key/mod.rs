//! `key`: the key pairs of this device, to which a relay that seals deliveries seals them.

mod export;
mod import;
mod new;
mod open;
mod show;

use clap::Subcommand;

use super::arguments::{Data, Gather};
use super::{Context, Failure};
use crate::device_keys::KeysError;

/// The key to which a relay seals this device's deliveries
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Show(show::Args),
    Export(export::Args),
    Import(import::Args),
    New(new::Args),
    Open(open::Args),
}

pub(crate) async fn run(command: Command, context: &mut Context) -> Result<(), Failure> {
    match command {
        Command::Show(args) => show::run(&args, context),
        Command::Export(args) => export::run(&args, context),
        Command::Import(args) => import::run(&args, context),
        Command::New(args) => new::run(&args, context),
        Command::Open(args) => open::run(args, context).await,
    }
}

/// What is said where there is a new first key.
const FROM_NEXT: &str = "it is told to the relay when `listen` starts next";

fn folder(data: &Data, context: &Context) -> Result<std::path::PathBuf, Failure> {
    Ok(Gather::default().one("data", &data.data).load(context)?.data()?)
}

fn failed(e: KeysError) -> Failure {
    Failure::unreachable(e.to_string())
}

fn none() -> Failure {
    Failure::negative("this device has no key yet")
        .hint("`healthie-tunnel listen` makes one when it starts, `healthie-tunnel key new` does so now")
}
