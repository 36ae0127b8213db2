//! A filter written as a query, so that there is one language between processes. Pure.

use std::fmt::Write as _;

use super::Query;
use crate::control::Filter;

impl Query {
    /// The text that means the conditions of a filter, its own query among them; not its order, its limit and where it goes on.
    pub fn text_of(filter: &Filter) -> String {
        let mut text = String::new();
        let mut word = |name: &str, values: &[String]| {
            if values.is_empty() {
                return;
            }
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{space}{name}:{}", values.join("|"));
        };
        let each = |values: &[String]| values.iter().map(|v| quoted(v)).collect::<Vec<_>>();
        let one = |value: Option<String>| each(&value.into_iter().collect::<Vec<_>>());
        word("event", &each(&filter.events));
        word("type", &one(filter.resource_type.clone()));
        word("resource", &one(filter.resource_id.clone()));
        word("sig", &filter.signature.iter().map(|s| s.as_str().to_owned()).collect::<Vec<_>>());
        word("status", &filter.status.iter().map(|s| s.as_str().to_owned()).collect::<Vec<_>>());
        word("env", &filter.environment.iter().map(|e| e.as_str().to_owned()).collect::<Vec<_>>());
        word("since", &one(filter.since.map(|t| t.to_string())));
        word("until", &one(filter.until.map(|t| t.to_string())));
        word("tunnel", &one(filter.tunnel.as_ref().map(ToString::to_string)));
        word("text", &one(filter.text.clone().filter(|text| !text.is_empty())));
        if let Some(repeat) = filter.duplicates {
            word(if repeat { "is" } else { "-is" }, &["repeat".to_owned()]);
        }
        format!("{text} {}", filter.query).trim().to_owned()
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tunnel_delivery::{AnswerClass, Environment, SignatureStatus, Timestamp};

    const NOW: Timestamp = Timestamp::from_micros(1_763_714_000_000_000);

    fn filters() -> impl Strategy<Value = Filter> {
        let text = || "[ -~é\n|]{1,20}";
        let time = || prop::option::of((0i64..4_000_000_000_000_000).prop_map(Timestamp::from_micros));
        (
            (prop::collection::vec(text(), 0..3), prop::option::of(text()), prop::option::of(text())),
            (
                prop::sample::subsequence(&SignatureStatus::ALL[..], 0..3),
                prop::sample::subsequence(&AnswerClass::ALL[..], 0..3),
                prop::sample::subsequence(
                    vec![Environment::Staging, Environment::Production, Environment::Unknown],
                    0..3,
                ),
            ),
            (time(), time(), prop::option::of("[a-z]{3,9}"), prop::option::of(text())),
        )
            .prop_map(
                |(
                    (events, resource_type, resource_id),
                    (signature, status, environment),
                    (since, until, tunnel, text),
                )| Filter {
                    events,
                    resource_type,
                    resource_id,
                    signature,
                    status,
                    environment,
                    since,
                    until,
                    tunnel: tunnel.map(|name| name.parse().unwrap()),
                    text,
                    ..Filter::default()
                },
            )
    }

    proptest! {
        #[test]
        fn a_filter_is_read_back_as_it_was(filter in filters()) {
            let text = Query::text_of(&filter);
            let read = Query::read(&text, NOW).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
            prop_assert_eq!(serde_json::to_value(read.filter()).unwrap(), serde_json::to_value(&filter).unwrap(), "{}", text);
        }
    }

    #[test]
    fn a_filter_s_own_query_is_kept() {
        let text = |query: &str, text: Option<&str>| {
            Query::text_of(&Filter { query: query.into(), text: text.map(str::to_owned), ..Filter::default() })
        };
        assert_eq!(text("-status:2xx a", Some("b")), "text:\"b\" -status:2xx a");
        assert_eq!(text("a", None), "a");
    }

    #[test]
    fn repeats_are_asked_for_by_their_mark() {
        let text = |duplicates| Query::text_of(&Filter { duplicates, ..Filter::default() });
        assert_eq!(
            (text(None), text(Some(true)), text(Some(false))),
            ("".into(), "is:repeat".into(), "-is:repeat".into())
        );
        assert!(Query::read(&text(Some(false)), NOW).unwrap().terms[0].negated);
    }
}
