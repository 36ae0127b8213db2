//! The GraphQL query that reads the record behind a thin payload: from the type and the id that a payload names to text for an API client.
//!
//! Only queries and fields that the public GraphQL reference (version 2026-01-01) has are written. It names no query for every type, and
//! nothing is invented where it does not. Knows no network and no credentials: who sends it, and what may be read, is decided elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

/// One resource type per line in tab-separated columns: the type; the query that reads one by its `id`; its scalar fields, by blanks. `-`
/// is nothing. The query of `Appointment` is the one of the AI-Scribe guide's sample; the reference's table of types names another's.
const TABLE: &str = include_str!("resources.tsv");

/// More fields than these are not asked for: the API bounds the complexity of a query (2,000), and people read it. What changed comes first.
pub const MOST_FIELDS: usize = 80;

/// Why there is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRecordQuery {
    /// No document has the type.
    UnknownType(String),
    /// The reference has the type, and no query that reads one by its id.
    NoQuery(&'static str),
}

impl fmt::Display for NoRecordQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRecordQuery::UnknownType(name) => {
                write!(f, "no document has a resource type {name:?}, so no query for it is known")
            }
            NoRecordQuery::NoQuery(name) => {
                write!(f, "the GraphQL reference has the type {name}, and no query that reads one by its id")
            }
        }
    }
}

impl std::error::Error for NoRecordQuery {}

struct Resource {
    query: Option<&'static str>,
    fields: Vec<&'static str>,
}

static RESOURCES: LazyLock<BTreeMap<&'static str, Resource>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('\t').map(|column| (column != "-").then_some(column));
            let name = columns.next().flatten()?;
            let query = columns.next().flatten();
            let fields = columns.next().flatten().map(|fields| fields.split(' ').collect()).unwrap_or_default();
            Some((name, Resource { query, fields }))
        })
        .collect()
});

/// The query that reads the record of this type and id. The fields in `changed` come first and are marked; those that the reference does not
/// have are left out, as is what an object would have to be asked for.
///
/// # Errors
/// The type is not known, or the reference has no query for it.
pub fn record_query(resource_type: &str, id: &str, changed: &[String]) -> Result<String, NoRecordQuery> {
    let Some((name, resource)) = RESOURCES.get_key_value(resource_type) else {
        return Err(NoRecordQuery::UnknownType(resource_type.to_owned()));
    };
    let query = resource.query.ok_or(NoRecordQuery::NoQuery(name))?;
    let is_changed = |field: &str| changed.iter().any(|c| c == field);
    // What says most comes first; the rest is in the order of the table.
    let rank = |field: &str| match field {
        "id" => 0,
        changed if is_changed(changed) => 1,
        "created_at" | "updated_at" => 2,
        _ => 3,
    };
    let mut fields: Vec<&str> = resource.fields.iter().copied().filter(|f| *f != "id").collect();
    fields.insert(0, "id");
    fields.sort_by_key(|field| rank(field));
    let left_out = fields.split_off(fields.len().min(MOST_FIELDS));
    let mut out = format!("query {{\n  {query}(id: {}) {{\n", string(id));
    for field in fields {
        let mark = if is_changed(field) { "  # changed" } else { "" };
        out.push_str(&format!("    {field}{mark}\n"));
    }
    if !left_out.is_empty() {
        out.push_str(&format!("    # and {} more scalar fields, from {} on\n", left_out.len(), left_out[0]));
    }
    out.push_str("  }\n}\n");
    Ok(out)
}

/// A string of GraphQL: an id is a stranger's text.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_record_behind_a_payload_is_asked_for() {
        let changed = ["start".to_owned(), "attendees".to_owned(), "x } evil".to_owned()];
        let text = record_query("Appointment", "12345", &changed).unwrap();
        assert!(text.starts_with("query {\n  appointment(id: \"12345\") {\n    id\n    start  # changed\n"), "{text}");
        assert!(text.contains("    updated_at\n") && text.ends_with("  }\n}\n"), "{text}");
        assert!(!text.contains("\n    attendees") && !text.contains("evil"), "{text}");
        assert!(record_query("User", "1", &[]).unwrap().contains("more scalar fields"));
    }

    #[test]
    fn where_nothing_is_known_nothing_is_invented() {
        assert_eq!(record_query("Prescription", "1", &[]), Err(NoRecordQuery::NoQuery("Prescription")));
        assert_eq!(record_query("Starship", "1", &[]), Err(NoRecordQuery::UnknownType("Starship".into())));
    }

    #[test]
    fn every_type_of_the_catalogue_is_in_the_table() {
        for event in crate::all() {
            let name = event.resource_type.name();
            assert!(RESOURCES.contains_key(name), "{name} of {}", event.name);
        }
        assert_eq!((RESOURCES.len(), RESOURCES.values().filter(|r| r.query.is_some()).count()), (62, 44));
    }

    proptest! {
        /// Whatever the id is, it stays within its quotes.
        #[test]
        fn an_id_is_a_string_and_nothing_else(id in any::<String>()) {
            let text = record_query("Goal", &id, &[]).unwrap();
            let rest = text.strip_prefix("query {\n  goal(id: ").unwrap();
            let (mut end, mut escaped) = (None, false);
            for (at, c) in rest.char_indices().skip(1) {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => { end = Some(at); break }
                    c => prop_assert!(!c.is_control()),
                }
            }
            let behind = rest[end.unwrap() + 1..].starts_with(") {\n    id\n");
            prop_assert!(behind, "{text}");
        }
    }
}
