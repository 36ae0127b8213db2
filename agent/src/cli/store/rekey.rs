//! `store rekey`: another key for the store, or none from now on.

use std::path::PathBuf;

use tunnel_vault::KeySource;

use super::super::arguments::{self, Data, Gather};
use super::super::{Context, Failure};
use crate::control::{Rekey, data_flag};

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
    let Change { new_key_file, new_key_command, off, on: _ } = args.change;
    let (rekey, said) = match (new_key_file, new_key_command) {
        (Some(file), _) => (
            Rekey::To(KeySource::File(file)),
            "the store has its new key; the old one opens nothing any more but copies from before",
        ),
        (_, Some(command)) => (
            Rekey::To(KeySource::Command(command)),
            "the store has its new key; the old one opens nothing any more but copies from before",
        ),
        (None, None) if off => (Rekey::Off, "what is written from now on is not encrypted"),
        (None, None) => (Rekey::On, "what is written from now on is encrypted"),
    };
    local.rekey(rekey).await?;
    let out = &mut context.out;
    out.message(said);
    out.message(&format!(
        "what is stored already stays as it was written until `healthie-tunnel store compact {}` writes it anew",
        data_flag(&local.data)
    ));
    Ok(())
}
