//! Reading a query: from text to terms, or to a mistake with its place.

use std::ops::Range;

use tunnel_delivery::{AnswerClass, Environment, SignatureStatus, Timestamp};

use super::{LONGEST, MOST_WORDS, Mark, Query, QueryError, Status, Term, WORDS, What};
use crate::settings::Moment;

/// A word of the text: its value and where that is.
struct Value {
    text: String,
    at: Range<usize>,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    now: Timestamp,
}

impl Query {
    /// Reads a query. `now` is what lengths of time count from.
    ///
    /// # Errors
    /// The first mistake and where it is.
    pub fn read(text: &str, now: Timestamp) -> Result<Query, QueryError> {
        if text.len() > LONGEST {
            let beyond = text.floor_char_boundary(LONGEST)..text.len();
            return Err(QueryError { at: beyond, why: format!("a filter has at most {LONGEST} bytes") });
        }
        let mut reader = Reader { text, at: 0, now };
        let mut terms = Vec::new();
        while let Some(term) = reader.term()? {
            if terms.len() == MOST_WORDS {
                return Err(QueryError {
                    at: reader.at..text.len(),
                    why: format!("a filter has at most {MOST_WORDS} words"),
                });
            }
            terms.push(term);
        }
        Ok(Query { terms })
    }
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn term(&mut self) -> Result<Option<Term>, QueryError> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let start = self.at;
        if self.rest().is_empty() {
            return Ok(None);
        }
        if self.rest().starts_with('|') {
            return Err(between_words(start));
        }
        let mut negated = false;
        if let Some(after) = self.rest().strip_prefix('-') {
            if after.is_empty() || after.starts_with(char::is_whitespace) {
                return Err(QueryError {
                    at: start..start + 1,
                    why: "after - comes what is not wanted, such as -status:2xx; to look for a dash write \"-\"".into(),
                });
            }
            negated = true;
            self.at += 1;
        }
        let name_at = self.at;
        let name_len = self.rest().find(|c: char| c == ':' || c == '"' || c.is_whitespace());
        let named = name_len.filter(|len| self.rest()[*len..].starts_with(':'));
        let Some(len) = named else {
            let value = self.value(false)?;
            if value.text.is_empty() {
                return Err(QueryError { at: value.at, why: "there is nothing between the quotes".into() });
            }
            return Ok(Some(Term { negated, what: What::Text(value.text) }));
        };
        let name = self.rest()[..len].to_ascii_lowercase();
        if let Some(bar) = name.rfind('|').filter(|bar| is_word(&name[bar + 1..])) {
            return Err(between_words(name_at + bar));
        }
        let Some(word) = WORDS.iter().find(|w| w.name == name) else {
            let names: Vec<&str> = WORDS.iter().map(|w| w.name).collect();
            return Err(QueryError {
                at: name_at..name_at + len,
                why: format!(
                    "there is no {name:?}; choose of {}; to look for text with a colon quote it",
                    names.join(", ")
                ),
            });
        };
        self.at += len + 1;
        if let Some(bar) = another_condition(self.rest()) {
            return Err(between_words(self.at + bar));
        }
        let missing = QueryError { at: self.at..self.at, why: format!("write {}:{}", word.name, word.values) };
        let mut values = Vec::new();
        if word.name == "text" {
            values.push(self.value(false)?);
        } else {
            loop {
                values.push(self.value(true)?);
                if !self.rest().starts_with('|') {
                    break;
                }
                self.at += 1;
            }
        }
        if let Some(empty) = values.iter().find(|v| v.text.is_empty()) {
            if values.len() > 1 && empty.at.start > missing.at.start && empty.at.is_empty() {
                return Err(between_words(empty.at.start - 1));
            }
            return Err(QueryError { at: empty.at.clone(), ..missing });
        }
        Ok(Some(Term { negated, what: self.what(word.name, values)? }))
    }

    /// A value up to the next blank (or `|`), or within quotes, in which `\` takes the next character as it is.
    fn value(&mut self, alternatives: bool) -> Result<Value, QueryError> {
        let start = self.at;
        if !self.rest().starts_with('"') {
            let end = self.rest().find(|c: char| c.is_whitespace() || (alternatives && c == '|'));
            let text = self.rest()[..end.unwrap_or(self.rest().len())].to_owned();
            self.at += text.len();
            if !alternatives && text.ends_with('|') {
                return Err(between_words(self.at - 1));
            }
            return Ok(Value { text, at: start..self.at });
        }
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + i + 1;
                    return Ok(Value { text, at: start..self.at });
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err(QueryError { at: start..self.text.len(), why: "the quotes are not closed".into() })
    }

    fn what(&self, name: &str, values: Vec<Value>) -> Result<What, QueryError> {
        let texts = |values: Vec<Value>| values.into_iter().map(|v| v.text).collect();
        Ok(match name {
            "event" => What::Event(texts(values)),
            "type" => What::Type(texts(values)),
            "resource" => What::Resource(texts(values)),
            "status" => What::Status(status(&values)?),
            "sig" => What::Signature(each(&values, &SignatureStatus::ALL, |s| s.as_str())?),
            "env" => {
                let all = [Environment::Staging, Environment::Production, Environment::Unknown];
                What::Environment(each(&values, &all, |e| e.as_str())?)
            }
            "tunnel" => What::Tunnel(
                values
                    .iter()
                    .map(|v| v.text.parse().map_err(|e| QueryError { at: v.at.clone(), why: format!("{e}") }))
                    .collect::<Result<_, _>>()?,
            ),
            "since" => What::Since(self.moment(&values)?),
            "until" => What::Until(self.moment(&values)?),
            "is" => {
                What::Is(each(&values, &[Mark::Pinned, Mark::Repeat, Mark::Repeated, Mark::Retried], |m| m.as_str())?)
            }
            // "text": `WORDS` has no other.
            _ => What::Text(values.into_iter().map(|v| v.text).collect()),
        })
    }

    fn moment(&self, values: &[Value]) -> Result<Timestamp, QueryError> {
        let [one] = values else {
            let at = values.get(1).map_or(0..0, |v| v.at.clone());
            return Err(QueryError { at, why: "one time is enough".into() });
        };
        let moment: Moment = one.text.parse().map_err(|why| QueryError { at: one.at.clone(), why })?;
        Ok(moment.timestamp(self.now))
    }
}

