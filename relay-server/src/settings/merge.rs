//! Puts a settings file below the command line: what neither a flag nor the environment gives is handed to clap as if it had been written as a
//! flag. Lists are not joined: one that a flag gives stands for the file's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{self, Entry, Value};
use super::keys::{Key, Keys};
use super::place::{Mistake, position};

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The command line is wrong, or asks for help; and which lines of the file have to do with it.
    #[error("{error}{}", told(lines))]
    Arguments {
        /// What clap says.
        error: clap::Error,
        /// `file:line: key` of what it mentions.
        lines: Vec<String>,
    },
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}: {problem}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The settings file has mistakes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<Mistake>),
}

fn told(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\n{}", whence(lines)) }
}

/// Where what clap complains of stands, if that is not the command line.
pub(crate) fn whence(lines: &[String]) -> String {
    let from = if lines.iter().all(|line| line.starts_with(VARIABLE)) { "environment" } else { "settings file" };
    format!("from the {from}:\n  {}", lines.join("\n  "))
}

/// How a variable is named among what is meant.
const VARIABLE: &str = "variable ";

/// The variable that a value comes from that clap refuses: defaults are right and a file's values were tried before, so what no flag gave it did.
fn variable(command: &Command, of: &str, error: &clap::Error, arguments: &[OsString]) -> Vec<String> {
    let flags = command.find_subcommand(of).into_iter().flat_map(Command::get_arguments);
    let meant = flags.filter(|arg| refusal(error, arg).is_some()).find_map(|arg| {
        let flag = format!("--{}", arg.get_long()?);
        let given = arguments.iter().any(|a| a.to_string_lossy().split('=').next() == Some(&flag));
        let name = arg.get_env().filter(|_| !given)?;
        Some(format!("{VARIABLE}{}", name.to_string_lossy()))
    });
    meant.into_iter().collect()
}

