//! Where commands and `serve` find the key of the spool.

use std::path::PathBuf;

use clap::Args;
use tunnel_vault::KeySource;
use zeroize::Zeroizing;

use crate::settings::paths::path;

/// The key that the spool is encrypted with. One way at most is given; none, and the spool is as it is written.
#[derive(Args)]
pub(super) struct DataKey {
    /// Encrypt what waits for its agents with the key in this file: 32 random bytes, base64 or hexadecimal; only its owner may read it
    #[arg(long, value_name = "FILE", value_parser = path(), env = "HEALTHIE_RELAY_DATA_KEY_FILE", conflicts_with_all = ["data_key", "data_key_command"])]
    data_key_file: Option<PathBuf>,
    /// The key itself; rather in the environment than here, where others can see it
    #[arg(
        long,
        value_name = "KEY",
        env = "HEALTHIE_RELAY_DATA_KEY",
        hide_env_values = true,
        conflicts_with = "data_key_command"
    )]
    data_key: Option<String>,
    /// A command that prints the key
    #[arg(long, value_name = "COMMAND", env = "HEALTHIE_RELAY_DATA_KEY_COMMAND")]
    data_key_command: Option<String>,
}

impl DataKey {
    pub(super) fn source(self) -> Option<KeySource> {
        let text = |key| KeySource::Text(Zeroizing::new(key), "--data-key (HEALTHIE_RELAY_DATA_KEY)");
        self.data_key_file
            .map(KeySource::File)
            .or(self.data_key.filter(|key| !key.is_empty()).map(text))
            .or(self.data_key_command.map(KeySource::Command))
    }
}
