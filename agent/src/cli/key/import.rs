//! `key import`: keys from another data folder or from a copy.

use std::path::PathBuf;

use tunnel_envelope::KeyRing;

use super::super::arguments::Data;
use super::super::{Context, Failure};
use crate::device_keys;

/// Add the keys in a file that `key export` wrote; the first of them becomes the one that is sealed to
///
/// The keys that are here stay behind them and go on opening what was sealed to them. Two machines may share keys: each is a device of its own to the relay.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; /dev/stdin for what is piped in
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: Data,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let data = super::folder(&args.data, context)?;
    let from = |e: String| Failure::usage(format!("{}: {e}", args.file.display()));
    let text = device_keys::read(&args.file).map_err(|e| from(e.to_string()))?;
    let theirs = KeyRing::parse(&text).map_err(|e| from(e.to_string()))?;
    super::note_change(&data, &theirs)?;
    let ring = device_keys::put_first(&data, theirs).map_err(super::failed)?;
    context.out.message(&format!(
        "{} is the key that is sealed to; {}. `healthie-tunnel key open` opens what was kept shut",
        ring.public(),
        super::FROM_NEXT
    ));
    Ok(())
}
