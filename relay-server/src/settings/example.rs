//! A settings file that shows every setting with its help and default, made from the definitions.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::keys::{Key, Keys};

/// The longest line of a comment, in characters.
const WIDE: usize = 118;

/// The text of the file. Everything in it is a comment, but the keys in `set`, which have the value given there, as TOML.
pub(crate) fn example(command: &Command, of: &str, head: &str, set: &[(&str, &str)]) -> String {
    let keys = Keys::of(command, of);
    let mut text = String::new();
    comment(&mut text, head);
    for table in keys.tables() {
        let of_table: Vec<&Key<'_>> =
            keys.iter().filter(|key| key.table() == table && !key.arg.is_hide_set()).collect();
        if of_table.is_empty() {
            continue;
        }
        if let Some(table) = table {
            let _ = write!(text, "\n[{table}]\n");
        }
        for key in of_table {
            text.push('\n');
            comment(&mut text, &described(key.arg));
            let value = set.iter().find(|(name, _)| *name == key.name()).map(|(_, value)| *value);
            let _ = match value {
                Some(value) => writeln!(text, "{} = {value}", key.short()),
                None => writeln!(text, "# {} = {}", key.short(), value_of(key.arg)),
            };
        }
    }
    text
}

fn described(arg: &Arg) -> String {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|v| !v.is_hide_set() && !matches!(arg.get_action(), ArgAction::SetTrue))
        .map(|v| match v.get_help() {
            Some(help) => format!("{:?}: {help}", v.get_name()),
            None => format!("{:?}", v.get_name()),
        })
        .collect();
    if !choices.is_empty() {
        let _ = write!(help, ". {}", choices.join("; "));
    }
    let _ = write!(help, " (--{}", arg.get_long().unwrap_or_default());
    if let Some(env) = arg.get_env() {
        let _ = write!(help, ", {}", env.to_string_lossy());
    }
    help.push(')');
    help
}

/// The default, or what kind of thing is meant.
fn value_of(arg: &Arg) -> String {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return "false".to_owned();
    }
    let written = |text: &str| {
        let number = !text.is_empty() && text.len() < 19 && text.bytes().all(|b| b.is_ascii_digit());
        if number { text.to_owned() } else { toml::Value::from(text).to_string() }
    };
    let defaults: Vec<String> = arg.get_default_values().iter().map(|v| written(&v.to_string_lossy())).collect();
    let values = if defaults.is_empty() {
        let names = arg.get_value_names().unwrap_or_default();
        vec![toml::Value::from(names.first().map_or("VALUE", |name| name.as_str())).to_string()]
    } else {
        defaults
    };
    if matches!(arg.get_action(), ArgAction::Append) { format!("[{}]", values.join(", ")) } else { values.join(" ") }
}

/// Adds a comment, broken into lines.
fn comment(text: &mut String, about: &str) {
    for paragraph in about.lines() {
        let mut line = String::from("#");
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDE {
                text.push_str(&line);
                text.push('\n');
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(&line);
        text.push('\n');
    }
}
