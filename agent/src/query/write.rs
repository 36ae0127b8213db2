//! A filter written as a query, so that there is one language between processes. Pure.

use std::fmt::Write as _;

use tunnel_delivery::Timestamp;

use super::{Query, Status, What};
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

    /// What a filter asks, less what it looks for within deliveries: `…` stands for texts and resource ids, and for names that no event has.
    /// What is left is legible in an encrypted store too.
    pub fn outline_of(filter: &Filter, now: Timestamp) -> String {
        match Query::read(&Query::text_of(filter), now) {
            Ok(query) => query.outline(),
            // What is not understood may be anything.
            Err(_) => "…".to_owned(),
        }
    }

    fn outline(&self) -> String {
        let terms = self.terms.iter().map(|term| {
            let (name, values) = match &term.what {
                What::Event(names) => ("event", outlines(names)),
                What::Type(names) => ("type", outlines(names)),
                What::Resource(ids) => ("resource", vec!["…"; ids.len()].join("|")),
                What::Status(all) => ("status", all.iter().map(status).collect::<Vec<_>>().join("|")),
                What::Signature(all) => ("sig", all.iter().map(|s| s.as_str()).collect::<Vec<_>>().join("|")),
                What::Environment(all) => ("env", all.iter().map(|e| e.as_str()).collect::<Vec<_>>().join("|")),
                What::Tunnel(all) => ("tunnel", all.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")),
                What::Since(at) => ("since", at.to_string()),
                What::Until(at) => ("until", at.to_string()),
                What::Is(marks) => ("is", marks.iter().map(|m| m.as_str()).collect::<Vec<_>>().join("|")),
                What::Text(_) => ("text", "…".to_owned()),
            };
            format!("{}{name}:{values}", if term.negated { "-" } else { "" })
        });
        terms.collect::<Vec<_>>().join(" ")
    }
}

fn status(status: &Status) -> String {
    match status {
        Status::Class(class) => class.as_str().to_owned(),
        Status::Code(code) => code.to_string(),
    }
}

/// Patterns and types as they are in Healthie's names; anything else may be a person's.
fn outlines(names: &[String]) -> String {
    let known = |name: &str| {
        tunnel_catalogue::all().iter().any(|e| {
            let family = e.name.split('.').next().unwrap_or_default();
            name == family || name == e.name || name == e.resource_type.name()
        })
    };
    let shown = names.iter().map(|name| match name.trim_matches(['*', '.']) {
        "" => name.as_str(),
        bare if known(bare) => name.as_str(),
        _ => "…",
    });
    shown.collect::<Vec<_>>().join("|")
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
    fn an_outline_tells_what_was_asked_and_not_whom_it_was_about() {
        let query = "event:appointment.*|Musterfrau type:Appointment resource:4711|4712 -text:\"Maria M\" Muster env:staging status:failed|503 \
                     sig:valid tunnel:team is:pinned since:2026-11-21T09:30:00Z";
        let filter = Filter { query: query.into(), text: Some("Erika".into()), ..Filter::default() };
        assert_eq!(
            Query::outline_of(&filter, NOW),
            "text:… event:appointment.*|… type:Appointment resource:…|… -text:… text:… env:staging status:3xx|4xx|5xx|error|503 sig:valid tunnel:team \
             is:pinned since:2026-11-21T09:30:00.000000Z"
        );
        assert_eq!(Query::outline_of(&Filter { query: "evnt:Maria".into(), ..Filter::default() }, NOW), "…");
        assert_eq!(Query::outline_of(&Filter::default(), NOW), "");
    }

    proptest! {
        #[test]
        fn no_text_of_a_filter_is_in_its_outline(word in "[A-Z]{9}") {
            for place in ["", "-", "text:", "resource:", "event:", "type:", "evnt:", "resource:1|", "event:*", "since:"] {
                let outline = Query::outline_of(&Filter { query: format!("{place}{word}"), ..Filter::default() }, NOW);
                prop_assert!(!outline.contains(&word), "{}", outline);
            }
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
