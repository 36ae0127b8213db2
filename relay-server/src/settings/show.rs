//! What is in force of every setting and where it came from, with secrets left out.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use serde::Serialize;

use super::keys::Keys;
use super::merge::Settled;

/// One setting as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// As the file calls it: `acme.name`.
    pub(crate) setting: String,
    /// Its values as they were written; none where it is not set, `***` for what is secret.
    pub(crate) values: Vec<String>,
    /// `flag`, `env NAME`, `FILE:LINE`, `default` or `unset`.
    pub(crate) from: String,
}

/// All settings of the command `of`, from what was settled for `matches`.
pub(crate) fn shown(command: &Command, of: &str, settled: &Settled, matches: &ArgMatches) -> Vec<Shown> {
    let keys = Keys::of(command, of);
    let one = |key: &super::keys::Key<'_>| {
        let raw = matches.try_get_raw(key.id()).ok().flatten();
        let secret = key.arg.is_hide_env_values_set();
        let values: Vec<String> = raw
            .map(|values| {
                values.map(|v| if secret { "***".to_owned() } else { v.to_string_lossy().into_owned() }).collect()
            })
            .unwrap_or_default();
        let from = match (settled.lines.get(key.id()), matches.value_source(key.id())) {
            (Some(line), _) => {
                let file = settled.file.as_deref().unwrap_or_else(|| "".as_ref());
                format!("{}:{line}", file.display())
            }
            (None, Some(ValueSource::CommandLine)) => "flag".to_owned(),
            (None, Some(ValueSource::EnvVariable)) => {
                let name = key.arg.get_env().unwrap_or_default();
                format!("env {}", name.to_string_lossy())
            }
            (None, Some(_)) => "default".to_owned(),
            (None, None) => "unset".to_owned(),
        };
        Shown { setting: key.name(), values, from }
    };
    let mut all = Vec::new();
    for table in keys.tables() {
        all.extend(keys.iter().filter(|key| key.table() == table).map(one));
    }
    all
}
