//! Arguments that several commands share, and settings made of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tunnel_archive::Keep;

use super::{Context, Failure, inspect};
use crate::control::Local;
use crate::dial::Trust;
use crate::exec::Exec;
use crate::forward::{HostHeader, Routes};
use crate::policy::Policy;
use crate::query::Saved;
use crate::retry::{self, Retry};
use crate::saved_filters;
use crate::settings::{
    Flags, KEEP_AGE, KEEP_BYTES, Moment, Settings, SettingsError, parse_age, parse_bytes, parse_count, parse_span,
};
use crate::system_keyring;

/// Where everything is kept.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// The folder that deliveries are kept in
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// A file with the key that the store is encrypted with, which only you can read; HEALTHIE_TUNNEL_STORE_KEY is the key itself
    #[arg(long, value_name = "FILE")]
    pub(crate) store_key_file: Option<String>,
    /// A command that prints that key, such as `pass show healthie-tunnel`
    #[arg(long, value_name = "COMMAND")]
    pub(crate) store_key_command: Option<String>,
    /// Take that key from the system's keyring, where `store new-key --keyring` has put it; NAME tells several apart
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = system_keyring::STANDARD, value_parser = system_keyring::name)]
    pub(crate) store_key_keyring: Option<String>,
}

/// What signatures are checked and made with.
#[derive(Debug, Args)]
pub(crate) struct Secrets {
    /// The webhook's signing secret; may be repeated. @FILE reads it from a file, HEALTHIE_WEBHOOK_SECRET sets it too
    #[arg(long = "secret", value_name = "SECRET", hide_env_values = true)]
    pub(crate) secrets: Vec<String>,
}

/// Flags, gathered as pairs of key and value.
#[derive(Default)]
pub(crate) struct Gather(Flags);

impl Gather {
    pub(crate) fn one(mut self, key: &'static str, value: &Option<String>) -> Gather {
        self.0.extend(value.iter().map(|v| (key, v.clone())));
        self
    }

    pub(crate) fn data(self, data: &Data) -> Gather {
        self.one("data", &data.data)
            .one("store_key_file", &data.store_key_file)
            .one("store_key_command", &data.store_key_command)
            .one("store_key_keyring", &data.store_key_keyring)
    }

    pub(crate) fn many(mut self, key: &'static str, values: &[String]) -> Gather {
        self.0.extend(values.iter().map(|v| (key, v.clone())));
        self
    }

    pub(crate) fn switch(mut self, key: &'static str, on: bool) -> Gather {
        self.0.extend(on.then(|| (key, "true".to_owned())));
        self
    }

    /// For whoever tells of everything that is wrong: what can be used of the files, and what cannot.
    pub(crate) fn load_with_mistakes(self, context: &Context) -> Result<(Settings, Vec<SettingsError>), Failure> {
        Ok(Settings::load_with_mistakes(self.0, context.environment.clone(), &current_folder()?))
    }

    pub(crate) fn load(self, context: &Context) -> Result<Settings, Failure> {
        let settings = Settings::load(self.0, context.environment.clone(), &current_folder()?)?;
        // Whatever the command is: a slip in the file is not to wait for the day on which the inspector is opened.
        inspect::keys(&settings)?;
        saved_filters::all(&settings, &Saved::default()).map_err(Failure::usage)?;
        Ok(settings)
    }
}

/// Where the project's file is looked for.
fn current_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|e| Failure::unreachable(format!("there is no current folder: {e}")))
}

/// What is forwarded and how.
pub(crate) fn policy(settings: &Settings) -> Result<Policy, Failure> {
    let standard = Policy::default();
    let limit = settings.read("timeout", parse_span)?.filter(|d| !d.is_zero()).unwrap_or(standard.limit);
    Ok(Policy {
        routes: Routes {
            routes: settings
                .read_all("forward", |text| text.parse().map_err(|e: crate::forward::TargetError| e.to_string()))?,
            default: settings.value("target")?,
        },
        events: settings.read_all("events", |text| Ok(text.to_owned()))?,
        skip_invalid: settings.is_set("skip_invalid")?,
        no_forward: settings.is_set("no_forward")?,
        forward_as: settings.value("forward_as")?,
        limit,
        marks: settings.is_set_or("tunnel_headers", standard.marks)?,
        retry: retry(settings)?,
        exec: settings
            .value::<String>("exec")?
            .filter(|c| !c.trim().is_empty())
            .map(|command| Exec { command: command.into(), limit }),
    })
}

/// Whether and when what could not be handed over is tried again.
fn retry(settings: &Settings) -> Result<Option<Retry>, Failure> {
    let backoff = settings.value("retry_backoff")?.unwrap_or_default();
    let on = settings.value("retry_on")?.unwrap_or_default();
    let times = settings.read("retry", times)?.unwrap_or(0);
    Ok((times > 0).then_some(Retry { times, backoff, on }))
}

/// How often it is tried again.
pub(super) fn times(text: &str) -> Result<u32, String> {
    let times = text.parse().ok().filter(|n| *n <= retry::MOST);
    times.ok_or_else(|| format!("{text:?} is not a number from 0 to {}", retry::MOST))
}

/// How much is kept.
pub(crate) fn keep(settings: &Settings) -> Result<Keep, Failure> {
    Ok(Keep {
        age: settings.read("keep", parse_age)?.unwrap_or(Some(KEEP_AGE)),
        count: settings.read("keep_count", parse_count)?.unwrap_or(None),
        bytes: settings.read("keep_size", parse_bytes)?.unwrap_or(Some(KEEP_BYTES)),
    })
}

/// Whom to trust.
pub(crate) fn trust(settings: &Settings) -> Result<Trust, Failure> {
    Ok(settings.read("ca", certificates)?.unwrap_or_default())
}

/// Those of a file.
pub(super) fn certificates(path: &str) -> Result<Trust, String> {
    Trust::with_file(Path::new(path)).map_err(|e| e.to_string())
}

/// What a command needs to work on the store.
pub(crate) fn local(settings: &Settings) -> Result<Local, Failure> {
    Ok(Local {
        data: settings.data()?,
        store_key: settings.store_key()?,
        secrets: settings.secrets()?,
        policy: policy(settings)?,
        host_header: settings.value::<HostHeader>("host_header")?.unwrap_or_default(),
        trust: trust(settings)?,
    })
}

/// For clap: a length of time.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    parse_span(text)
}

/// For clap: a number that is not 0.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("0 would do nothing; write 1 or more".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("write a whole number, 1 or more".to_owned()),
    }
}

/// For clap: a point in time.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    text.parse()
}

/// The texts of the secrets in the settings, for an agent that does not know them.
pub(crate) fn secret_texts(settings: &Settings) -> Result<Vec<String>, Failure> {
    Ok(settings.secret_texts()?)
}

/// Now, as the commands' filters have it.
pub(crate) fn now() -> tunnel_delivery::Timestamp {
    tunnel_delivery::Timestamp::from_system(std::time::SystemTime::now())
}
