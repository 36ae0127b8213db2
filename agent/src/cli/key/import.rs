//! `key import`: keys from another data folder or from a copy.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use tunnel_envelope::KeyRing;

use super::super::arguments::Data;
use super::super::{Context, Failure};
use super::Place;
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
    let Place { data, guard } = super::place(&args.data, context)?;
    let from = |e: String| Failure::usage(format!("{}: {e}", args.file.display()));
    let file = File::open(&args.file).map_err(|e| from(e.to_string()))?;
    not_others(&file)?;
    let text = device_keys::read(file).map_err(|e| from(e.to_string()))?;
    let text = guard.open(&args.file, text).map_err(|e| {
        from(e.to_string())
            .hint("`healthie-tunnel key export`, where it comes from, writes a file that can be imported")
    })?;
    let theirs = KeyRing::parse(&text).map_err(|e| from(e.to_string()))?;
    super::note_change(&data, &theirs)?;
    let ring = device_keys::put_first(&data, theirs, &guard).map_err(super::failed)?;
    context.out.message(&format!(
        "{} is the key that is sealed to; {}. `healthie-tunnel key open` opens what was kept shut",
        ring.public(),
        super::FROM_NEXT
    ));
    Ok(())
}

/// As `ssh` has it with private keys: what lay open is known to others, and its user is to know that. A pipe is nobody else's.
fn not_others(file: &File) -> Result<(), Failure> {
    let meta = file.metadata().map_err(|e| Failure::unreachable(e.to_string()))?;
    let mode = meta.mode() & 0o777;
    if !meta.is_file() || mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Failure::usage(format!("the file can be read by others (mode {mode:03o}), and whoever has these keys opens what is sealed to this device"))
        .hint("`chmod 600` it and import it again; if it lay open to others for long, let the old key go: `healthie-tunnel key new`"))
}