/// The `|` at that byte does not stand between the values of one word. Taken as text it would silently find nothing.
fn between_words(at: usize) -> QueryError {
    QueryError {
        at: at..at + 1,
        why: "alternatives stand inside one word: event:a|b; to look for a bar write \"|\"".into(),
    }
}

fn is_word(name: &str) -> bool {
    let name = name.strip_prefix('-').unwrap_or(name);
    WORDS.iter().any(|word| word.name.eq_ignore_ascii_case(name))
}

/// Where the values at the beginning of `text` have a `|`, outside quotes, with another condition behind it: `a|type:b`.
fn another_condition(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut bar) = (false, false, None);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => (quoted, bar) = (!quoted, None),
            _ if quoted => {}
            c if c.is_whitespace() => return None,
            '|' => bar = Some(at),
            ':' => match bar.take() {
                Some(bar) if is_word(&text[bar + 1..at]) => return Some(bar),
                _ => {}
            },
            _ => {}
        }
    }
    None
}

impl Mark {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Mark::Pinned => "pinned",
            Mark::Repeat => "repeat",
            Mark::Repeated => "repeated",
            Mark::Retried => "retried",
        }
    }
}

fn each<T: Copy>(values: &[Value], all: &[T], name: impl Fn(T) -> &'static str) -> Result<Vec<T>, QueryError> {
    values
        .iter()
        .map(|v| {
            all.iter().copied().find(|t| name(*t) == v.text).ok_or_else(|| {
                let names: Vec<_> = all.iter().map(|t| name(*t)).collect();
                QueryError { at: v.at.clone(), why: format!("choose of {}", names.join(", ")) }
            })
        })
        .collect()
}

