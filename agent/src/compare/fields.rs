//! Which fields of two JSON documents differ, by their paths.

use serde::Serialize;
use serde_json::Value;

/// So many changes are told; the last of more says so.
pub const MOST_FIELDS: usize = 500;

/// A field that is not the same on both sides; absent where a side does not have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// Where it is: `extra.list[2]`; empty for the whole document.
    pub path: String,
    /// What one side has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Value>,
    /// What the other has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Value>,
}

/// The changes, in the order of the first document, then what only the second has.
pub(super) fn changes(a: &Value, b: &Value) -> Vec<FieldChange> {
    let mut out = Vec::new();
    walk(&mut String::new(), a, b, &mut out);
    out
}

// The depth is bounded by the reader of JSON, which takes 128 levels.
fn walk(path: &mut String, a: &Value, b: &Value, out: &mut Vec<FieldChange>) {
    if a == b || out.len() >= MOST_FIELDS {
        return;
    }
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let only_b = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(only_b) {
                within(path, &member(path, key), (a.get(key), b.get(key)), out);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for i in 0..a.len().max(b.len()) {
                within(path, &format!("[{i}]"), (a.get(i), b.get(i)), out);
            }
        }
        (a, b) => out.push(FieldChange { path: path.clone(), a: Some(a.clone()), b: Some(b.clone()) }),
    }
}

fn within(path: &mut String, step: &str, (a, b): (Option<&Value>, Option<&Value>), out: &mut Vec<FieldChange>) {
    let len = path.len();
    path.push_str(step);
    match (a, b) {
        (Some(a), Some(b)) => walk(path, a, b, out),
        (a, b) if out.len() < MOST_FIELDS => {
            out.push(FieldChange { path: path.clone(), a: a.cloned(), b: b.cloned() });
        }
        _ => {}
    }
    path.truncate(len);
}

fn member(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!(".{key}"),
        (false, _) => format!("[{}]", Value::from(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_have_paths() {
        let a = json!({"a": 1, "gone": null, "list": [1, {"x": true}], "odd key": 1, "same": [1]});
        let b = json!({"a": 2, "list": [1, {"x": false}, 3], "odd key": 2, "same": [1], "new": {}});
        let told: Vec<String> = changes(&a, &b)
            .into_iter()
            .map(|c| {
                let text = |v: Option<Value>| v.map_or_else(|| "-".to_owned(), |v| v.to_string());
                format!("{} {} {}", c.path, text(c.a), text(c.b))
            })
            .collect();
        assert_eq!(
            told,
            ["a 1 2", "gone null -", "list[1].x true false", "list[2] - 3", "[\"odd key\"] 1 2", "new - {}"]
        );
        assert_eq!(
            changes(&json!(1), &json!([])),
            [FieldChange { path: String::new(), a: Some(json!(1)), b: Some(json!([])) }]
        );
    }

    #[test]
    fn there_are_only_so_many() {
        let (a, b): (Vec<u32>, Vec<u32>) = ((0..10_000).collect(), (1..10_001).collect());
        assert_eq!(changes(&json!(a), &json!(b)).len(), MOST_FIELDS);
    }
}
