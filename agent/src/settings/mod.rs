//! Settings: what was set, where, and which place wins. Flag, then environment, then the project's file, then the user's file.
//!
//! Every key is a row of [`KEYS`]; a value keeps the place it came from, for `config` and for error messages. The environment is an
//! argument ([`Environment`]); the process's own is read in one function. What a value means is decided where it is used.

mod environment;
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

pub use environment::Environment;
pub use keep::{KEEP_AGE, KEEP_BYTES, parse_age, parse_bytes, parse_count, show_age};
pub use keys::{KEYS, Key};
pub use size::{parse_size, show_size};
pub use span::{Moment, parse_span};
pub(crate) use values::from_file;
pub use values::{RelayUrl, Token};

/// The project's file, looked for in the current folder.
pub const PROJECT_FILE: &str = "healthie-tunnel.toml";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// A file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::Variable(name) => write!(f, "environment {name}"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

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
    #[error("the settings file {path} has {why}")]
    Key {
        /// Which file.
        path: String,
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
            SettingsError::File { .. } => return None,
        };
        Some(format!("set it with {}, {} or `{} = …` in {PROJECT_FILE}", key.flag, key.variable, key.name))
    }
}

/// The values of one key and where they are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced {
    /// As written; several for keys that may be repeated.
    pub values: Vec<String>,
    /// Where they were written.
    pub origin: Origin,
}

