//! `key export`: all of the keys, for a copy in a safe place or for another machine.

use std::io::Write as _;
use std::path::PathBuf;

use super::super::arguments::Data;
use super::super::out_file::OutFile;
use super::super::{Context, Failure};
use super::Place;
use crate::audit::{Audit, By, Line, What};
use crate::device_keys;

/// Write this device's keys, private halves and all, to a file for you alone, or to stdout
///
/// Whoever has them can open every delivery that was sealed to this device. Without them, what waits for this device at the relay cannot be opened once
/// the data folder is lost. In the data folder they are encrypted where the store is; in the file they are not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; `-` for stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    data: Data,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let Place { data, guard } = super::there(&args.data, context)?;
    let ring = device_keys::load(&data, &guard).map_err(super::failed)?.ok_or_else(super::none)?;
    let noted = Line::new(What::KeysExported).with("file", args.file.display().to_string());
    Audit::new(&data, By::Command).note_now(&noted)?;
    let text = ring.text();
    if args.file.as_os_str() == "-" {
        context.out.bytes(text.as_bytes())?;
        return context.out.flush();
    }
    let mut file = OutFile::create(&args.file, args.force)?;
    file.write_all(text.as_bytes()).map_err(|e| Failure::unreachable(format!("{}: {e}", args.file.display())))?;
    file.finish()
}
