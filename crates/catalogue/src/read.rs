//! Reading the event from a delivery's body: tolerant of every shape that is documented, bounded in what it keeps.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tunnel_delivery::Event;

/// The longest extra field that is kept, in bytes of its JSON. Documented ones are ids, names and times.
const MAX_EXTRA_FIELD: usize = 16 * 1024;
/// The most that is kept of all extra fields together, in bytes of their JSON.
const MAX_EXTRA: usize = 64 * 1024;
/// The most extra fields that are kept; documented events have at most seven.
const MAX_EXTRA_FIELDS: usize = 256;
/// The most changed fields that are kept.
const MAX_CHANGED_FIELDS: usize = 1000;

/// What a delivery's body says happened; `None` if it is not a JSON object with an event's name.
///
/// Both documented shapes are read: `event_type`/`resource_id_type`/`resource_id`/`changed_fields`, and the one of the AI-Scribe guide's
/// samples, `event`/`resource_type`/`resource_id`/`data` (`data` is then an extra field). Ids may be strings or numbers;
/// `changed_fields` may be absent, null, a string (one name, several with commas, or a JSON array as text) or an array. Of a field that
/// comes twice the last counts, as in the handlers' JSON parsers.
///
/// Fields that are none of these go into `extra` as they came, except very long or deep ones and those beyond a total: they are in
/// the body.
pub fn read(body: &[u8]) -> Option<Event> {
    // A thin payload begins so; anything else is told without a parser.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice::<Fields<'_>>(body).ok()?.event()
}

/// The fields of an object that matter, and the others.
#[derive(Default)]
struct Fields<'a> {
    event_type: Option<&'a RawValue>,
    resource_id: Option<&'a RawValue>,
    resource_id_type: Option<&'a RawValue>,
    changed_fields: Option<&'a RawValue>,
    // The AI-Scribe samples' names.
    event: Option<&'a RawValue>,
    resource_type: Option<&'a RawValue>,
    extra: Extra,
}

/// Extra fields, up to the limits.
#[derive(Default)]
struct Extra {
    fields: Map<String, Value>,
    bytes: usize,
}

impl Extra {
    fn keep(&mut self, name: &str, value: &RawValue) {
        let length = name.len() + value.get().len();
        let full = self.fields.len() >= MAX_EXTRA_FIELDS && !self.fields.contains_key(name);
        if length > MAX_EXTRA_FIELD || self.bytes + length > MAX_EXTRA || full {
            return;
        }
        // An error is a value nested more than 128 deep.
        if let Ok(value) = serde_json::from_str(value.get()) {
            self.bytes += length;
            self.fields.insert(name.to_owned(), value);
        }
    }

    fn keep_if_there(&mut self, name: &str, value: Option<&RawValue>) {
        if let Some(value) = value {
            self.keep(name, value);
        }
    }
}

impl<'a> Fields<'a> {
    fn event(mut self) -> Option<Event> {
        let (event_type, resource_id_type) = match self.event_type.and_then(text) {
            Some(event_type) => {
                // `event` and `resource_type` mean nothing in this shape.
                self.extra.keep_if_there("event", self.event);
                self.extra.keep_if_there("resource_type", self.resource_type);
                (event_type, self.take_text("resource_id_type", self.resource_id_type))
            }
            None => {
                let event_type = self.event.and_then(text)?;
                self.extra.keep_if_there("event_type", self.event_type);
                let resource_type = self.take_text("resource_type", self.resource_type);
                (event_type, self.take_text("resource_id_type", self.resource_id_type).or(resource_type))
            }
        };
        let resource_id = self.resource_id.and_then(id);
        if resource_id.is_none() {
            self.extra.keep_if_there("resource_id", self.resource_id.filter(|raw| raw.get() != "null"));
        }
        let changed_fields = self.changed_fields.and_then(changed_fields);
        if changed_fields.is_none() {
            self.extra.keep_if_there("changed_fields", self.changed_fields);
        }
        Some(Event {
            event_type,
            resource_id,
            resource_id_type,
            changed_fields: changed_fields.unwrap_or_default(),
            extra: self.extra.fields,
        })
    }