/// What the flags of a command line say: pairs of key and value.
pub type Flags = Vec<(&'static str, String)>;

/// All settings, with the winning place of each.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    found: BTreeMap<&'static str, Sourced>,
    key_bindings: Vec<KeyBinding>,
    filters: BTreeMap<String, String>,
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
        let mut settings = Settings { environment, ..Settings::default() };
        // From the weakest to the strongest; each replaces what was there.
        if let Some(user) = settings.environment.config_file() {
            settings.read_file(&user, true)?;
        }
        settings.read_file(&folder.join(PROJECT_FILE), false)?;
        for key in KEYS {
            if let Some(text) = settings.environment.get(key.variable).map(str::to_owned) {
                let values = if key.many {
                    text.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect()
                } else {
                    vec![text]
                };
                settings.found.insert(key.name, Sourced { values, origin: Origin::Variable(key.variable) });
            }
        }
        let mut from_flags: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (name, value) in flags {
            from_flags.entry(name).or_default().push(value);
        }
        for (name, values) in from_flags {
            let flag = KEYS.iter().find(|k| k.name == name).map_or("?", |k| k.flag);
            settings.found.insert(name, Sourced { values, origin: Origin::Flag(flag) });
        }
        Ok(settings)
    }

    /// Only a file of the user's own may name a command: a project's file comes with the folder, from whoever wrote that.
    fn read_file(&mut self, path: &Path, own: bool) -> Result<(), SettingsError> {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(SettingsError::File { path: shown, why: e.to_string() }),
        };
        // The parser's own message would show the line, which may hold a secret.
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| SettingsError::File {
            path: shown.clone(),
            why: match e.span() {
                Some(span) => {
                    let line = text.as_bytes().iter().take(span.start).filter(|b| **b == b'\n').count() + 1;
                    format!("line {line}: {}", e.message())
                }
                None => e.message().to_owned(),
            },
        })?;
        for (name, value) in &table {
            let wrong = |why: String| SettingsError::Key { path: shown.clone(), why };
            if let ("keys", toml::Value::Table(keys)) = (name.as_str(), value) {
                self.read_keys(keys, path)
                    .map_err(|action| wrong(format!("keys for {action:?} that are not a string like \"r ctrl-r\"")))?;
                continue;
            }
            if let ("filters", toml::Value::Table(filters)) = (name.as_str(), value) {
                for (name, query) in filters {
                    let toml::Value::String(query) = query else {
                        return Err(wrong(format!(
                            "the filter {name:?}, which is not a string like \"status:failed\""
                        )));
                    };
                    self.filters.insert(name.clone(), query.clone());
                }
                continue;
            }
            let key = KEYS
                .iter()
                .find(|k| k.name == name)
                .ok_or_else(|| wrong(format!("the key {name:?}, which is not known")))?;
            if matches!(key.name, "exec" | "store_key_command") && !own {
                let Key { name, flag, variable, .. } = key;
                return Err(wrong(format!(
                    "the key {name:?}, and a project's file cannot name a command that is run: give it with {flag}, {variable} or the user's settings file"
                )));
            }
            let values = match value {
                toml::Value::Array(items) if key.many => items.iter().map(plain).collect(),
                one => plain(one).map(|v| vec![v]),
            };
            let values = values.ok_or_else(|| {
                let form = if key.many { "a string or a list of strings" } else { "a string, a number or true/false" };
                wrong(format!("the key {name:?} with a value that is not {form}"))
            })?;
            self.found.insert(key.name, Sourced { values, origin: Origin::File(path.to_owned()) });
        }
        Ok(())
    }

    /// The keys of a stronger file replace those of a weaker one, action by action.
    fn read_keys(&mut self, keys: &toml::Table, path: &Path) -> Result<(), String> {
        for (action, keys) in keys {
            let toml::Value::String(keys) = keys else { return Err(action.clone()) };
            self.key_bindings.retain(|b| b.action != *action);
            let origin = Origin::File(path.to_owned());
            self.key_bindings.push(KeyBinding { action: action.clone(), keys: keys.clone(), origin });
        }
        Ok(())
    }

    /// Filters by name, from the table `[filters]` of the files; what they mean is decided where they are used.
    pub fn filters(&self) -> &BTreeMap<String, String> {
        &self.filters
    }

    /// The keys of the inspector that were set.
    pub fn key_bindings(&self) -> &[KeyBinding] {
        &self.key_bindings
    }

    /// The environment the settings were made from.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What was set for `key`, as written.
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
        let Some(sourced) = self.found.get(key) else { return Ok(Vec::new()) };
        let wrong = |why| SettingsError::Value { key, origin: sourced.origin.clone(), why };
        sourced.values.iter().map(|value| parse(value).map_err(wrong)).collect()
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
        let read = self.read(key, |text| match text {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" | "" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        })?;
        Ok(read.unwrap_or(default))
    }

    /// The folder that everything is kept in.
    ///
    /// # Errors
    /// It is not set and there is no home folder to put it in.
    pub fn data(&self) -> Result<PathBuf, SettingsError> {
        match self.found.get("data").and_then(|s| s.values.last()) {
            Some(path) => Ok(PathBuf::from(path)),
            None => self.environment.data_folder().ok_or(SettingsError::Missing { key: "data" }),
        }
    }

    /// The signing secrets.
    ///
    /// # Errors
    /// One of them is empty, or its file cannot be read.
    pub fn secrets(&self) -> Result<Vec<tunnel_signature::Secret>, SettingsError> {
        self.read_all("secret", |text| {
            let text = from_file(text)?;
            tunnel_signature::Secret::new(text).map_err(|e| e.to_string())
        })
    }

    /// The signing secrets as text, for the running agent, which may not know them.
    ///
    /// # Errors
    /// A file of one of them cannot be read.
    pub fn secret_texts(&self) -> Result<Vec<String>, SettingsError> {
        self.read_all("secret", from_file)
    }

    /// The token for the relay.
    ///
    /// # Errors
    /// It is empty, cannot be a header's value, or its file cannot be read.
    pub fn token(&self) -> Result<Option<Token>, SettingsError> {
        self.read("token", |text| Token::new(from_file(text)?))
    }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_nearest_place_wins_and_is_remembered() {
        let home = tempfile::tempdir().unwrap();
        let project = tempfile::tempdir().unwrap();
        let user = home.path().join(".config/healthie-tunnel/config.toml");
        std::fs::create_dir_all(user.parent().unwrap()).unwrap();
        std::fs::write(
            &user,
            "relay = \"http://user\"\ntunnel = \"user\"\ndevice = \"user\"\ntimeout = 5\nexec = \"true\"\n",
        )
        .unwrap();
        let file = project.path().join(PROJECT_FILE);
        std::fs::write(
            &file,
            "tunnel = \"project\"\ndevice = \"project\"\nsecret = [\"a,b\", \"c\"]\nskip_invalid = true\n",
        )
        .unwrap();
        let home_text = home.path().to_str().unwrap();
        let env =
            environment(&[("HOME", home_text), ("HEALTHIE_TUNNEL_DEVICE", "env"), ("HEALTHIE_TUNNEL_TOKEN", "env")]);
        let s = Settings::load(vec![("token", "flag".into())], env, project.path()).unwrap();
        let of = |key| s.raw(key).map(|s| (s.values[0].as_str(), s.origin.to_string()));
        assert_eq!(of("relay"), Some(("http://user", format!("file {}", user.display()))));
        assert_eq!(of("tunnel"), Some(("project", format!("file {}", file.display()))));
        assert_eq!(of("device"), Some(("env", "environment HEALTHIE_TUNNEL_DEVICE".into())));
        assert_eq!(of("token"), Some(("flag", "flag --token".into())));
        assert_eq!(of("timeout").unwrap().0, "5");
        assert_eq!(of("exec").unwrap().0, "true");
        assert_eq!(s.secrets().unwrap().len(), 2);
        assert!(s.is_set("skip_invalid").unwrap() && !s.is_set("no_forward").unwrap());
        assert_eq!(s.data().unwrap(), home.path().join(".local/share/healthie-tunnel"));
    }

    #[test]
    fn several_secrets_come_from_one_variable() {
        let env = environment(&[("HEALTHIE_WEBHOOK_SECRET", "whsec_a, whsec_b,")]);
        let s = Settings::load(Vec::new(), env, Path::new("/nonexistent")).unwrap();
        assert_eq!(s.secrets().unwrap().len(), 2);
        assert!(matches!(s.data(), Err(SettingsError::Missing { key: "data" })));
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named_without_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(PROJECT_FILE);
        let load = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Settings::load(Vec::new(), Environment::default(), folder.path())
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        let unknown = load("tokn = \"x\"");
        assert!(unknown.contains("\"tokn\"") && unknown.contains("healthie-tunnel.toml"), "{unknown}");
        assert!(load("token = [\"whsec_private\"]").contains("\"token\""));
        let broken = load("a = 1\nsecret = \"whsec_private");
        assert!(broken.contains("line 2") && !broken.contains("whsec_private"), "{broken}");
        assert_eq!(load("secret = \"x\""), "");
        let command = load("exec = \"touch /tmp/x\"");
        assert!(command.contains("\"exec\"") && command.contains("--exec"), "a folder runs nothing: {command}");
    }

    #[test]
    fn keys_of_the_inspector_are_a_table_and_the_project_wins() {
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let load = |project: &str| {
            std::fs::create_dir_all(home.path().join("healthie-tunnel")).unwrap();
            let user = "[keys]\nreplay = \"x\"\npin = \"P\"\n";
            std::fs::write(home.path().join("healthie-tunnel/config.toml"), user).unwrap();
            std::fs::write(folder.path().join(PROJECT_FILE), project).unwrap();
            let env = environment(&[("XDG_CONFIG_HOME", home.path().to_str().unwrap())]);
            Settings::load(Vec::new(), env, folder.path())
        };
        let settings = load("[keys]\nreplay = \"ctrl-r f5\"\n").unwrap();
        let keys: Vec<_> = settings.key_bindings().iter().map(|k| (k.action.as_str(), k.keys.as_str())).collect();
        assert_eq!(keys, [("pin", "P"), ("replay", "ctrl-r f5")]);
        assert_eq!(load("[filters]\nbad = \"sig:invalid\"\n").unwrap().filters()["bad"], "sig:invalid");
        assert!(load("[filters]\nbad = 5\n").unwrap_err().to_string().contains("\"bad\""));
        let error = load("[keys]\nreplay = 5\n").unwrap_err().to_string();
        assert!(error.contains("\"replay\"") && error.contains(PROJECT_FILE), "{error}");
    }

    #[test]
    fn secrets_may_be_in_a_file_and_are_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "tok_private\n").unwrap();
        let flags = vec![("token", format!("@{}", file.display())), ("secret", "@/nonexistent/x".into())];
        let s = Settings::load(flags, Environment::default(), folder.path()).unwrap();
        let token = s.token().unwrap().unwrap();
        assert_eq!(token.expose(), "tok_private");
        assert!(!format!("{token:?}").contains("private"));
        let error = s.secrets().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
        assert!(error.hint().unwrap().contains("HEALTHIE_WEBHOOK_SECRET"));
    }
}
