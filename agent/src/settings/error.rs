//! What is wrong with the settings, and what to do about it. Nothing of what was set is decided here.

use super::{InProject, KEYS, Origin, PROJECT_FILE, RelayUrl};

/// What is wrong with the settings. The messages never hold a secret's value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read or is not TOML.
    #[error("the settings file {path} cannot be used: {why}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A key that no version of this program knows, or a value of the wrong type.
    #[error("the settings {origin} has {why}")]
    Key {
        /// Where.
        origin: Origin,
        /// Which key and what about it.
        why: String,
    },
    /// A value that cannot be used.
    #[error("{key} (from {origin}): {why}")]
    Value {
        /// Which key.
        key: &'static str,
        /// Where it was set.
        origin: Origin,
        /// What is wrong.
        why: String,
    },
    /// A value that a project's file may not set unasked.
    #[error("{path} sets {key}, and you have not allowed it to: {stake}")]
    NotAllowed {
        /// Which key.
        key: &'static str,
        /// Which file, and the line in it.
        path: String,
        /// What may come of it.
        stake: &'static str,
    },
    /// A relay beyond this machine without TLS.
    #[error(
        "{relay} (from {origin}) is reached without TLS: your token and the deliveries would be legible on the way"
    )]
    Plain {
        /// The relay.
        relay: RelayUrl,
        /// Where it was set.
        origin: Origin,
    },
    /// A value that must be set and is not.
    #[error("{key} is not set")]
    Missing {
        /// Which key.
        key: &'static str,
    },
}

/// What a user can do about it, in one line.
impl SettingsError {
    /// How to set what is wrong or missing.
    pub fn hint(&self) -> Option<String> {
        let key = match self {
            SettingsError::Missing { key } | SettingsError::Value { key, .. } => {
                KEYS.iter().find(|k| k.name == *key)?
            }
            SettingsError::Key { .. } => return Some("`healthie-tunnel config --keys` lists every key".into()),
            SettingsError::NotAllowed { key, .. } => {
                let key = KEYS.iter().find(|k| k.name == *key)?;
                return Some(format!(
                    "read that file; if you trust it, `healthie-tunnel config allow` accepts what it says now; else {} or {} decides",
                    key.flag, key.variable
                ));
            }
            SettingsError::Plain { .. } => {
                return Some(
                    "write https://; where the way there is protected otherwise, --allow-plain-http, HEALTHIE_TUNNEL_ALLOW_PLAIN_HTTP=true or \
                     `allow_plain_http = true` in your own settings file accepts it"
                        .into(),
                );
            }
            SettingsError::File { .. } => return None,
        };
        let file = match key.in_project {
            InProject::Free | InProject::Near => PROJECT_FILE,
            InProject::Asked | InProject::Never => "your settings file (healthie-tunnel/config.toml)",
        };
        Some(format!("set it with {}, {} or `{} = …` in {file}", key.flag, key.variable, key.name))
    }
}
