//! Made-up payloads of any event: typed as documented, the same for the same seed, and plainly of nobody.

use serde_json::{Map, Value};

use crate::table::{EventType, ExtraField, FieldType};

/// How the payload writes `resource_id`: the documents disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdStyle {
    /// A string, as in the event reference.
    #[default]
    Text,
    /// An integer, as in the AI-Scribe guide and the developer guide's sample.
    Integer,
}

/// A payload of a documented event.
///
/// The order of fields is that of the documents' samples; an update without documented changed fields gets `updated_at`.
pub fn synthetic(event: &EventType, seed: u64, ids: IdStyle) -> Value {
    let mut numbers = Numbers(seed);
    let changed = match &*event.sample_changed_fields {
        [] if event.is_update() => vec![Value::from("updated_at")],
        documented => documented.iter().map(|name| Value::from(*name)).collect(),
    };
    let resource_type = event.resource_type.name().to_owned();
    let mut payload = thin(event.name, resource_type, changed, &mut numbers, ids);
    for field in &event.extra_fields {
        payload.insert(field.name.to_owned(), extra(field, &mut numbers));
    }
    payload.into()
}

/// A payload of an event that is not documented, for a handler that must take any name. The resource type is what the name suggests.
pub fn synthetic_unknown(name: &str, seed: u64, ids: IdStyle) -> Value {
    let changed = if name.ends_with(".updated") { vec![Value::from("updated_at")] } else { Vec::new() };
    thin(name, camel_case(name), changed, &mut Numbers(seed), ids).into()
}

fn thin(
    name: &str,
    resource_type: String,
    changed: Vec<Value>,
    numbers: &mut Numbers,
    ids: IdStyle,
) -> Map<String, Value> {
    let id = numbers.id();
    let resource_id = match ids {
        IdStyle::Text => Value::from(id.to_string()),
        IdStyle::Integer => Value::from(id),
    };
    let mut payload = Map::new();
    payload.insert("resource_id".to_owned(), resource_id);
    payload.insert("resource_id_type".to_owned(), resource_type.into());
    payload.insert("event_type".to_owned(), name.into());
    payload.insert("changed_fields".to_owned(), changed.into());
    payload
}

fn extra(field: &ExtraField, numbers: &mut Numbers) -> Value {
    let id = numbers.id();
    match (field.kind, field.name) {
        // Milliseconds within 2025, as Zoom's events have them.
        (FieldType::Integer, "event_ts") => Value::from(1_735_689_600_000 + id * 3000),
        (FieldType::Integer, _) => Value::from(id),
        (FieldType::Text, "user_name") => format!("Sample Person {id}").into(),
        (FieldType::Text, "user_email") => format!("person{id}@example.com").into(),
        (FieldType::Text, "status_date_time") => "2025-01-15T10:00:00Z".into(),
        (FieldType::Text, "medication_status" | "prescription_status") => "Sample".into(),
        (FieldType::Text, "status_notes" | "status_details") => "A synthetic payload".into(),
        (FieldType::Text, _) => id.to_string().into(),
    }
}

/// `goal_history.created` to `GoalHistory`.
fn camel_case(name: &str) -> String {
    let resource = name.split('.').next().unwrap_or(name);
    let mut out = String::with_capacity(resource.len());
    for word in resource.split(|c: char| !c.is_alphanumeric()) {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// SplitMix64: spread numbers from any seed, neighbours included. For looks only.
struct Numbers(u64);

impl Numbers {
    /// A number from 1 to 9,999,999, the size of ids in the documents' samples.
    fn id(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 9_999_999 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{all, find, read};
    use proptest::prelude::*;

    #[test]
    fn every_payload_is_read_back() {
        for event in all() {
            for ids in [IdStyle::Text, IdStyle::Integer] {
                let payload = synthetic(event, 7, ids);
                assert_eq!(payload["resource_id"].is_string(), ids == IdStyle::Text, "{payload}");
                let seen = read(payload.to_string().as_bytes()).unwrap_or_else(|| panic!("{payload}"));
                assert_eq!(seen.event_type, event.name);
                assert_eq!(seen.resource_id_type.as_deref(), Some(event.resource_type.name()));
                assert!(seen.resource_id.is_some_and(|id| id.parse::<u64>().is_ok()), "{payload}");
                assert_eq!(!seen.changed_fields.is_empty(), event.is_update(), "{payload}");
                assert_eq!(seen.extra.len(), event.extra_fields.len(), "{payload}");
                for field in &event.extra_fields {
                    let value = &seen.extra[field.name];
                    assert_eq!(value.is_i64(), field.kind == FieldType::Integer, "{payload}");
                    assert_eq!(value.is_string(), field.kind == FieldType::Text, "{payload}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_event_has_the_same_shape() {
        let payload = synthetic_unknown("lab_panel.updated", 1, IdStyle::Integer);
        let seen = read(payload.to_string().as_bytes()).unwrap();
        assert_eq!(seen.resource_id_type.as_deref(), Some("LabPanel"));
        assert_eq!(seen.changed_fields, ["updated_at"]);
        assert!(find("lab_panel.updated").is_none());
    }

    #[test]
    fn people_are_plainly_invented() {
        let payload = synthetic(find("appointment.participant_joined").unwrap(), 3, IdStyle::Text);
        assert!(payload["user_email"].as_str().unwrap().ends_with("@example.com"));
        assert!(payload["user_name"].as_str().unwrap().starts_with("Sample Person "));
    }

    proptest! {
        #[test]
        fn the_seed_decides(seed: u64, at in 0..182usize) {
            let event = &all()[at];
            prop_assert_eq!(synthetic(event, seed, IdStyle::Text), synthetic(event, seed, IdStyle::Text));
            prop_assert!(synthetic(event, seed, IdStyle::Text) != synthetic(event, seed.wrapping_add(1), IdStyle::Text));
        }

        #[test]
        fn any_name_will_do(name: String, seed: u64) {
            let payload = synthetic_unknown(&name, seed, IdStyle::Text);
            prop_assert_eq!(read(payload.to_string().as_bytes()).unwrap().event_type, name);
        }
    }
}
