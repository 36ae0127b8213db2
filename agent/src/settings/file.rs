//! A settings file as a table of texts: what TOML it is, and which keys there are. Where it may say what is not decided here.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::keys::{KEYS, Key};
use super::{KeyBinding, Origin, SettingsError};

/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// In the file's order.
    pub(super) values: Vec<(&'static Key, Vec<String>)>,
    /// Of the table `[keys]`.
    pub(super) key_bindings: Vec<KeyBinding>,
    /// Of the table `[filters]`, by name.
    pub(super) filters: Vec<(String, String)>,
}

/// Reads a file; one that is not there says nothing.
pub(super) fn read(path: &Path) -> Result<Content, SettingsError> {
    let shown = path.display().to_string();
    let Some(text) = text(path)? else { return Ok(Content::default()) };
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
    let mut content = Content::default();
    for (name, value) in &table {
        let wrong = |why: String| SettingsError::Key { path: shown.clone(), why };
        match (name.as_str(), value) {
            ("keys", toml::Value::Table(keys)) => {
                for (action, keys) in keys {
                    let toml::Value::String(keys) = keys else {
                        return Err(wrong(format!("keys for {action:?} that are not a string like \"r ctrl-r\"")));
                    };
                    let origin = Origin::File(path.to_owned());
                    content.key_bindings.push(KeyBinding { action: action.clone(), keys: keys.clone(), origin });
                }
            }
            ("filters", toml::Value::Table(filters)) => {
                for (name, query) in filters {
                    let toml::Value::String(query) = query else {
                        return Err(wrong(format!(
                            "the filter {name:?}, which is not a string like \"status:failed\""
                        )));
                    };
                    content.filters.push((name.clone(), query.clone()));
                }
            }
            _ => {
                let key = KEYS.iter().find(|k| k.name == name);
                let key = key.ok_or_else(|| wrong(format!("the key {name:?}, which is not known")))?;
                let values = match value {
                    toml::Value::Array(items) if key.many => items.iter().map(plain).collect(),
                    one => plain(one).map(|v| vec![v]),
                };
                let values = values.ok_or_else(|| {
                    let form =
                        if key.many { "a string or a list of strings" } else { "a string, a number or true/false" };
                    wrong(format!("the key {name:?} with a value that is not {form}"))
                })?;
                content.values.push((key, values));
            }
        }
    }
    Ok(content)
}

/// A folder from elsewhere may hold a link to anything under the file's name: nothing but files is read, and not without end.
fn text(path: &Path) -> Result<Option<String>, SettingsError> {
    let failed = |why: String| SettingsError::File { path: path.display().to_string(), why };
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(failed("it is not a file".to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e.to_string())),
    }
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > FILE_MAX => Err(failed(format!("it is longer than {FILE_MAX} bytes"))),
        Ok(_) => Ok(Some(text)),
        Err(e) => Err(failed(e.to_string())),
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
