//! Queries that were saved under a name: `@name` in a query stands for one.
//!
//! Owns the names, their form in a file, and putting them into a query. Where the files are is not known here. Pure.

use std::collections::BTreeMap;

use tunnel_delivery::Timestamp;

use super::{Query, QueryError};

/// The longest name, in bytes.
pub(super) const LONGEST_NAME: usize = 40;
/// The most that are kept.
pub(super) const MOST: usize = 200;

/// Saved queries by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved(BTreeMap<String, String>);

impl Saved {
    /// Reads a file of `name = "query"` lines, as [`Saved::to_text`] writes it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn from_text(text: &str) -> Result<Saved, String> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
        let mut saved = Saved::default();
        for (name, query) in table {
            let toml::Value::String(query) = query else {
                return Err(format!("the filter {name:?} is not a string"));
            };
            saved.insert(&name, &query)?;
        }
        Ok(saved)
    }

    /// As a file.
    pub fn to_text(&self) -> String {
        let mut out = String::from("# Filters of the inspector: @name in a filter stands for one.\n");
        for (name, query) in &self.0 {
            out.push_str(&format!("{name} = {}\n", toml::Value::String(query.clone())));
        }
        out
    }

    /// Saves a query; one of that name is replaced.
    ///
    /// # Errors
    /// A sentence that says why the name or the query cannot be.
    pub fn insert(&mut self, name: &str, query: &str) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!("{name:?} is no name: write letters a-z, digits, - and _, at most {LONGEST_NAME}"));
        }
        // Lengths of time are read against any moment alike.
        Query::read(query, Timestamp::from_micros(0)).map_err(|e| format!("the filter {name}: {e}"))?;
        if self.0.len() >= MOST && !self.0.contains_key(name) {
            return Err(format!("there are {MOST} saved filters already; remove one first"));
        }
        self.0.insert(name.to_owned(), query.to_owned());
        Ok(())
    }

    /// Forgets one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// The query of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, query)| (name.as_str(), query.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a query in which saved ones may stand. Gives it, and its text with these written out, which anybody understands.
    ///
    /// # Errors
    /// The first mistake and its place in `text`.
    pub fn read(&self, text: &str, now: Timestamp) -> Result<(Query, String), QueryError> {
        let plain = Query::read(text, now)?;
        let Some(written_out) = self.written_out(text)? else { return Ok((plain, text.to_owned())) };
        let query = Query::read(&written_out, now).map_err(|e| QueryError {
            at: 0..text.len(),
            why: format!("with the saved filters written out: {}", e.why),
        })?;
        Ok((query, written_out))
    }

    /// `None` where no saved query is named.
    fn written_out(&self, text: &str) -> Result<Option<String>, QueryError> {
        let mut out = String::with_capacity(text.len());
        let (mut quoted, mut escaped, mut found) = (false, false, false);
        let mut before = ' ';
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let word = &text[at..text[at..].find(char::is_whitespace).map_or(text.len(), |n| at + n)];
            let name = word.strip_prefix('@').filter(|name| is_name(name));
            let begins = before.is_whitespace() || (before == '-' && out.trim_end_matches('-').ends_with([' ', '\t']));
            if let (false, true, Some(name)) = (quoted, begins, name) {
                let place = at..at + word.len();
                let Some(query) = self.get(name) else {
                    let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
                    let there = match &names[..] {
                        [] => "none is saved".to_owned(),
                        names => format!("there are {}", names.join(", ")),
                    };
                    let why = format!("no filter is saved as {name}, {there}; to look for this text write \"@{name}\"");
                    return Err(QueryError { at: place, why });
                };
                if before == '-' {
                    let why = "a saved filter cannot be turned round; save the opposite".to_owned();
                    return Err(QueryError { at: place, why });
                }
                found = true;
                out.push_str(query);
                at += word.len();
                before = 'x';
                continue;
            }
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' if quoted => quoted = false,
                '"' => quoted = before.is_whitespace() || ['-', ':', '|'].contains(&before),
                _ => {}
            }
            out.push(c);
            before = c;
            at += c.len_utf8();
        }
        Ok(found.then_some(out))
    }
}

/// Whether this can be a name. What has other characters, such as `@example.com`, is text to be looked for.
fn is_name(name: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_763_714_000_000_000);

    fn saved() -> Saved {
        let mut saved = Saved::default();
        saved.insert("failing", "status:failed -event:goal.*").unwrap();
        saved.insert("sales", "type:BillingItem").unwrap();
        saved
    }

    #[test]
    fn a_name_stands_for_its_query() {
        let written_out = |text: &str| saved().read(text, NOW).unwrap().1;
        assert_eq!(written_out("@failing env:staging"), "status:failed -event:goal.* env:staging");
        assert_eq!(written_out("a @sales @failing"), "a type:BillingItem status:failed -event:goal.*");
        for same in ["\"@failing\"", "text:\"a @failing b\"", "ana@sales", "@example.com", "\"a \\\" @sales\""] {
            assert_eq!(written_out(same), same);
        }
        assert_eq!(saved().read("@sales", NOW).unwrap().0.terms.len(), 1);
    }

    #[test]
    fn a_mistake_is_shown_at_its_place() {
        for (text, at, said) in [
            ("env:staging @fail", 12..17, "there are failing, sales"),
            ("a -@sales", 3..9, "turned round"),
            ("@sales sig:vald", 11..15, "choose of"),
        ] {
            let e = saved().read(text, NOW).unwrap_err();
            assert_eq!(e.at, at, "{text}: {e}");
            assert!(e.why.contains(said), "{text}: {e}");
        }
        assert!(Saved::default().read("@a", NOW).unwrap_err().why.contains("none is saved"));
        for name in ["", "A", "a b", "é", &"x".repeat(41)] {
            assert!(Saved::default().insert(name, "").is_err(), "{name}");
        }
        assert!(Saved::default().insert("a", "sig:vald").is_err());
        assert!(Saved::from_text("a = 5").is_err() && Saved::from_text("[a]\nb = 1").is_err());
    }

    proptest! {
        #[test]
        fn a_file_goes_round(text in r#"(status:2xx|text:"[ -!#-~é]{0,8}"|is:pinned| ){0,3}"#) {
            let mut saved = saved();
            prop_assume!(saved.insert("new", &text).is_ok());
            prop_assert_eq!(Saved::from_text(&saved.to_text()).unwrap(), saved);
        }

        #[test]
        fn no_text_is_too_odd(text in r#"(-|@sales|@x|@|"|\\|text:|\||é| |a){0,12}"#) {
            match saved().read(&text, NOW) {
                Ok((query, written_out)) => prop_assert_eq!(Query::read(&written_out, NOW).unwrap(), query),
                Err(e) => prop_assert!(text.get(e.at.clone()).is_some(), "{:?} in {text:?}", e.at),
            }
        }
    }
}
