//! Settings: what was set, where, and which place wins. Flag, then environment, then the project's file, then the user's file.
//!
//! Every key is a row of [`KEYS`]; a value keeps the place it came from, for `config` and for error messages. The environment is an
//! argument ([`Environment`]); the process's own is read in one function. What a value means is decided where it is used.

mod consent;
mod environment;
mod error;
mod file;
mod keep;
mod keys;
mod size;
mod span;
mod store_key;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zeroize::Zeroizing;

pub use consent::{Consents, Wish, Wishes};
pub use environment::Environment;
pub use error::SettingsError;
use file::Entry;
pub use keep::{KEEP_AGE, KEEP_BYTES, parse_age, parse_bytes, parse_count, show_age};
pub use keys::{InProject, KEYS, Key};
pub use size::{parse_size, show_size};
pub use span::{Moment, parse_span};
pub use values::{RelayUrl, Token};
pub(crate) use values::{from_file, secret};

/// The project's file, looked for in the current folder.
pub const PROJECT_FILE: &str = "healthie-tunnel.toml";

/// Values as they were written; wiped where they are let go, because any of them may be a secret.
pub type Texts = Zeroizing<Vec<String>>;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// A file.
    File {
        /// Which.
        path: PathBuf,
        /// The line in it, from 1.
        line: usize,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::Variable(name) => write!(f, "environment {name}"),
            Origin::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// The values of one key and where they are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced {
    /// As written; several for keys that may be repeated.
    pub values: Texts,
    /// Where they were written.
    pub origin: Origin,
    /// The line of each, where they were written in a file.
    pub lines: Vec<usize>,
    /// Whether they are held back: a project's file says so, and the user has not allowed it.
    pub held: bool,
}

impl Sourced {
    /// The values, if they hold.
    fn released(&self, key: &'static str) -> Result<&[String], SettingsError> {
        match &self.origin {
            Origin::File { path, line } if self.held => {
                let path = format!("{}:{line}", path.display());
                Err(SettingsError::NotAllowed { key, path, stake: consent::stake(key) })
            }
            _ => Ok(&self.values),
        }
    }

    /// Where the value at this place in the list was written.
    fn origin_of(&self, place: usize) -> Origin {
        match (&self.origin, self.lines.get(place)) {
            (Origin::File { path, .. }, Some(&line)) => Origin::File { path: path.clone(), line },
            (origin, _) => origin.clone(),
        }
    }
}

/// What the flags of a command line say: pairs of key and value.
pub type Flags = Vec<(&'static str, String)>;

/// All settings, with the winning place of each.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    found: BTreeMap<&'static str, Sourced>,
    key_bindings: Vec<KeyBinding>,
    filters: BTreeMap<String, (String, Origin)>,
    wishes: Option<Wishes>,
    environment: Environment,
}

/// Keys of the inspector for one action, from the table `[keys]` of a file. What they mean is decided where they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBinding {
    /// The action's name.
    pub action: String,
    /// Keys, separated by blanks.
    pub keys: String,
    /// Where this was written.
    pub origin: Origin,
}

impl Settings {
    /// Puts the layers together. `folder` is where the project's file is looked for.
    ///
    /// # Errors
    /// A file that is there and cannot be used.
    pub fn load(flags: Flags, environment: Environment, folder: &Path) -> Result<Settings, SettingsError> {
        let (settings, mistakes) = Settings::load_with_mistakes(flags, environment, folder);
        mistakes.into_iter().next().map_or(Ok(settings), Err)
    }