impl SettingsError {
    /// The same in one line, for a log.
    pub(crate) fn line(&self) -> String {
        match self {
            SettingsError::Wrong(mistakes) => mistakes.iter().map(Mistake::line).collect::<Vec<_>>().join("; "),
            other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

impl From<clap::Error> for SettingsError {
    fn from(error: clap::Error) -> SettingsError {
        SettingsError::Arguments { error, lines: Vec::new() }
    }
}

/// What is in force, and which of it came from the file.
pub(crate) struct Settled {
    /// As clap gives it.
    pub(crate) matches: ArgMatches,
    /// The settings file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The lines of the file by the argument's id.
    pub(crate) lines: BTreeMap<String, usize>,
    /// What of the file could not be taken; all else is as if that were not in it. Nothing may be done with settings that have mistakes but to look for more.
    pub(crate) mistakes: Vec<Mistake>,
    /// The flags, without their dashes, that those mistakes keep from being set.
    pub(crate) mistaken: Vec<String>,
}

/// Reads the command line and, where its command takes `--config` and one is named, the settings file. The keys are the flags of the command
/// named `of`.
///
/// # Errors
/// Everything that is wrong with either, with its place, where it keeps the rest from being read; other mistakes are in what is given back.
pub(crate) fn settle(command: &Command, arguments: Vec<OsString>, of: &str) -> Result<Settled, SettingsError> {
    // What is required may be in the file, so the first look overlooks what is wrong; the second does not.
    let first = command.clone().ignore_errors(true).try_get_matches_from(&arguments)?;
    let named = first.subcommand().and_then(|(name, matches)| {
        let path = matches.try_get_one::<PathBuf>("config").ok().flatten()?;
        Some((name, matches, path.clone()))
    });
    let Some((name, matches, path)) = named else {
        let matches = command.clone().try_get_matches_from(&arguments);
        let matches = matches
            .map_err(|error| SettingsError::Arguments { lines: variable(command, of, &error, &arguments), error })?;
        return Ok(Settled { matches, file: None, lines: BTreeMap::new(), mistakes: Vec::new(), mistaken: Vec::new() });
    };
    let text = text(&path)?;
    let shown = path.display().to_string();
    let keys = Keys::of(command, of);
    let (entries, mistakes) = file::read(&shown, &text).map_err(|mistake| {
        SettingsError::Wrong(vec![if keys.is_secret_line(&text, mistake.line) { mistake.unseen() } else { mistake }])
    })?;
    let mut reader = Reader { command, of, file: &shown, text: &text, mistakes, mistaken: Vec::new() };
    let mut set: Vec<Set<'_, '_>> = Vec::new();
    for entry in &entries {
        let Some(key) = reader.key(&keys, entry) else { continue };
        if let Some((_, before, _)) = set.iter().find(|(other, ..)| other.id() == key.id()) {
            let line = position(&text, before.key_at.start).0;
            let message = format!("{} is set twice: in line {line} and here; keep one", key.name());
            reader.wrong(entry.key_at.clone(), message);
            continue;
        }
        if let Some(flags) = reader.flags(key, entry) {
            set.push((key, entry, flags));
        }
    }
    set.retain(|(key, ..)| {
        !matches!(matches.value_source(key.id()), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    });
    reader.keep_apart(&mut set);
    let Reader { mut mistakes, mistaken, .. } = reader;
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    let mut all = arguments.clone();
    // Right behind the command's name: what follows it may end with `--`.
    let at = all.iter().skip(1).position(|a| a == name).map_or(all.len(), |at| at + 2);
    all.splice(at..at, set.iter().flat_map(|(.., flags)| flags.clone()));
    let lines: BTreeMap<_, _> =
        set.iter().map(|(key, entry, _)| (key.id().to_owned(), position(&text, entry.key_at.start).0)).collect();
    match command.clone().try_get_matches_from(all) {
        Ok(matches) => Ok(Settled { matches, file: Some(path), lines, mistakes, mistaken }),
        // It may be missing only because of these.
        Err(_) if !mistakes.is_empty() => Err(SettingsError::Wrong(mistakes)),
        Err(error) => {
            let lines_of_variable = variable(command, of, &error, &arguments);
            if !lines_of_variable.is_empty() {
                return Err(SettingsError::Arguments { error, lines: lines_of_variable });
            }
            let said = error.to_string();
            let told = |said: &str| -> Vec<String> {
                let words: Vec<&str> = said.split([' ', '\'', '\n', '<', ',']).collect();
                set.iter()
                    .filter(|(key, ..)| words.iter().any(|word| word.strip_prefix("--") == Some(key.long())))
                    .map(|(key, ..)| format!("{shown}:{}: {}", lines[key.id()], key.name()))
                    .collect()
            };
            // Where something is missing, what it is missing for stands only in the usage.
            let lines = said.split_once("Usage:").map(|(before, _)| told(before)).filter(|lines| !lines.is_empty());
            Err(SettingsError::Arguments { lines: lines.unwrap_or_else(|| told(&said)), error })
        }
    }
}

fn text(path: &Path) -> Result<String, SettingsError> {
    use std::io::Read as _;
    let problem = |problem: String| SettingsError::Read { path: path.to_owned(), problem };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| problem(e.to_string()))?;
    let read = file.take(file::LONGEST + 1).read_to_string(&mut text).map_err(|e| problem(e.to_string()))?;
    if read as u64 > file::LONGEST {
        return Err(problem(format!("it is longer than {} bytes", file::LONGEST)));
    }
    Ok(text)
}

struct Reader<'a> {
    command: &'a Command,
    of: &'a str,
    file: &'a str,
    text: &'a str,
    mistakes: Vec<Mistake>,
    mistaken: Vec<String>,
}

/// A setting of the file, what it is set to, and that as flags.
type Set<'a, 'k> = (&'k Key<'a>, &'k Entry, Vec<OsString>);

impl Reader<'_> {
    /// Leaves out of what the file sets whatever excludes something before it, and tells both places: clap knows of no lines.
    fn keep_apart(&mut self, set: &mut Vec<Set<'_, '_>>) {
        let Some(of) = self.command.find_subcommand(self.of) else { return };
        let excludes =
            |one: &Arg, other: &Arg| of.get_arg_conflicts_with(one).iter().any(|a| a.get_id() == other.get_id());
        let mut at = 0;
        while at < set.len() {
            let (key, entry, _) = &set[at];
            let before = set[..at].iter().find(|(b, ..)| excludes(b.arg, key.arg) || excludes(key.arg, b.arg));
            let Some((other, first, _)) = before else {
                at += 1;
                continue;
            };
            let line = position(self.text, first.key_at.start).0;
            let message = format!("{} (line {line}) and {} exclude each other; keep one", other.name(), key.name());
            let mistake = Mistake::at(self.file, self.text, &entry.key_at, message);
            self.mistakes.push(mistake.only_what_is_meant());
            self.mistaken.extend([key.long().to_owned(), other.long().to_owned()]);
            set.remove(at);
        }
    }

    fn wrong(&mut self, at: std::ops::Range<usize>, message: impl Into<String>) {
        self.mistakes.push(Mistake::at(self.file, self.text, &at, message));
    }

    fn key<'k, 'c>(&mut self, keys: &'k Keys<'c>, entry: &Entry) -> Option<&'k Key<'c>> {
        match keys.find(entry.table.as_deref(), &entry.key) {
            Ok(found) => Some(found),
            Err(message) => {
                let mistake = Mistake::at(self.file, self.text, &entry.key_at, message);
                self.mistakes.push(mistake.only_what_is_meant());
                None
            }
        }
    }

    /// The value as flags of the command line; nothing if it is no value for this key.
    fn flags(&mut self, key: &Key<'_>, entry: &Entry) -> Option<Vec<OsString>> {
        let flags = self.values(key, entry);
        if flags.is_none() {
            self.mistaken.push(key.long().to_owned());
        }
        flags
    }

    fn values(&mut self, key: &Key<'_>, entry: &Entry) -> Option<Vec<OsString>> {
        let flag = format!("--{}", key.long());
        let before = self.mistakes.len();
        let flags = match (&entry.value, key.arg.get_action()) {
            (Value::Bool(on), ArgAction::SetTrue) => on.then(|| flag.into()).into_iter().collect(),
            (_, ArgAction::SetTrue) => {
                self.wrong(entry.value_at.clone(), format!("{} is true or false, without quotes", key.name()));
                return None;
            }
            // A flag that takes `true` or `false` as its value.
            (Value::Bool(on), _) => self.value(key, &on.to_string(), &entry.value_at).into_iter().collect(),
            (Value::One(text), _) => self.value(key, text, &entry.value_at).into_iter().collect(),
            (Value::Many(list), ArgAction::Append) => {
                list.iter().filter_map(|(text, at)| self.value(key, text, at)).collect()
            }
            (Value::Many(_), _) => {
                self.wrong(entry.value_at.clone(), format!("{} takes one value, not a list", key.name()));
                return None;
            }
        };
        (self.mistakes.len() == before).then_some(flags)
    }

    /// One value, if the flag's own parser takes it.
    fn value(&mut self, key: &Key<'_>, text: &str, at: &std::ops::Range<usize>) -> Option<OsString> {
        let flag: OsString = format!("--{}={text}", key.long()).into();
        let alone = [self.command.get_name().into(), self.of.into(), flag.clone()];
        let problem = match self.command.clone().try_get_matches_from(alone) {
            Ok(_) => None,
            Err(error) => refusal(&error, key.arg),
        };
        let Some(problem) = problem else { return Some(flag) };
        let secret = key.arg.is_hide_env_values_set();
        let value = if secret { "this".to_owned() } else { format!("{text:?}") };
        let mistake =
            Mistake::at(self.file, self.text, at, format!("{value} is no value for {}: {problem}", key.name()));
        self.mistakes.push(if secret { mistake.unseen() } else { mistake });
        None
    }
}

/// What clap has against this argument's value; nothing where it has something against something else, which may be set elsewhere.
fn refusal(error: &clap::Error, arg: &Arg) -> Option<String> {
    let meant = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(shown)) => arg.get_long().is_some_and(|long| {
            shown.split([' ', '=']).next().is_some_and(|flag| flag.strip_prefix("--") == Some(long))
        }),
        _ => false,
    };
    if !meant {
        return None;
    }
    match error.kind() {
        ErrorKind::ValueValidation => {
            Some(std::error::Error::source(error).map_or_else(|| "it cannot be read".to_owned(), ToString::to_string))
        }
        ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(valid)) if !valid.is_empty() => Some(format!("write {}", valid.join(", "))),
            _ => Some("it is empty".to_owned()),
        },
        ErrorKind::InvalidUtf8 | ErrorKind::TooManyValues | ErrorKind::TooFewValues => {
            Some("it cannot be read".to_owned())
        }
        _ => None,
    }
}
