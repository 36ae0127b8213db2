//! A settings file as a list of texts with their lines: what TOML it is, and which keys there are. Where it may say what is not decided here.
//!
//! What is read is wiped where it is let go: a file may hold the token and the secrets, and what is private is not known before it is read.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::keys::{KEYS, Key};
use super::{KeyBinding, Origin, SettingsError, Texts};

/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// After so many mistakes no key is likened to those that are known any more, which takes its time.
const HINTS_MAX: usize = 64;

/// What a file says, in its order.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The settings.
    pub(super) values: Vec<Entry>,
    /// Of the table `[keys]`.
    pub(super) key_bindings: Vec<KeyBinding>,
    /// Of the table `[filters]`: name, filter, and where it stands.
    pub(super) filters: Vec<(String, String, Origin)>,
    /// What cannot be used of it.
    pub(super) mistakes: Vec<SettingsError>,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) values: Texts,
    pub(super) origin: Origin,
    /// The line of each value.
    pub(super) lines: Vec<usize>,
}

/// Reads a file; one that is not there says nothing.
pub(super) fn read(path: &Path) -> Content {
    let mut content = Content::default();
    match text(path) {
        Ok(None) => {}
        Ok(Some(text)) => content.take(path, &text),
        Err(mistake) => content.mistakes.push(mistake),
    }
    content
}

impl Content {
    fn take(&mut self, path: &Path, text: &str) {
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(e) => {
                // The parser's own way of showing it has the line itself, which may hold a secret.
                let why = match e.span() {
                    Some(span) => format!("line {}: {}", line(text, span.start), e.message()),
                    None => e.message().to_owned(),
                };
                return self.mistakes.push(SettingsError::File { path: path.display().to_string(), why });
            }
        };
        // Once for all: a file of very many values, each asked for its line, would take minutes.
        let ends: Vec<usize> = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
        let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
        let origin = |at: usize| Origin::File { path: path.to_owned(), line: line(at) };
        for (name, value) in in_order(table) {
            let (at, name) = (name.span().start, name.into_inner());
            match (&*name, value.into_inner()) {
                ("keys", DeValue::Table(keys)) => {
                    let wrong = |action: &str| format!("keys for {action:?} that are not a string like \"r ctrl-r\"");
                    let keys = self.named(keys, origin, wrong);
                    self.key_bindings.extend(keys.into_iter().map(|(action, keys, origin)| KeyBinding {
                        action,
                        keys,
                        origin,
                    }));
                }
                ("filters", DeValue::Table(filters)) => {
                    let wrong =
                        |name: &str| format!("the filter {name:?}, which is not a string like \"status:failed\"");
                    let filters = self.named(filters, origin, wrong);
                    self.filters.extend(filters);
                }
                ("keys" | "filters", _) => {
                    self.wrong(origin(at), format!("the key {name:?} with a value that is not a table, [{name}]"));
                }
                (_, value) => {
                    let origin = origin(at);
                    let Some(key) = KEYS.iter().find(|k| k.name == name) else {
                        let near =
                            Some(&name).filter(|_| self.mistakes.len() < HINTS_MAX).and_then(|name| nearest(name));
                        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                        self.wrong(origin, format!("the key {name:?}, which is not known{near}"));
                        continue;
                    };
                    match values(value, key.many, at) {
                        Some((values, places)) => {
                            let lines = places.into_iter().map(line).collect();
                            self.values.push(Entry { key, values, origin, lines });
                        }
                        None => {
                            let form = match key.many {
                                true => "a string or a list of strings",
                                false => "a string, a number or true/false",
                            };
                            self.wrong(origin, format!("the key {name:?} with a value that is not {form}"));
                        }
                    }
                }
            }
        }
    }

    /// A table of texts with names of the user's own, each with its place; `otherwise` says what stands there that is no text.
    fn named(
        &mut self,
        table: DeTable<'_>,
        origin: impl Fn(usize) -> Origin,
        otherwise: impl Fn(&str) -> String,
    ) -> Vec<(String, String, Origin)> {
        let mut found = Vec::new();
        for (name, value) in in_order(table) {
            let (origin, name) = (origin(name.span().start), name.into_inner());
            match value.into_inner() {
                DeValue::String(text) => found.push((name.into_owned(), text.into_owned(), origin)),
                _ => self.wrong(origin, otherwise(&name)),
            }
        }
        found
    }

    fn wrong(&mut self, origin: Origin, why: String) {
        self.mistakes.push(SettingsError::Key { origin, why });
    }
}

/// As the file has them: a table of the library's is sorted by name.
fn in_order<'a>(table: DeTable<'a>) -> Vec<(toml::Spanned<std::borrow::Cow<'a, str>>, toml::Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// The line of a place in bytes, from 1.
fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// A folder from elsewhere may hold a link to anything under the file's name: nothing but files is read, and not without end.
fn text(path: &Path) -> Result<Option<Zeroizing<String>>, SettingsError> {
    let failed = |why: String| SettingsError::File { path: path.display().to_string(), why };
    let len = match path.metadata() {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err(failed("it is not a file".to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e.to_string())),
    };
    // Read into a buffer that need not grow: one that moved would leave a copy behind.
    let room = len.min(FILE_MAX).saturating_add(64);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(room).unwrap_or_default()));
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > FILE_MAX => Err(failed(format!("it is longer than {FILE_MAX} bytes"))),
        Ok(_) => Ok(Some(text)),
        Err(e) => Err(failed(e.to_string())),
    }
}

/// The key that is most like a name that is none's, if one is like it at all. Flags have `-` where keys have `_`, so that is no difference.
fn nearest(name: &str) -> Option<&'static str> {
    // A longer one is no slip, and comparing takes as long as both.
    if name.len() > 40 {
        return None;
    }
    let written = name.to_lowercase().replace('-', "_");
    let known = KEYS.iter().map(|key| key.name).chain(["keys", "filters"]);
    let distances = known.map(|known| (strsim::damerau_levenshtein(&written, known), known));
    let (distance, near) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= written.chars().count().max(3)).then_some(near)
}

/// The texts of a value and the place of each in the file, `at` for the first of one that is no list; nothing where it is of another kind.
fn values(value: DeValue<'_>, many: bool, at: usize) -> Option<(Texts, Vec<usize>)> {
    let (mut texts, mut places) = (Texts::default(), Vec::new());
    match value {
        DeValue::Array(items) if many => {
            for item in items {
                places.push(item.span().start);
                texts.push(plain(item.into_inner())?);
            }
        }
        one => {
            places.push(at);
            texts.push(plain(one)?);
        }
    }
    Some((texts, places))
}

fn plain(value: DeValue<'_>) -> Option<String> {
    match value {
        // One with escapes was put together anew, and is taken over as it is; any other is copied from the file's text.
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}
