//! A settings file as it is written: keys and values with their places, in tables one deep. It knows TOML and no setting.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::place::Mistake;

/// The longest settings file, in bytes.
pub(crate) const LONGEST: u64 = 1 << 20;

/// One line of it: a key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The table it stands in; none before the first.
    pub(crate) table: Option<String>,
    /// The key.
    pub(crate) key: String,
    /// Where the key stands, in bytes.
    pub(crate) key_at: Range<usize>,
    /// The value.
    pub(crate) value: Value,
    /// Where the value stands, in bytes.
    pub(crate) value_at: Range<usize>,
}

/// What a key can be given. Numbers are texts here: what they mean is the flag's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text or a whole number.
    One(String),
    /// `true` or `false`.
    Bool(bool),
    /// A list of texts and numbers, each with its place in bytes.
    Many(Vec<(String, Range<usize>)>),
}

/// Reads the text of a file; `name` is how mistakes call it. With the settings comes everything that is none, as far as can be told without knowing them.
///
/// # Errors
/// It is no TOML, and nothing can be said about the rest.
pub(crate) fn read(name: &str, text: &str) -> Result<(Vec<Entry>, Vec<Mistake>), Mistake> {
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().unwrap_or(0..0);
        Mistake::at(name, text, &at, e.message().trim().to_owned())
    })?;
    let mut found = Found { name, text, entries: Vec::new(), mistakes: Vec::new() };
    for (key, value) in table.get_ref() {
        if let DeValue::Table(inner) = value.get_ref() {
            for (below, value) in inner {
                found.add(Some(key.get_ref()), below.get_ref(), below.span(), value.get_ref(), value.span());
            }
        } else {
            found.add(None, key.get_ref(), key.span(), value.get_ref(), value.span());
        }
    }
    // In the order of the file, so that mistakes are told from its top.
    found.entries.sort_by_key(|entry| entry.key_at.start);
    Ok((found.entries, found.mistakes))
}

struct Found<'a> {
    name: &'a str,
    text: &'a str,
    entries: Vec<Entry>,
    mistakes: Vec<Mistake>,
}

impl Found<'_> {
    fn add(
        &mut self,
        table: Option<&str>,
        key: &str,
        key_at: Range<usize>,
        value: &DeValue<'_>,
        value_at: Range<usize>,
    ) {
        let mut wrong = |at: &Range<usize>, what: &str| {
            self.mistakes.push(Mistake::at(self.name, self.text, at, format!("{key}: {what}")));
        };
        let value = match value {
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Array(list) => {
                let mut items = Vec::new();
                for item in list {
                    match one(item.get_ref()) {
                        Some(text) => items.push((text, item.span())),
                        None => wrong(&item.span(), "a list holds texts in quotes and whole numbers"),
                    }
                }
                Value::Many(items)
            }
            // Only here: what a list is made of has no use for such a number.
            DeValue::Float(number) => Value::One(number.as_str().replace('_', "")),
            other => match one(other) {
                Some(text) => Value::One(text),
                None => {
                    let what = format!(
                        "{} is no value for a setting; write a text in quotes, a number, true or false, or a list of texts",
                        kind(other)
                    );
                    return wrong(&value_at, &what);
                }
            },
        };
        self.entries.push(Entry { table: table.map(str::to_owned), key: key.to_owned(), key_at, value, value_at });
    }
}

fn one(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let (digits, radix) = (number.as_str().replace('_', ""), number.radix());
            // A flag takes decimal digits; hexadecimal ones are for whoever likes them.
            i128::from_str_radix(&digits, radix).ok().map(|n| n.to_string())
        }
        _ => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Datetime(_) => "a date or time",
        DeValue::Table(_) => "a table",
        _ => "this",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_come_with_their_places() {
        let text = "http = [\"[::]:80\", 'b']\n[acme]\nagree = true\nwait = 0x1e\npart = 0.2_5\n";
        let (entries, mistakes) = read("f", text).unwrap();
        assert_eq!(mistakes, []);
        let plain: Vec<_> = entries.iter().map(|e| (e.table.as_deref(), e.key.as_str(), &e.value)).collect();
        let many = |list: &[(&str, Range<usize>)]| {
            Value::Many(list.iter().map(|(t, at)| ((*t).to_owned(), at.clone())).collect())
        };
        assert_eq!(
            plain,
            [
                (None, "http", &many(&[("[::]:80", 8..17), ("b", 19..22)])),
                (Some("acme"), "agree", &Value::Bool(true)),
                (Some("acme"), "wait", &Value::One("30".to_owned())),
                (Some("acme"), "part", &Value::One("0.25".to_owned())),
            ]
        );
        assert_eq!(&text[entries[2].value_at.clone()], "0x1e");
    }

    #[test]
    fn what_is_no_setting_is_told_with_its_place() {
        let wrong = |text: &str| {
            let first = read("f", text).map_or_else(|mistake| mistake, |(_, mut mistakes)| mistakes.remove(0));
            (first.line, first.column, first.message)
        };
        let day = wrong("a = 2026-01-01");
        assert_eq!((1, 5), (day.0, day.1));
        assert!(day.2.contains("a date or time is no value"), "{}", day.2);
        assert!(wrong("[a.b.c]\nd = 1").2.contains("a table"));
        assert_eq!((2, 9), (wrong("\na = [1, 2.5]").0, wrong("\na = [1, 2.5]").1));
        let twice = wrong("a = 1\nb = 2\na = 3");
        assert_eq!((twice.0, twice.1), (3, 1), "{}", twice.2);
        assert_eq!(wrong("a = 1\nb = ").0, 2);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[a-c=\\[\\]\"'#.,\\n 0-9{}-]{0,80}|.{0,60}") {
            let mistakes = read("f", &text).map_or_else(|mistake| vec![mistake], |(_, mistakes)| mistakes);
            for mistake in mistakes {
                let _ = (mistake.to_string(), mistake.line());
            }
        }
    }
}
