//! `healthie-relay spool rekey`

use std::path::PathBuf;

use clap::Subcommand;
use tunnel_spool::SpoolError;
use tunnel_vault::KeySource;

use super::changed::done;
use super::data_key::DataKey;
use super::{Data, Failure, tell};
use crate::audit::{What, append};
use crate::ownership::hand_over_all;

#[derive(Subcommand)]
pub(super) enum Spool {
    /// Replace the key that the spool is encrypted with, or stop encrypting; no relay may run meanwhile
    ///
    /// The key that it has is given as for `serve`. What waits already stays readable: it is encrypted with keys of the spool's own, and those with
    /// yours. What comes afterwards has a new one of those too; the older ones go at a later `rekey`, once nothing waits that needs them.
    Rekey {
        /// A file with the new key, which only its owner may read
        #[arg(long, value_name = "FILE", required_unless_present_any = ["new_data_key_command", "off", "on"])]
        new_data_key_file: Option<PathBuf>,
        /// A command that prints the new key
        #[arg(long, value_name = "COMMAND", conflicts_with = "new_data_key_file")]
        new_data_key_command: Option<String>,
        /// Write what comes from now on as it is
        #[arg(long, conflicts_with_all = ["new_data_key_file", "new_data_key_command"])]
        off: bool,
        /// Encrypt again what comes from now on, with the key that the spool had
        #[arg(long, conflicts_with_all = ["new_data_key_file", "new_data_key_command", "off"])]
        on: bool,
        #[command(flatten)]
        key: DataKey,
        #[command(flatten)]
        data: Data,
    },
}

impl Spool {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Spool::Rekey { new_data_key_file, new_data_key_command, off, on: _, key, data } = self;
        data.there()?;
        let dir = data.data.join("spool");
        let read = |source: KeySource| source.read().map_err(SpoolError::Key);
        let old = key.source().map(read).transpose()?;
        let new = new_data_key_file.map(KeySource::File).or(new_data_key_command.map(KeySource::Command));
        let note = match new.map(read).transpose()? {
            Some(new) => {
                tunnel_spool::rekey(&dir, old.as_ref(), &new)?;
                tell("the spool has its new key; the old one opens nothing any more but copies from before");
                "another key"
            }
            None => {
                tunnel_spool::encrypt(&dir, old.as_ref(), !off)?;
                tell(if off {
                    "what comes from now on is not encrypted"
                } else {
                    "what comes from now on is encrypted"
                });
                if off { "encryption off" } else { "encryption on" }
            }
        };
        hand_over_all(&dir, &data.data).map_err(|e| Failure {
            code: 3,
            message: format!("IT IS DONE, BUT THE SPOOL'S FILES CANNOT BE GIVEN TO THE RELAY'S USER: {e}"),
        })?;
        append(&data.data, &[done(What::SpoolRekeyed).note(note)])
            .map_err(|e| Failure { code: 3, message: format!("IT IS DONE, BUT THE AUDIT LOG CANNOT BE WRITTEN: {e}") })
    }
}
