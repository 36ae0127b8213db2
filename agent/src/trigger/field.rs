//! Fields of a payload by their path, `a.b.c` and `a[0].b`, and setting them. Pure.

use std::str::FromStr;

use serde_json::{Map, Value};

/// The deepest path that is taken.
const MOST_STEPS: usize = 32;
/// The longest array that a path makes, so that a mistyped index takes no memory.
const MOST_ITEMS: usize = 1000;

/// Where a value is in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// What is set does not fit what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not a path.
    #[error("{path:?} is not a field: {why}; write name, a.b.c or a[0].b")]
    Malformed {
        /// As given, cut.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A part of the path is there and is no object or array.
    #[error("the field {0} cannot be set: what is there is neither an object nor an array")]
    NotAContainer(String),
    /// The index leaves a gap.
    #[error("the field {0} cannot be set: the array has fewer items, and a gap cannot be sent")]
    Gap(String),
}

impl FromStr for FieldPath {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<FieldPath, FieldError> {
        let wrong = |why| FieldError::Malformed { path: text.chars().take(100).collect(), why };
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
            if name.is_empty() {
                return Err(wrong("a name is empty"));
            }
            steps.push(Step::Name(name.to_owned()));
            while !rest.is_empty() {
                let inner = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
                let (index, after) = inner.ok_or_else(|| wrong("a bracket is not closed, or something follows it"))?;
                let index = index.parse().ok().filter(|i| *i < MOST_ITEMS);
                steps.push(Step::Index(index.ok_or_else(|| wrong("an index is a number below 1000"))?));
                rest = after;
            }
        }
        if steps.len() > MOST_STEPS {
            return Err(wrong("it is more than 32 deep"));
        }
        Ok(FieldPath(steps))
    }
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if at == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FieldPath {
    /// Sets the field. Objects and arrays that are not there are made; an index may be the array's length, which adds an item.
    ///
    /// # Errors
    /// Something else is in the way.
    pub fn set(&self, payload: &mut Value, value: Value) -> Result<(), FieldError> {
        let mut at = payload;
        for step in &self.0 {
            match step {
                Step::Name(name) => {
                    if at.is_null() {
                        *at = Value::Object(Map::new());
                    }
                    let object = at.as_object_mut().ok_or_else(|| FieldError::NotAContainer(self.to_string()))?;
                    at = object.entry(name.clone()).or_insert(Value::Null);
                }
                Step::Index(index) => {
                    if at.is_null() {
                        *at = Value::Array(Vec::new());
                    }
                    let array = at.as_array_mut().ok_or_else(|| FieldError::NotAContainer(self.to_string()))?;
                    if *index == array.len() {
                        array.push(Value::Null);
                    }
                    at = array.get_mut(*index).ok_or_else(|| FieldError::Gap(self.to_string()))?;
                }
            }
        }
        *at = value;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn set(mut payload: Value, path: &str, value: Value) -> Result<Value, FieldError> {
        path.parse::<FieldPath>()?.set(&mut payload, value).map(|()| payload)
    }

    #[test]
    fn fields_are_replaced_and_made() {
        for (before, path, after) in [
            (json!({"a": 1}), "a", json!({"a": 9})),
            (json!({}), "a.b.c", json!({"a": {"b": {"c": 9}}})),
            (json!({"a": ["x"]}), "a[0]", json!({"a": [9]})),
            (json!({"a": ["x"]}), "a[1]", json!({"a": ["x", 9]})),
            (json!({}), "a[0].b[0][0]", json!({"a": [{"b": [[9]]}]})),
            (json!({"a": {"b": 1, "c": 2}}), "a.b", json!({"a": {"b": 9, "c": 2}})),
        ] {
            assert_eq!(set(before, path, json!(9)), Ok(after), "{path}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for bad in ["", ".a", "a.", "a[", "a[]", "a[x]", "a[0", "a[0]b", "[0]", "a[1000]", "a[-1]", &"a.".repeat(40)] {
            assert!(bad.parse::<FieldPath>().is_err(), "{bad}");
        }
        assert_eq!(set(json!({"a": 1}), "a.b", json!(9)), Err(FieldError::NotAContainer("a.b".into())));
        assert_eq!(set(json!({"a": {}}), "a[0]", json!(9)), Err(FieldError::NotAContainer("a[0]".into())));
        assert_eq!(set(json!({"a": []}), "a[2]", json!(9)), Err(FieldError::Gap("a[2]".into())));
    }

    proptest! {
        #[test]
        fn any_text_may_be_given(path: String, shaped in "[a-c.\\[\\]0-9]{0,12}") {
            for path in [path, shaped] {
                if let Ok(read) = path.parse::<FieldPath>() {
                    prop_assert_eq!(read.to_string().parse::<FieldPath>(), Ok(read.clone()));
                    // Into nothing it always fits unless it leaves a gap, and what was set is there.
                    let mut payload = Value::Null;
                    match read.set(&mut payload, json!("set")) {
                        Ok(()) => prop_assert!(payload.to_string().contains("\"set\"")),
                        Err(e) => prop_assert!(matches!(e, FieldError::Gap(_))),
                    }
                }
            }
        }
    }
}
