//! `key export`: all of the keys, for a copy in a safe place or for another machine.

use std::io::Write as _;
use std::path::PathBuf;

use super::super::arguments::Data;
use super::super::out_file::{OutFile, failed};
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
    let line = || Line::new(What::KeysExported).with("file", args.file.display().to_string());
    let audit = Audit::new(&data, By::Command);
    let text = ring.text();
    if args.file.as_os_str() == "-" {
        audit.note_now(&line())?;
        context.out.bytes(text.as_bytes())?;
        return context.out.flush();
    }
    // A file that cannot be made is refused before it is noted that the keys are in it.
    let mut file = OutFile::create(&args.file, args.force)?;
    if let Err(e) = audit.note_now(&line()) {
        file.give_up();
        return Err(e.into());
    }
    let written = file.write_all(text.as_bytes()).map_err(|e| failed(&args.file, &e)).and_then(|()| file.finish());
    if let Err(e) = &written {
        // Part of them may be there all the same.
        audit.note_now(&line().with("failed", e.message.as_str()))?;
    }
    written
}
