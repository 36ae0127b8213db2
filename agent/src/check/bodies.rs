//! The bodies that the cases send. Each is legal; what differs is what handlers stumble over. Pure.

use bytes::Bytes;
use serde_json::{Value, json};
use tunnel_catalogue::{IdStyle, synthetic, synthetic_unknown};

/// An event that most handlers know.
const USUAL: &str = "appointment.created";
/// The usual event with `changed_fields`.
const UPDATED: &str = "appointment.updated";
/// An event with a person's name in it (documented), so that text beyond ASCII is legal.
const WITH_NAME: &str = "appointment.participant_joined";
/// The name of no event.
pub(super) const UNKNOWN: &str = "starship.launched";
/// More than the 100 kB that widespread body parsers stop at by default, and far below what a server may refuse in good faith.
const LARGE: usize = 200 * 1024;

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

/// The payload of an event by name, with an id of its own for each seed.
pub(super) fn event(name: &str, seed: u64, ids: IdStyle) -> Value {
    match tunnel_catalogue::find(name) {
        Some(known) => synthetic(known, seed, ids),
        None => synthetic_unknown(name, seed, ids),
    }
}

pub(super) fn of_event(name: &str, seed: u64) -> Bytes {
    bytes(&event(name, seed, IdStyle::Text))
}

pub(super) fn usual(seed: u64) -> Bytes {
    of_event(USUAL, seed)
}

pub(super) fn integer_id(seed: u64) -> Bytes {
    bytes(&event(USUAL, seed, IdStyle::Integer))
}

pub(super) fn empty_changed_fields(seed: u64) -> Bytes {
    let mut payload = event(UPDATED, seed, IdStyle::Text);
    payload["changed_fields"] = json!([]);
    bytes(&payload)
}

pub(super) fn no_changed_fields(seed: u64) -> Bytes {
    let mut payload = event(UPDATED, seed, IdStyle::Text);
    if let Some(fields) = payload.as_object_mut() {
        fields.shift_remove("changed_fields");
    }
    bytes(&payload)
}

/// The same JSON as others would write it: blanks after commas and colons.
pub(super) fn spaced(seed: u64) -> Bytes {
    let payload = event(USUAL, seed, IdStyle::Text);
    let fields = payload.as_object().into_iter().flatten().map(|(name, value)| format!("\"{name}\": {value}"));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(", ")).into()
}

/// Escapes that a parser resolves: Rails writes `<`, `>` and `&` in JSON so, and some writers `/`.
pub(super) fn escaped(seed: u64) -> Bytes {
    let payload = event(WITH_NAME, seed, IdStyle::Text);
    let mut text = String::from("{");
    for (at, (name, value)) in payload.as_object().into_iter().flatten().enumerate() {
        let value = if name == "user_name" {
            r#""Zo\u00eb \u003cSample\u003e \u0026 Person 1\/2""#.to_owned()
        } else {
            value.to_string()
        };
        text.push_str(&format!("{}\"{name}\":{value}", if at == 0 { "" } else { "," }));
    }
    text.push('}');
    text.into()
}

/// Text in which bytes, characters and UTF-16 units are three different numbers.
pub(super) fn beyond_ascii(seed: u64) -> Bytes {
    let mut payload = event(WITH_NAME, seed, IdStyle::Text);
    payload["user_name"] = "Zoë Beispiel 見本 😀".into();
    bytes(&payload)
}

pub(super) fn large(seed: u64) -> Bytes {
    let mut payload = event(UPDATED, seed, IdStyle::Text);
    let fields = (0..).map(|n| format!("custom_field_{n:06}")).take(LARGE / 22);
    payload["changed_fields"] = fields.collect();
    bytes(&payload)
}

/// An appointment's life in the wrong order: the end first, then a change, then the beginning. One id in all.
pub(super) fn out_of_order(seed: u64) -> Vec<(&'static str, Bytes)> {
    ["appointment.deleted", UPDATED, USUAL].map(|name| (name, of_event(name, seed))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_an_event_and_differs_where_it_should() {
        let id = |body: &[u8]| tunnel_catalogue::read(body).and_then(|e| e.resource_id);
        for body in [usual(1), integer_id(1), spaced(1), escaped(1), beyond_ascii(1), large(1), no_changed_fields(1)] {
            assert!(id(&body).is_some(), "{}", String::from_utf8_lossy(&body[..200.min(body.len())]));
        }
        let parsed = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
        assert_eq!(parsed(&spaced(1)), parsed(&usual(1)));
        assert_ne!(spaced(1), usual(1));
        assert_eq!(parsed(&escaped(1))["user_name"], "Zoë <Sample> & Person 1/2");
        assert!(parsed(&no_changed_fields(1)).get("changed_fields").is_none());
        assert!((100_000..256 * 1024).contains(&large(1).len()), "{}", large(1).len());
        let text = String::from_utf8(beyond_ascii(1).to_vec()).unwrap();
        assert!(text.len() > text.encode_utf16().count() && text.encode_utf16().count() > text.chars().count());
        let ids: Vec<_> = out_of_order(5).iter().map(|(_, b)| id(b)).collect();
        assert!(ids.windows(2).all(|w| w[0] == w[1]));
    }
}
