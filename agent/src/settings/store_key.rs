//! Where the key of the store comes from. It is looked for when the store is opened and not before: a command that a running agent answers needs none.

use std::path::PathBuf;

use tunnel_vault::KeySource;
use zeroize::Zeroizing;

use super::{Origin, Settings, SettingsError};
use crate::system_keyring;

/// The ways to give it, the first of equals first.
const WAYS: [&str; 4] = ["store_key_file", "store_key", "store_key_keyring", "store_key_command"];

impl Settings {
    /// Where the key of the store is to be had, if it has one: as it was given in the strongest place.
    ///
    /// # Errors
    /// A value that cannot be read.
    pub fn store_key(&self) -> Result<Option<KeySource>, SettingsError> {
        Ok(self.store_key_by()?.map(|(_, source)| source))
    }

    /// The same with the setting that says so.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) fn store_key_by(&self) -> Result<Option<(&'static str, KeySource)>, SettingsError> {
        let Some(way) = self.store_key_ways().first().copied() else { return Ok(None) };
        let Some(text) = self.value::<String>(way)?.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
        let source = match way {
            "store_key_file" => KeySource::File(PathBuf::from(text)),
            "store_key_command" => KeySource::Command(text),
            "store_key_keyring" => KeySource::Place(system_keyring::place(text)),
            _ => KeySource::Text(Zeroizing::new(text), "the setting store_key"),
        };
        Ok(Some((way, source)))
    }

    /// The settings that give a key, the one that counts first.
    pub(crate) fn store_key_ways(&self) -> Vec<&'static str> {
        let strength = |way: &&'static str| match self.raw(way).map(|s| &s.origin) {
            Some(Origin::Flag(_)) => 3,
            Some(Origin::Variable(_)) => 2,
            Some(Origin::File { .. }) => 1,
            Some(Origin::Default) | None => 0,
        };
        let mut ways: Vec<_> = WAYS.into_iter().filter(|way| strength(way) > 0).collect();
        ways.sort_by_key(|way| std::cmp::Reverse(strength(way)));
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Environment;
    use std::path::Path;

    #[test]
    fn the_strongest_place_wins_and_a_file_before_the_rest() {
        let load = |flags: &[(&'static str, &str)], variables: &[(&str, &str)]| {
            let flags = flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
            let environment: Environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let settings = Settings::load(flags, environment, Path::new("/nonexistent")).unwrap();
            format!("{:?}", settings.store_key().unwrap())
        };
        let (text, file) = (("HEALTHIE_TUNNEL_STORE_KEY", "secret"), ("HEALTHIE_TUNNEL_STORE_KEY_FILE", "/f"));
        assert_eq!(load(&[], &[]), "None");
        assert_eq!(load(&[], &[("HEALTHIE_TUNNEL_STORE_KEY", "")]), "None");
        assert_eq!(load(&[], &[text]), "Some(Text(…, the setting store_key))");
        assert_eq!(load(&[], &[text, file]), "Some(File(/f))");
        assert_eq!(load(&[("store_key_command", "pass x")], &[text, file]), "Some(Command(…))");
        let keyring = ("HEALTHIE_TUNNEL_STORE_KEY_KEYRING", "mine");
        assert_eq!(load(&[], &[keyring]), "Some(Place(the system's keyring, mine))");
        assert_eq!(load(&[], &[keyring, text]), "Some(Text(…, the setting store_key))");
        assert_eq!(load(&[("store_key_keyring", "store")], &[file]), "Some(Place(the system's keyring, store))");
    }
}
