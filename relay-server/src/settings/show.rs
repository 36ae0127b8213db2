//! What is in force of every setting and where it came from, with secrets left out.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::keys::Keys;
use super::merge::Settled;

/// One setting as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// As the file calls it: `acme.name`.
    pub(crate) setting: String,
    /// Its flag, without dashes.
    #[serde(skip)]
    pub(crate) flag: String,
    /// Its values as they were written; none where it is not set, `***` for what is secret, as is a user in an address.
    pub(crate) values: Vec<String>,
    /// Tells whether it is the same as before, also where it is secret.
    #[serde(skip)]
    pub(crate) digest: [u8; 32],
    /// `flag`, `env NAME`, `FILE:LINE`, `default` or `unset`.
    pub(crate) from: String,
}

/// An address without the user and password that may stand in it. Any other text is as it was.
fn nobody(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The last one: what stands before it is the user's in any reading.
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// All settings of the command `of`, from what was settled for `matches`.
pub(crate) fn shown(command: &Command, of: &str, settled: &Settled, matches: &ArgMatches) -> Vec<Shown> {
    let keys = Keys::of(command, of);
    let one = |key: &super::keys::Key<'_>| {
        let raw = matches.try_get_raw(key.id()).ok().flatten();
        let secret = key.arg.is_hide_env_values_set();
        let raw: Vec<_> = raw.into_iter().flatten().collect();
        let mut digest = Sha256::new();
        for value in &raw {
            digest.update((value.len() as u64).to_be_bytes());
            digest.update(value.as_encoded_bytes());
        }
        let shown = |v: &&std::ffi::OsStr| if secret { "***".to_owned() } else { nobody(&v.to_string_lossy()) };
        let values: Vec<String> = raw.iter().map(shown).collect();
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
        Shown { setting: key.name(), flag: key.long().to_owned(), values, digest: digest.finalize().into(), from }
    };
    let mut all = Vec::new();
    for table in keys.tables() {
        all.extend(keys.iter().filter(|key| key.table() == table).map(one));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::nobody;

    #[test]
    fn a_user_in_an_address_is_not_shown() {
        for (written, shown) in [
            ("http://me:secret@collector.test:4318/v1", "http://***@collector.test:4318/v1"),
            ("https://a@b@collector.test", "https://***@collector.test"),
            ("https://relay.test/a@b", "https://relay.test/a@b"),
            ("ops@relay.test", "ops@relay.test"),
            ("info", "info"),
        ] {
            assert_eq!(nobody(written), shown);
        }
    }
}
