//! `healthie-relay restore`

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;

use super::changed::done;
use super::{Failure, tell};
use crate::audit::{What, append};
use crate::backup::{BackupError, restore, verify};
use crate::settings::paths::path;

#[derive(Args)]
pub(super) struct Restore {
    /// The backup; `-` is standard input
    file: PathBuf,
    /// The folder to make from it: empty, or not there yet
    #[arg(long, value_name = "DIR", value_parser = path(), env = "HEALTHIE_RELAY_DATA", required_unless_present = "check")]
    data: Option<PathBuf>,
    /// Only say whether the backup is whole
    #[arg(long)]
    check: bool,
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let from: Box<dyn Read> = if self.file.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(&self.file);
            let failed = |e| Failure { code: 3, message: format!("cannot read {}: {e}", self.file.display()) };
            Box::new(io::BufReader::with_capacity(1 << 20, file.map_err(failed)?))
        };
        let held = match &self.data {
            Some(data) if !self.check => restore(from, data),
            _ => verify(from),
        };
        let held = held.map_err(failure)?;
        let was = if self.check { "whole" } else { "restored" };
        tell(&format!("{was}: the relay of {}, {} deliveries, {} files", held.made_at, held.deliveries, held.files));
        if let Some(data) = self.data.filter(|_| !self.check) {
            let entry = done(What::Restored).note(format!("the backup of {}", held.made_at));
            if let Err(e) = append(&data, &[entry]) {
                tell(&format!("healthie-relay: IT IS DONE, BUT THE AUDIT LOG CANNOT BE WRITTEN: {e}"));
            }
            tell(
                "what was answered after that is not in it; agents may be sent again what they have taken since, and know it; tokens revoked since are \
                 back: revoke them again",
            );
        }
        Ok(())
    }
}

/// What a backup that is none comes to: a negative answer. All else is something that cannot be reached.
pub(super) fn failure(e: BackupError) -> Failure {
    let code = match &e {
        BackupError::NotWhole(_) | BackupError::TooNew { .. } | BackupError::Broken(_) => 1,
        BackupError::Spool(tunnel_spool::CopyError::NotACopy(_)) => 1,
        BackupError::Folder { .. } => 2,
        _ => 3,
    };
    Failure { code, message: e.to_string() }
}
