//! The command line of `healthie-relay`. Each command has a file; none has logic of its own.
//!
//! Exit codes: 0 done, 1 a negative answer (no such tunnel, it exists already), 2 wrong use, 3 something that is needed cannot be reached.

mod audit;
mod backup;
mod bereft;
mod certificates;
mod changed;
mod check_config;
mod consent;
mod data_key;
mod door;
mod ending;
mod limits;
mod manual;
mod reload;
mod resolve;
mod restore;
mod serve;
mod shape;
mod spool;
mod supervisor;
mod telling;
mod token;
mod tunnel;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::checkup::key_advice;
use crate::control::AskError;
use crate::registry::{Registry, RegistryError};
use crate::relay::StartError;
use crate::settings::paths::path;
use crate::settings::{SettingsError, settle, whence};
use tunnel_spool::SpoolError;

/// Takes webhook deliveries from the internet and sends them to the machines of developers.
#[derive(Parser)]
#[command(name = "healthie-relay", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Listen for deliveries and agents
    Serve(Box<serve::Serve>),
    /// Add, list and remove tunnels
    #[command(subcommand)]
    Tunnel(tunnel::Tunnel),
    /// Create, list, grant, rotate and revoke the tokens that agents prove themselves with
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Change the key that what waits for its agents is encrypted with
    #[command(subcommand)]
    Spool(spool::Spool),
    /// Show, reload and renew the certificates of a running relay
    #[command(subcommand)]
    Certificates(certificates::Certificates),
    /// Show who did what: tunnels, tokens, devices and certificates changed, agents come and gone
    Audit(audit::AuditCommand),
    /// Say what is wrong with the settings, what is in force, and where each value came from
    CheckConfig(Box<check_config::CheckConfig>),
    /// Have a running relay look at certificates, tunnels, tokens and its settings file now, as SIGHUP does
    Reload(reload::Reload),
    /// Copy everything in the data folder to a file, while the relay runs
    Backup(backup::Backup),
    /// Make a data folder from a backup
    Restore(restore::Restore),
    /// Print completions for a shell
    Completions(manual::Completions),
    /// Print the manual page
    Man(manual::Man),
}

/// The folder that everything is kept in.
#[derive(Args)]
struct Data {
    /// Folder that holds tunnels, tokens and the spool; made if it is not there
    #[arg(long, value_name = "DIR", value_parser = path(), env = "HEALTHIE_RELAY_DATA")]
    data: PathBuf,
}

impl Data {
    /// The registry of a folder that is there: one that is mistyped must not be made.
    fn registry(&self) -> Result<Registry, Failure> {
        self.there()?;
        Ok(Registry::open(&self.data)?)
    }

    fn there(&self) -> Result<(), Failure> {
        if self.data.is_dir() {
            return Ok(());
        }
        let message = format!(
            "there is no folder {}: `tunnel add` and `serve` make one, or is --data mistyped?",
            self.data.display()
        );
        Err(Failure { code: 2, message })
    }
}

/// Why a command failed, as it is told and as the exit code says it.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }
}

impl From<RegistryError> for Failure {
    fn from(e: RegistryError) -> Failure {
        let code = match e {
            RegistryError::TunnelExists(_)
            | RegistryError::NoTunnel(_)
            | RegistryError::NoToken(_)
            | RegistryError::NotGranted { .. }
            | RegistryError::Reserved { .. }
            | RegistryError::Expired(_) => 1,
            _ => 3,
        };
        Failure { code, message: e.to_string() }
    }
}

impl From<SettingsError> for Failure {
    fn from(e: SettingsError) -> Failure {
        match e {
            SettingsError::Arguments { error, lines } => {
                // In colour where there is any, and help to where it belongs.
                let _ = error.print();
                if !lines.is_empty() {
                    tell(&format!("\n{}", whence(&lines)));
                }
                Failure { code: u8::try_from(error.exit_code()).unwrap_or(2), message: String::new() }
            }
            SettingsError::Wrong(_) => {
                Failure::usage(format!("the settings cannot be used\n{e}\n{}", check_config::LATER))
            }
            other => Failure::usage(format!("the settings cannot be used\n{other}")),
        }
    }
}

impl From<AskError> for Failure {
    fn from(e: AskError) -> Failure {
        match e {
            AskError::Spool(e) => e.into(),
            other => Failure { code: 3, message: other.to_string() },
        }
    }
}

impl From<SpoolError> for Failure {
    fn from(e: SpoolError) -> Failure {
        match &e {
            SpoolError::Key(key) => Failure::usage(format!("{e}{}", key_advice(key))),
            _ => Failure { code: 3, message: e.to_string() },
        }
    }
}

impl From<StartError> for Failure {
    fn from(e: StartError) -> Failure {
        match e {
            StartError::Spool(e) => e.into(),
            StartError::Config(_) => Failure::usage(e.to_string()),
            other => Failure { code: 3, message: other.to_string() },
        }
    }
}

/// Prints to stdout. A reader that went away early (`| head`) is not an error.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Tells on stderr what is no result.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Runs the program with the process's arguments.
pub fn run() -> ExitCode {
    // Tokens, keys and deliveries are in memory from here on.
    tunnel_vault::no_core_dumps(tunnel_vault::Dumps::NoneAtAll);
    match done(std::env::args_os().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                tell(&format!("healthie-relay: {}", failure.message));
            }
            ExitCode::from(failure.code)
        }
    }
}

fn done(arguments: Vec<OsString>) -> Result<(), Failure> {
    // Before anything is read: what is shown is the same whatever the environment says.
    if check_config::asks_for_the_example(&arguments) {
        print(&check_config::example_file());
        return Ok(());
    }
    let settled = settle(&Cli::command(), arguments.clone(), "serve")?;
    let cli = Cli::from_arg_matches(&settled.matches).map_err(SettingsError::from)?;
    match cli.command {
        Command::Serve(serve) => serve.run(&settled, arguments),
        Command::Tunnel(tunnel) => tunnel.run(),
        Command::Token(token) => token.run(),
        Command::Spool(spool) => spool.run(),
        Command::Certificates(certificates) => certificates.run(),
        Command::Audit(audit) => audit.run(),
        Command::CheckConfig(check) => check.run(&settled),
        Command::Reload(reload) => reload.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Completions(completions) => {
            completions.run();
            Ok(())
        }
        Command::Man(man) => man.run(),
    }
}