    /// The same for whoever wants to hear of everything that cannot be used of the files, and be given the rest.
    pub fn load_with_mistakes(flags: Flags, environment: Environment, folder: &Path) -> (Settings, Vec<SettingsError>) {
        let mut settings = Settings { environment, ..Settings::default() };
        let mut mistakes = Vec::new();
        // From the weakest to the strongest; each replaces what was there.
        if let Some(user) = settings.environment.config_file() {
            mistakes.extend(settings.take_user(&user));
        }
        mistakes.extend(settings.take_project(folder));
        for key in KEYS {
            if let Some(text) = settings.environment.get(key.variable).map(str::to_owned) {
                let text = Zeroizing::new(text);
                let values = if key.many {
                    text.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect()
                } else {
                    vec![text.to_string()]
                };
                let origin = Origin::Variable(key.variable);
                let sourced = Sourced { values: Texts::new(values), origin, lines: Vec::new(), held: false };
                settings.found.insert(key.name, sourced);
            }
        }
        let mut from_flags: BTreeMap<&'static str, Texts> = BTreeMap::new();
        for (name, value) in flags {
            from_flags.entry(name).or_default().push(value);
        }
        for (name, values) in from_flags {
            let flag = KEYS.iter().find(|k| k.name == name).map_or("?", |k| k.flag);
            let origin = Origin::Flag(flag);
            settings.found.insert(name, Sourced { values, origin, lines: Vec::new(), held: false });
        }
        (settings, mistakes)
    }

    /// The user's own file may say anything. Gives what cannot be used of it.
    fn take_user(&mut self, path: &Path) -> Vec<SettingsError> {
        let content = file::read(path);
        for Entry { key, values, origin, lines } in content.values {
            self.found.insert(key.name, Sourced { values, origin, lines, held: false });
        }
        self.key_bindings = content.key_bindings;
        self.filters = content.filters.into_iter().map(|(name, query, origin)| (name, (query, origin))).collect();
        content.mistakes
    }

    /// A project's file may say what it may, and the rest with consent. Its keys of the inspector replace the user's, action by action;
    /// a filter of the user's own keeps its meaning. Gives what cannot be used of it.
    fn take_project(&mut self, folder: &Path) -> Vec<SettingsError> {
        let mut content = file::read(&folder.join(PROJECT_FILE));
        let mut mistakes = content.mistakes;
        let mut wishes = Vec::new();
        content.values.retain(|Entry { key, values, origin, .. }| match consent::asks(key, values, origin) {
            Ok(asks) => {
                if asks {
                    wishes.push(Wish { key, values: values.clone() });
                }
                true
            }
            Err(mistake) => {
                mistakes.push(mistake);
                false
            }
        });
        // Another order is not another wish.
        wishes.sort_by_key(|w| KEYS.iter().position(|k| k.name == w.key.name));
        let mut wishes = Wishes::new(folder, wishes);
        let allowed = self.consents().is_some_and(|consents| consents.hold(&wishes));
        for Entry { key, values, origin, lines } in content.values {
            let asked = wishes.all.iter().any(|w| w.key.name == key.name);
            // What the user says too needs no consent, and is the user's.
            if asked && self.found.get(key.name).is_some_and(|own| own.values == values) {
                continue;
            }
            self.found.insert(key.name, Sourced { values, origin, lines, held: asked && !allowed });
        }
        for binding in content.key_bindings {
            self.key_bindings.retain(|b| b.action != binding.action);
            self.key_bindings.push(binding);
        }
        for (name, query, origin) in content.filters {
            self.filters.entry(name).or_insert((query, origin));
        }
        wishes.allowed = allowed;
        self.wishes = Some(wishes).filter(|w| !w.all.is_empty());
        mistakes
    }

    /// What the project's file says and may not say by itself, if there is such a file and such a thing in it.
    pub fn wishes(&self) -> Option<&Wishes> {
        self.wishes.as_ref()
    }

    /// Where the user's consents are; `None` without a home folder.
    pub fn consents(&self) -> Option<Consents> {
        self.environment.config_file().map(|file| Consents::beside(&file))
    }

    /// Filters with their names and where they were written, from the table `[filters]` of the files; what they mean is decided where they are used.
    pub fn filters(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        self.filters.iter().map(|(name, (query, origin))| (&**name, &**query, origin))
    }

    /// The keys of the inspector that were set.
    pub fn key_bindings(&self) -> &[KeyBinding] {
        &self.key_bindings
    }

