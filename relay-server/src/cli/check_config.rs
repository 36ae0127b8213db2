//! `healthie-relay check-config`

use std::ffi::OsString;

use clap::{Args, CommandFactory as _};

use super::resolve::{Resolved, resolve, told};
use super::serve::Serve;
use super::{Cli, Failure, print, tell};
use crate::checkup::{Look, Weight};
use crate::settings::{Settled, example};

/// What the example begins with.
const HEAD: &str = "Settings of healthie-relay. Every flag of `healthie-relay serve` is a key here; a flag or a variable of the environment goes before \
the file. Lengths of time are written with their unit, like 30s, 2m, 72h, 3d, sizes like 64KiB, 1GiB. `healthie-relay check-config --config FILE` says what is wrong with \
it and what is in force. What is a comment here is at its default, or not set.";

/// Said after mistakes in the file: what goes together can only be looked at where there are values.
pub(super) const LATER: &str =
    "look: whether these settings go together with the others is looked at once their values can be read";

#[derive(Args)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    pub(super) serve: Serve,
    /// Print JSON: the settings in force and what was found
    #[arg(long)]
    json: bool,
    /// Print a settings file that shows every setting, and check nothing
    #[arg(long, exclusive = true)]
    example: bool,
}

/// The text of the documented settings file.
pub(super) fn example_file() -> String {
    example(&Cli::command(), "serve", HEAD, &[("data", "\"/var/lib/healthie-relay\"")])
}

/// Whether that is what is wanted, and nothing else: beside other arguments clap says that it stands alone.
pub(super) fn asks_for_the_example(arguments: &[OsString]) -> bool {
    matches!(arguments, [_, command, flag] if command == "check-config" && flag == "--example")
}

impl CheckConfig {
    pub(super) fn run(self, settled: &Settled) -> Result<(), Failure> {
        let Resolved { found, shown, .. } = resolve(self.serve, settled, Look::Everything);
        let wrong = found.iter().filter(|f| f.weight == Weight::Wrong).count();
        if self.json {
            let all = serde_json::json!({ "ok": wrong == 0, "settings": shown, "found": found });
            print(&format!("{all}\n"));
        } else {
            let widest = shown.iter().map(|s| s.setting.len()).max().unwrap_or(0);
            for one in shown.iter().filter(|s| s.from != "unset") {
                print(&format!("{:widest$}  {}  ({})\n", one.setting, one.values.join(", "), one.from));
            }
        }
        for finding in &found {
            let word = if finding.weight == Weight::Wrong { "wrong" } else { "look" };
            tell(&format!("{word}: {}", told(finding)));
        }
        if !settled.mistakes.is_empty() {
            tell(LATER);
        }
        if wrong > 0 {
            let code = if settled.mistakes.is_empty() { 1 } else { 2 };
            let things = if wrong == 1 { "thing is" } else { "things are" };
            return Err(Failure { code, message: format!("{wrong} {things} wrong; serve would not start so") });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_settings_file_shows_what_the_program_knows() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/relay.toml");
        let packaged = std::fs::read_to_string(path).unwrap();
        assert!(
            packaged == example_file(),
            "packaging/relay.toml is not what the settings are; write it anew by `healthie-relay check-config --example > packaging/relay.toml`"
        );
    }

    #[test]
    fn every_setting_has_a_variable_and_a_help() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for flag in serve.get_arguments() {
            let id = flag.get_id();
            assert!(flag.get_env().is_some(), "{id} has no variable");
            assert!(flag.get_help().is_some(), "{id} has no help");
        }
    }
}
