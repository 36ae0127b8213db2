//! The environment as an argument, and the only place that reads the process's own. What it holds is wiped where it is let go; the process's own block is the
//! system's.

use std::collections::HashMap;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// Environment variables.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, Zeroizing<String>>);

impl Environment {
    /// The process's own; variables that are not UTF-8 are left out.
    pub fn of_process() -> Environment {
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
    }

    /// A variable that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str()).filter(|v| !v.is_empty())
    }

    /// The folder of a kind by the XDG base directory specification: only absolute paths count.
    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let own = self.get(variable).map(PathBuf::from).filter(|p| p.is_absolute());
        own.or_else(|| self.get("HOME").map(|home| PathBuf::from(home).join(below_home)))
    }

    /// The user's settings file.
    pub fn config_file(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config").map(|p| p.join("healthie-tunnel/config.toml"))
    }

    /// The folder that deliveries are kept in where none is set.
    pub fn data_folder(&self) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share").map(|p| p.join("healthie-tunnel"))
    }

    /// Whether colour is unwanted (<https://no-color.org>).
    pub fn no_color(&self) -> bool {
        self.get("NO_COLOR").is_some() || self.get("TERM") == Some("dumb")
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Environment {
        Environment(pairs.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }
}
