//! `store rekey`: another key for the store, or none from now on.

use std::path::PathBuf;

use tunnel_vault::KeySource;

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure};
use super::new_key::keyring_option;
use crate::control::{Rekey, data_flag, shell_word};
use crate::settings::{Origin, Settings, Sourced};
use crate::system_keyring;

/// What is to change.
#[derive(Debug, clap::Args)]
#[group(id = "change", required = true, multiple = false)]
pub(crate) struct Change {
    /// A file with the new key: 32 random bytes, such as `openssl rand -base64 32` prints; only you may be able to read it
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// A command that prints the new key
    #[arg(long, value_name = "COMMAND")]
    new_key_command: Option<String>,
    /// Take the new key from the system's keyring, where `store new-key --keyring=NAME` has put it
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = system_keyring::STANDARD, value_parser = system_keyring::name)]
    new_key_keyring: Option<String>,
    /// Write what comes from now on as it is
    #[arg(long)]
    off: bool,
    /// Encrypt again what comes from now on, with the key that the store had
    #[arg(long)]
    on: bool,
}

/// Encrypt the store with another key, or not any more
///
/// A store is encrypted from the first start on that is given a key (--store-key-file). This replaces that key at once, whatever the store's
/// size: what is stored is encrypted with keys of the store's own, and those with yours. What is written afterwards has a new one of those too;
/// `store compact` writes the rest anew. No agent may run on the store meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let settings = Gather::default().data(&args.data).load(context)?;
    let local = arguments::local(&settings)?;
    let Change { new_key_file, new_key_command, new_key_keyring, off, on: _ } = args.change;
    // With the option that gives the key to whatever comes next.
    let new = match (new_key_file, new_key_command, new_key_keyring) {
        (Some(file), ..) => {
            let option = format!("--store-key-file {}", shell_word(&file.display().to_string()));
            Some((KeySource::File(file), option))
        }
        (_, Some(command), _) => {
            let option = format!("--store-key-command {}", shell_word(&command));
            Some((KeySource::Command(command), option))
        }
        (.., Some(name)) => {
            let option = keyring_option(&name);
            Some((KeySource::Place(system_keyring::place(name)), option))
        }
        (None, None, None) => None,
    };
    let (rekey, said, option) = match new {
        Some((source, option)) => (
            Rekey::To(source),
            "the store has its new key, and the device's own keys with it; the old one opens nothing any more but copies from before",
            format!(" {option}"),
        ),
        None if off => (Rekey::Off, "what is written from now on is not encrypted", used(&settings)),
        None => (Rekey::On, "what is written from now on is encrypted", used(&settings)),
    };
    let then = match rekey {
        Rekey::To(_) => "; where settings name the old key, change them",
        Rekey::Off => "; from then on it needs no key",
        Rekey::On => "",
    };
    local.rekey(rekey).await?;
    let out = &mut context.out;
    out.message(said);
    out.message(&format!(
        "what is stored already stays as it was written until `healthie-tunnel store compact {}{option}` writes it anew{then}",
        data_flag(&local.data),
    ));
    Ok(())
}

/// The option that the store's key was given with, before the blank before it. What the environment or a file says, it goes on saying.
fn used(settings: &Settings) -> String {
    let flag = |key| match settings.raw(key) {
        Some(Sourced { values, origin: Origin::Flag(_), .. }) => values.last(),
        _ => None,
    };
    if let Some(file) = flag("store_key_file") {
        format!(" --store-key-file {}", shell_word(file))
    } else if let Some(name) = flag("store_key_keyring") {
        format!(" {}", keyring_option(name))
    } else if let Some(command) = flag("store_key_command") {
        format!(" --store-key-command {}", shell_word(command))
    } else {
        String::new()
    }
}