    /// The environment the settings were made from.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What was set for `key`, as written, held back or not.
    pub fn raw(&self, key: &'static str) -> Option<&Sourced> {
        self.found.get(key)
    }

    /// The value of `key`, read with `parse`.
    ///
    /// # Errors
    /// The value cannot be read.
    pub fn read<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        Ok(self.read_all(key, parse)?.pop())
    }

    /// The values of `key`, read with `parse`.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn read_all<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, SettingsError> {
        self.read_each(key, parse)?.into_iter().collect()
    }

    /// The same for whoever wants to hear of each of them that cannot be read.
    ///
    /// # Errors
    /// A project's file sets them unasked.
    pub fn read_each<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<Result<T, SettingsError>>, SettingsError> {
        let Some(sourced) = self.found.get(key) else { return Ok(Vec::new()) };
        let values = sourced.released(key)?;
        let wrong = |place: usize, why: String| {
            // A secret is not shown, and of a list one must know which.
            let why = if values.len() > 1 { format!("value {} of {}: {why}", place + 1, values.len()) } else { why };
            SettingsError::Value { key, origin: sourced.origin_of(place), why }
        };
        let read = values.iter().enumerate();
        Ok(read.map(|(place, value)| parse(value).map_err(|why| wrong(place, why))).collect())
    }

    /// The value of `key` by its own `FromStr`.
    ///
    /// # Errors
    /// The value cannot be read.
    pub fn value<T>(&self, key: &'static str) -> Result<Option<T>, SettingsError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.read(key, |text| text.parse().map_err(|e: T::Err| e.to_string()))
    }

    /// Whether `key` is `true`.
    ///
    /// # Errors
    /// The value is neither true nor false.
    pub fn is_set(&self, key: &'static str) -> Result<bool, SettingsError> {
        self.is_set_or(key, false)
    }

    /// As [`Settings::is_set`], with what holds where nobody set it.
    ///
    /// # Errors
    /// Likewise.
    pub fn is_set_or(&self, key: &'static str, default: bool) -> Result<bool, SettingsError> {
        let read = self.read(key, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" | "" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        })?;
        Ok(read.unwrap_or(default))
    }

    /// The folder that everything is kept in.
    ///
    /// # Errors
    /// It is not set and there is no home folder to put it in, or a project's file sets it unasked.
    pub fn data(&self) -> Result<PathBuf, SettingsError> {
        match self.value::<PathBuf>("data")? {
            Some(path) => Ok(path),
            None => self.environment.data_folder().ok_or(SettingsError::Missing { key: "data" }),
        }
    }

    /// The signing secrets.
    ///
    /// # Errors
    /// One of them is empty, or its file cannot be read.
    pub fn secrets(&self) -> Result<Vec<tunnel_signature::Secret>, SettingsError> {
        self.read_all("secret", secret)
    }

    /// The signing secrets as text, for the running agent, which may not know them.
    ///
    /// # Errors
    /// A file of one of them cannot be read.
    pub fn secret_texts(&self) -> Result<Vec<String>, SettingsError> {
        self.read_all("secret", from_file)
    }

    /// The relay. Without TLS it must be on this machine, unless the user takes the risk.
    ///
    /// # Errors
    /// It is not a relay's address, or is reached without TLS and must not be.
    pub fn relay(&self) -> Result<Option<RelayUrl>, SettingsError> {
        let Some(relay) = self.value::<RelayUrl>("relay")? else { return Ok(None) };
        if relay.0.tls || relay.0.is_loopback() || self.is_set("allow_plain_http")? {
            return Ok(Some(relay));
        }
        let origin = self.raw("relay").map_or(Origin::Default, |s| s.origin.clone());
        Err(SettingsError::Plain { relay, origin })
    }

    /// The token for the relay.
    ///
    /// # Errors
    /// It is empty, cannot be a header's value, or its file cannot be read.
    pub fn token(&self) -> Result<Option<Token>, SettingsError> {
        self.read("token", |text| Token::new(from_file(text)?))
    }
}

#[cfg(test)]
mod tests;
