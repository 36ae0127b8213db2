//! `key`: the key pairs of this device, to which a relay that seals deliveries seals them.

mod export;
mod import;
mod new;
mod open;
mod show;

use std::path::PathBuf;

use clap::Subcommand;
use tunnel_archive::ArchiveError;
use tunnel_envelope::KeyRing;
use tunnel_vault::VaultError;

use super::arguments::{Data, Gather};
use super::{Context, Failure};
use crate::audit::{Audit, By, Line, What};
use crate::control::ControlError;
use crate::data_folder;
use crate::device_keys::KeysError;
use crate::key_guard::Guard;

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

/// Where the keys are, and what guards them there.
struct Place {
    data: PathBuf,
    guard: Guard,
}

/// The data folder, made where it is not there yet.
fn place(data: &Data, context: &Context) -> Result<Place, Failure> {
    let settings = Gather::default().data(data).load(context)?;
    let data = settings.data()?;
    data_folder::check(&data)?;
    let key = settings.store_key()?.map(|source| source.read()).transpose().map_err(guarded)?;
    let guard = Guard::of(&data, key.as_ref()).map_err(guarded)?;
    Ok(Place { data, guard })
}

/// The data folder of a command that only looks. It must make none: the name may be a slip.
fn there(data: &Data, context: &Context) -> Result<Place, Failure> {
    let folder = Gather::default().data(data).load(context)?.data()?;
    if !folder.is_dir() {
        return Err(Failure::usage(format!("the data folder {} does not exist", folder.display()))
            .hint("name the folder with --data as `healthie-tunnel listen` has it"));
    }
    place(data, context)
}

/// Notes that the first of these keys is the one that is sealed to from now on. The folder may not be there yet.
fn note_change(data: &std::path::Path, ring: &KeyRing) -> Result<(), Failure> {
    tunnel_vault::private_folder(data).map_err(|e| Failure::unreachable(format!("{}: {e}", data.display())))?;
    let line = Line::new(What::KeyChanged).with("key", ring.public().to_string());
    Ok(Audit::new(data, By::Command).note_now(&line)?)
}

fn failed(e: KeysError) -> Failure {
    match e {
        KeysError::Guarded(e) => guarded(e),
        other => Failure::unreachable(other.to_string()),
    }
}

fn guarded(e: VaultError) -> Failure {
    ControlError::from(ArchiveError::Key(e)).into()
}

fn none() -> Failure {
    Failure::negative("this device has no key yet")
        .hint("`healthie-tunnel listen` makes one when it starts, `healthie-tunnel key new` does so now")
}