    /// The field's text; anything else than a string or null is kept as an extra field.
    fn take_text(&mut self, name: &str, field: Option<&RawValue>) -> Option<String> {
        let found = field.and_then(text);
        if found.is_none() {
            self.extra.keep_if_there(name, field.filter(|raw| raw.get() != "null"));
        }
        found
    }
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// A string's text, or a number's digits as they came: no detour over a floating-point number.
fn id(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => text(raw),
        b'-' | b'0'..=b'9' => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// `None` if it is neither null, a string nor an array.
fn changed_fields(raw: &RawValue) -> Option<Vec<String>> {
    match raw.get().as_bytes().first()? {
        b'n' => Some(Vec::new()),
        b'[' => array(raw.get()),
        b'"' => {
            let text = text(raw)?;
            // An array that was turned into text, as some serialisers do.
            let names = || text.split(',').map(str::trim).filter(|name| !name.is_empty());
            Some(array(&text).unwrap_or_else(|| names().take(MAX_CHANGED_FIELDS).map(str::to_owned).collect()))
        }
        _ => None,
    }
}

/// The strings of a JSON array; what is no string stands there as its JSON.
fn array(json: &str) -> Option<Vec<String>> {
    let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    Some(
        items
            .into_iter()
            .take(MAX_CHANGED_FIELDS)
            .map(|raw| text(raw).unwrap_or_else(|| raw.get().to_owned()))
            .collect(),
    )
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

/// A name, borrowed from the body where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Name(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            match &*name {
                "event_type" => fields.event_type = Some(value),
                "resource_id" => fields.resource_id = Some(value),
                "resource_id_type" => fields.resource_id_type = Some(value),
                "changed_fields" => fields.changed_fields = Some(value),
                "event" => fields.event = Some(value),
                "resource_type" => fields.resource_type = Some(value),
                name => fields.extra.keep(name, value),
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn of(value: &Value) -> Option<Event> {
        read(value.to_string().as_bytes())
    }

    #[test]
    fn the_guide_s_shape_with_string_and_integer_ids() {
        let event = of(&json!({
            "resource_id": "1204", "resource_id_type": "Appointment", "event_type": "appointment.updated",
            "changed_fields": ["date", "pm_status"], "resource_organization_id": "7",
        }))
        .unwrap();
        assert_eq!(event.event_type, "appointment.updated");
        assert_eq!(event.resource_id.as_deref(), Some("1204"));
        assert_eq!(event.resource_id_type.as_deref(), Some("Appointment"));
        assert_eq!(event.changed_fields, ["date", "pm_status"]);
        assert_eq!(Value::from(event.extra), json!({"resource_organization_id": "7"}));

        let event = read(br#" {"event_type":"x.y","resource_id":123456789012345678901234567890} "#).unwrap();
        assert_eq!(event.resource_id.as_deref(), Some("123456789012345678901234567890"));
        assert_eq!((event.resource_id_type, event.changed_fields.len()), (None, 0));
    }

    #[test]
    fn the_ai_scribe_samples_shape() {
        let event = of(&json!({
            "event": "appointment.transcript_available", "resource_type": "Appointment", "resource_id": 12345,
            "data": {"id": 12345, "user_id": 54321},
        }))
        .unwrap();
        assert_eq!(event.event_type, "appointment.transcript_available");
        assert_eq!(event.resource_id.as_deref(), Some("12345"));
        assert_eq!(event.resource_id_type.as_deref(), Some("Appointment"));
        assert_eq!(Value::from(event.extra), json!({"data": {"id": 12345, "user_id": 54321}}));
        // Where both shapes are mixed the documented payload wins and nothing is lost.
        let event = of(&json!({"event": {"a": 1}, "resource_type": "R", "event_type": "a.b"})).unwrap();
        assert_eq!((event.event_type.as_str(), event.resource_id_type), ("a.b", None));
        assert_eq!(Value::from(event.extra), json!({"event": {"a": 1}, "resource_type": "R"}));
    }

    #[test]
    fn changed_fields_in_every_form() {
        let of = |value: Value| of(&json!({"event_type": "a.b", "changed_fields": value})).unwrap();
        for (value, expected) in [
            (json!(null), vec![]),
            (json!([]), vec![]),
            (json!(""), vec![]),
            (json!("date"), vec!["date"]),
            (json!("date, pm_status"), vec!["date", "pm_status"]),
            (json!("[\"date\",\"pm_status\"]"), vec!["date", "pm_status"]),
            (json!(["date", 1, null, {"a": 2}]), vec!["date", "1", "null", "{\"a\":2}"]),
        ] {
            let event = of(value.clone());
            assert_eq!(
                (event.changed_fields, event.extra.len()),
                (expected.iter().map(|s| s.to_string()).collect(), 0),
                "{value}"
            );
        }
        assert_eq!(Value::from(of(json!({"date": 1})).extra), json!({"changed_fields": {"date": 1}}));
        assert_eq!(of(json!(vec!["x"; 5000])).changed_fields.len(), MAX_CHANGED_FIELDS);
    }

    #[test]
    fn what_is_no_event_is_none() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "\"event_type\"",
            "{\"event_type\":1}",
            "{\"event_type\":\"a\"} x",
            "{\"event_type\":\"a\"",
            "event_type=a",
            "{\"resource_id\":1}",
        ] {
            assert_eq!(read(body.as_bytes()), None, "{body:?}");
        }
        assert_eq!(read(b"{\"event_type\":\"\xff\"}"), None);
        assert_eq!(read(b"\x1f\x8b\x08"), None);
    }

    #[test]
    fn escaped_names_and_repeated_fields() {
        let event = read(br#"{"event_\u0074ype":"a.b","event_type":"c.d","x":1,"x":2}"#).unwrap();
        assert_eq!((event.event_type.as_str(), &event.extra["x"]), ("c.d", &json!(2)));
    }

    #[test]
    fn hostile_bodies_are_bounded() {
        let deep = format!(r#"{{"event_type":"a.b","deep":{}{},"last":1}}"#, "[".repeat(5000), "]".repeat(5000));
        let event = read(deep.as_bytes()).unwrap();
        assert_eq!(event.extra.keys().collect::<Vec<_>>(), ["last"]);

        let long = json!({"event_type": "a.b", "pad": "x".repeat(300_000), "resource_id": "9"});
        let event = of(&long).unwrap();
        assert_eq!((event.resource_id.as_deref(), event.extra.len()), (Some("9"), 0));

        let many: Map<_, _> = (0..100_000).map(|n| (format!("f{n}"), json!([]))).collect();
        let mut many = Value::from(many);
        many["event_type"] = json!("a.b");
        assert_eq!(of(&many).unwrap().extra.len(), MAX_EXTRA_FIELDS);
    }

    fn json_values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    const NAMES: [&str; 8] =
        ["event_type", "resource_id", "resource_id_type", "changed_fields", "event", "resource_type", "data", "other"];

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = read(&body);
        }

        #[test]
        fn no_object_makes_it_panic_and_nothing_is_invented(
            fields in prop::collection::vec((prop::sample::select(&NAMES[..]), json_values()), 0..8)
        ) {
            let object: Map<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let named = object.get("event_type").or(object.get("event")).is_some();
            match of(&Value::from(object.clone())) {
                None => {}
                Some(event) => {
                    prop_assert!(named);
                    let name = Value::from(event.event_type);
                    prop_assert!(object.get("event_type") == Some(&name) || object.get("event") == Some(&name));
                    for (name, value) in event.extra {
                        prop_assert_eq!(object.get(&name), Some(&value));
                    }
                }
            }
        }
    }
}
