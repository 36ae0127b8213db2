//! `key`: the key pairs of this device, to which a relay that seals deliveries seals them.

mod export;
mod import;
mod new;
mod open;
mod show;

use clap::Subcommand;
use tunnel_envelope::KeyRing;

use super::arguments::{Data, Gather};
use super::{Context, Failure};
use crate::audit::{Audit, By, Line, What};
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

/// Notes that the first of these keys is the one that is sealed to from now on. The folder may not be there yet.
fn note_change(data: &std::path::Path, ring: &KeyRing) -> Result<(), Failure> {
    tunnel_vault::private_folder(data).map_err(|e| Failure::unreachable(format!("{}: {e}", data.display())))?;
    let line = Line::new(What::KeyChanged).with("key", ring.public().to_string());
    Ok(Audit::new(data, By::Command).note_now(&line)?)
}

fn failed(e: KeysError) -> Failure {
    Failure::unreachable(e.to_string())
}

fn none() -> Failure {
    Failure::negative("this device has no key yet")
        .hint("`healthie-tunnel listen` makes one when it starts, `healthie-tunnel key new` does so now")
}
