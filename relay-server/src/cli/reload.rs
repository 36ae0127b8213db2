//! `healthie-relay reload`: what SIGHUP does, with an answer and an exit code, for people and for a service manager's reload command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _};

use super::changed::still_to_come;
use super::{Cli, Command, Data, Failure, tell};
use crate::control::{Question, Reloaded, Told, ask_telling};
use crate::settings::paths::path;
use crate::settings::{SettingsError, settle};

#[derive(Args)]
pub(super) struct Reload {
    /// Folder that the relay keeps everything in
    #[arg(long, value_name = "DIR", value_parser = path(), env = "HEALTHIE_RELAY_DATA", required_unless_present = "settings")]
    data: Option<PathBuf>,
    /// The settings file of that relay, which names the folder, in place of --data
    #[arg(id = "settings", long = "config", value_name = "FILE", value_parser = path(), env = "HEALTHIE_RELAY_CONFIG")]
    config: Option<PathBuf>,
}

impl Reload {
    /// Asks the running relay, which answers with what came of it.
    pub(super) fn run(self) -> Result<(), Failure> {
        let folder = self.folder()?;
        folder.there()?;
        let folder = &folder.data;
        let failed = |code, message| Err(Failure { code, message });
        match ask_telling(folder, &Question::LookAgain, &mut still_to_come)? {
            None => failed(3, format!("no relay runs on {}", folder.display())),
            Some(Told::LookedAgain { reloaded: Reloaded { problems, waiting, mistaken } }) => {
                if !waiting.is_empty() {
                    tell(&format!(
                        "these settings have changed and take a restart to come into force: {}",
                        waiting.join(", ")
                    ));
                }
                if !problems.is_empty() {
                    // As check-config has it: a mistake in the file is wrong use, whoever finds it.
                    let code = if mistaken { 2 } else { 1 };
                    return failed(code, format!("{}; what was read before stays in force", problems.join("\n")));
                }
                tell("looked at, and nothing is wrong");
                Ok(())
            }
            Some(Told::No { why }) => failed(3, why),
            Some(_) => failed(3, "the running relay is of another version; restart it".into()),
        }
    }

    /// The folder that the flag names, or else the settings, as `serve` reads them: what else is wrong with those the running relay says.
    fn folder(self) -> Result<Data, Failure> {
        match (self.data, self.config) {
            (Some(data), _) => Ok(Data { data }),
            (None, Some(config)) => {
                let nameless = format!(
                    "{} names no folder: give --data DIR, HEALTHIE_RELAY_DATA, or data = 'DIR' in that file",
                    config.display()
                );
                let line: [OsString; 4] = ["healthie-relay".into(), "serve".into(), "--config".into(), config.into()];
                let settled = settle(&Cli::command(), line.into(), "serve").map_err(|e| match &e {
                    // What `serve` says then is how `serve` is used.
                    SettingsError::Arguments { error, .. } if misses_folder(error) => Failure::usage(nameless),
                    _ => e.into(),
                })?;
                match Cli::from_arg_matches(&settled.matches).map_err(SettingsError::from)?.command {
                    Command::Serve(serve) => Ok(Data { data: serve.folder() }),
                    _ => Err(Failure::usage("the settings are of another command")),
                }
            }
            // clap has one of them given.
            (None, None) => Err(Failure::usage("give --data or --config")),
        }
    }
}

/// Whether it is the folder that a command was not given.
fn misses_folder(error: &clap::Error) -> bool {
    error.kind() == clap::error::ErrorKind::MissingRequiredArgument && error.to_string().contains("--data <DIR>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(data: Option<&str>, config: &std::path::Path) -> Result<PathBuf, String> {
        let reload = Reload { data: data.map(PathBuf::from), config: Some(config.to_owned()) };
        reload.folder().map(|folder| folder.data).map_err(|failure| failure.message)
    }

    /// A file that went wrong is what a reload is to tell of: the relay must be found to say so.
    #[test]
    fn the_folder_is_found_by_the_settings_whatever_else_is_wrong_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("relay.toml");
        for (text, found) in [
            ("data = '/srv/relay'\nhttp = ['127.0.0.1:0']", Some("/srv/relay")),
            ("nmae = 'x'\ndata = '/srv/relay'\n[limits]\nmax-body = 0", Some("/srv/relay")),
            ("http = ['127.0.0.1:0']", None),
            ("data = ", None),
        ] {
            std::fs::write(&file, text).unwrap();
            let got = folder(None, &file);
            assert_eq!(got.as_deref().ok(), found.map(std::path::Path::new), "{text}: {got:?}");
            if text.starts_with("http") {
                assert!(got.is_err_and(|told| told.contains("relay.toml names no folder: give --data DIR")));
            }
        }
        assert_eq!(folder(Some("/elsewhere"), &file).unwrap(), PathBuf::from("/elsewhere"));
    }
}