fn status(values: &[Value]) -> Result<Vec<Status>, QueryError> {
    use AnswerClass::{Error, Failed, Redirect, Refused};
    let mut all = Vec::new();
    for v in values {
        if v.text == "failed" {
            all.extend([Redirect, Refused, Failed, Error].map(Status::Class));
        } else if let Some(class) = AnswerClass::ALL.into_iter().find(|c| c.as_str() == v.text) {
            all.push(Status::Class(class));
        } else if let Some(code) = v.text.parse().ok().filter(|code| (100..=999).contains(code)) {
            all.push(Status::Code(code));
        } else {
            let why = "choose of 2xx, 3xx, 4xx, 5xx, error, failed, queued, none, or write a status such as 503";
            return Err(QueryError { at: v.at.clone(), why: why.into() });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_micros(1_763_714_000_000_000);

    fn terms(text: &str) -> Vec<Term> {
        Query::read(text, NOW).unwrap().terms
    }

    fn one(text: &str) -> What {
        let mut terms = terms(text);
        assert_eq!(terms.len(), 1, "{text}");
        terms.remove(0).what
    }

    #[test]
    fn every_word_is_understood() {
        assert_eq!(one("event:appointment.*|goal.*"), What::Event(vec!["appointment.*".into(), "goal.*".into()]));
        assert_eq!(one("Resource:\"a b\""), What::Resource(vec!["a b".into()]));
        assert_eq!(one("status:5xx|404"), What::Status(vec![Status::Class(AnswerClass::Failed), Status::Code(404)]));
        assert_eq!(one("sig:no-secret"), What::Signature(vec![SignatureStatus::NoSecret]));
        assert_eq!(one("env:staging"), What::Environment(vec![Environment::Staging]));
        assert_eq!(one("is:repeat|pinned"), What::Is(vec![Mark::Repeat, Mark::Pinned]));
        assert_eq!(one("since:1h"), What::Since(NOW.earlier(std::time::Duration::from_secs(3600))));
        assert_eq!(one(r#""say \"hi\" | -x""#), What::Text("say \"hi\" | -x".into()));
        assert_eq!(one("a|b"), What::Text("a|b".into()));
        assert_eq!(one("text:a|b"), What::Text("a|b".into()));
        for word in WORDS {
            let value = word.values.split(' ').next().unwrap().replace("\"no", "no");
            assert!(Query::read(&format!("{}:{value}", word.name), NOW).is_ok(), "{}", word.name);
        }
        let two = terms("  -status:2xx   foo ");
        assert_eq!((two.len(), two[0].negated, two[1].negated), (2, true, false));
        assert!(terms(" ").is_empty());
    }

    #[test]
    fn a_mistake_is_shown_at_its_place() {
        for (text, at) in [
            ("event:a evnt:b", 8..12),
            ("sig:valid|vald", 10..14),
            ("status:", 7..7),
            ("event:a|", 7..8),
            ("event:a | event:b", 8..9),
            ("a |b", 2..3),
            ("|", 0..1),
            ("a| b", 1..2),
            ("event:a|event:b", 7..8),
            ("event:a|b|-Type:c d", 9..10),
            ("foo|event:b", 3..4),
            ("text:a|sig:valid", 6..7),
            ("event:a| event:b", 7..8),
            ("event:a||b", 7..8),
            ("a \"\"", 2..4),
            ("foo \"bar", 4..8),
            ("a - b", 2..3),
            ("since:yesterday", 6..15),
            ("tunnel:\"a b\"", 7..12),
            ("status:99", 7..9),
            ("since:1h|2h", 9..11),
        ] {
            let e = Query::read(text, NOW).unwrap_err();
            assert_eq!(e.at, at, "{text}: {e}");
        }
        assert!(Query::read(&"x".repeat(LONGEST + 1), NOW).is_err());
        // The place is cut out of the text to be shown, so it must not begin within a character.
        let wide = format!("x{}", "ä".repeat(LONGEST / 2));
        let beyond = Query::read(&wide, NOW).unwrap_err().at;
        assert_eq!(wide.get(beyond), Some("ä"));
        assert!(Query::read(&"x ".repeat(MOST_WORDS + 1), NOW).is_err());
    }

    proptest! {
        #[test]
        fn no_bar_between_words_is_taken_for_text(
            words in prop::collection::vec("(-?event:[a-z.*]{1,5}|resource:\"a b\"|type:A|b|sig:valid|[a-z]{1,5}|\"a b\")", 2..5),
            bar in "( \\| | \\||\\| )",
        ) {
            let text = words.join(&bar);
            let e = Query::read(&text, NOW).expect_err(&text);
            prop_assert_eq!(&text[e.at.clone()], "|", "{}", text);
            // Within quotes it is text like any other.
            let quoted: Vec<String> = words.iter().map(|_| format!("event:\"a{bar}b\"")).collect();
            prop_assert!(Query::read(&quoted.join(" "), NOW).is_ok());
        }

        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            if let Err(e) = Query::read(&text, NOW) {
                prop_assert!(e.at.start <= e.at.end && e.at.end <= text.len());
                prop_assert!(text.get(e.at.clone()).is_some(), "{:?} in {text:?}", e.at);
            }
        }

        #[test]
        fn nor_is_any_mixture_of_what_means_something(text in r#"((-|event|status|sig|is|since|text|:|"|\\|\||[a-z5é]| ){0,12})"#) {
            if let Err(e) = Query::read(&text, NOW) {
                prop_assert!(text.get(e.at.clone()).is_some(), "{:?} in {text:?}", e.at);
            }
        }

        #[test]
        fn quoted_text_means_itself(text in "[ -~äöü]{1,30}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(one(&quoted), What::Text(text));
        }
    }
}
