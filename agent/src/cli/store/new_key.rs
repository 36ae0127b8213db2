//! `store new-key`: a key for a store, put where it can be had again.

use std::io::Write as _;
use std::path::PathBuf;

use tunnel_vault::{Entropy, UserKey};

use super::super::out_file::OutFile;
use super::super::{Context, Failure};
use crate::control::{Kind, shell_word};
use crate::system_keyring::{self, PutError};

/// Where it is put.
#[derive(Debug, clap::Args)]
#[group(id = "where", required = true, multiple = false)]
pub(crate) struct Where {
    /// Into the system's keyring; NAME tells several apart
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = system_keyring::STANDARD, value_parser = system_keyring::name)]
    keyring: Option<String>,
    /// Into a new file, which only you can read
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Make a key for a store, in the system's keyring or in a file
///
/// Nothing is encrypted by that: `listen` with the key encrypts a store from then on, `store rekey` gives an encrypted store another one. A key that is
/// there already is never replaced. Keep a copy of it elsewhere: nothing opens the store without it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
}

pub(crate) fn run(args: Args, context: &mut Context) -> Result<(), Failure> {
    let key = UserKey::new(Entropy::system()).map_err(|e| Failure::unreachable(e.to_string()))?;
    let option = match args.place {
        Where { keyring: Some(name), .. } => {
            system_keyring::put(&name, key.text()).map_err(|e| match e {
                PutError::There(_) => Failure::usage(e.to_string())
                    .hint("choose another name, or remove it with the keyring's own program once no store needs it"),
                PutError::Not(_) => Failure::unreachable(e.to_string()),
            })?;
            keyring_option(&name)
        }
        Where { file: Some(path), .. } => {
            if path.as_os_str() == "-" {
                return Err(Failure::usage("a key is not printed: `-` is no file")
                    .hint("name a file; `openssl rand -base64 32` prints a key"));
            }
            let mut file = OutFile::create(&path, false).map_err(|e| match e.kind {
                Some(Kind::Usage) => e.hint("name another file: a key that is there is never replaced"),
                _ => e,
            })?;
            let written = file.write_all(key.text().as_bytes()).and_then(|()| file.write_all(b"\n"));
            written.map_err(|e| Failure::unreachable(format!("{}: {e}", path.display())))?;
            file.finish()?;
            format!("--store-key-file {}", shell_word(&path.display().to_string()))
        }
        // clap wants one of them.
        Where { .. } => return Err(Failure::usage("say where the key is to be put")),
    };
    let id = key.id();
    context.out.message(&format!(
        "the key {id} is made; {option} gives it to `healthie-tunnel listen`, which encrypts from then on. Keep a copy of it: nothing opens the store without it"
    ));
    Ok(())
}

/// The option that takes a key from the keyring.
pub(super) fn keyring_option(name: &str) -> String {
    match name == system_keyring::STANDARD {
        true => "--store-key-keyring".to_owned(),
        false => format!("--store-key-keyring={}", shell_word(name)),
    }
}
