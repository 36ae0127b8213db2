//! Values checked by the schemas of the OpenAPI file. Stricter than JSON Schema: an object has no members that are not described, and a keyword
//! that is not understood here is a failure, so that nothing stands in the file unchecked.

use serde_json::Value;

/// Says where a value is not what its schema says.
pub fn check(file: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    fits(file, schema, value, "$")
}

fn fits(file: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |why: String| Err(format!("{at}: {why}: {}", value.to_string().chars().take(200).collect::<String>()));
    let keywords = schema.as_object().unwrap_or_else(|| panic!("{at}: a schema that is no object"));
    for (keyword, wanted) in keywords {
        match keyword.as_str() {
            "description" | "default" | "format" | "properties" => {}
            "$ref" => fits(file, resolve(file, wanted.as_str().unwrap()), value, at)?,
            "type" => {
                let types: Vec<&str> = match wanted {
                    Value::Array(all) => all.iter().map(|t| t.as_str().unwrap()).collect(),
                    one => vec![one.as_str().unwrap()],
                };
                if !types.iter().any(|t| is(t, value)) {
                    return wrong(format!("not {types:?}"));
                }
            }
            "enum" => {
                if !wanted.as_array().unwrap().contains(value) {
                    return wrong("not one of the enumeration".into());
                }
            }
            "required" => {
                if let Some(object) = value.as_object()
                    && let Some(absent) =
                        wanted.as_array().unwrap().iter().find(|n| !object.contains_key(n.as_str().unwrap()))
                {
                    return wrong(format!("{absent} is absent"));
                }
            }
            "additionalProperties" => assert_eq!(wanted, false, "{at}"),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits(file, wanted, item, &format!("{at}[{i}]"))?;
                }
            }
            "minItems" | "maxItems" => {
                let n = value.as_array().map_or(0, Vec::len) as u64;
                let bound = wanted.as_u64().unwrap();
                if value.is_array() && (if keyword == "minItems" { n < bound } else { n > bound }) {
                    return wrong(format!("{keyword} is {bound}"));
                }
            }
            "minimum" | "maximum" => {
                let (n, bound) = (value.as_f64(), wanted.as_f64().unwrap());
                if n.is_some_and(|n| if keyword == "minimum" { n < bound } else { n > bound }) {
                    return wrong(format!("{keyword} is {bound}"));
                }
            }
            "minLength" => {
                if value.as_str().is_some_and(|s| (s.chars().count() as u64) < wanted.as_u64().unwrap()) {
                    return wrong("too short".into());
                }
            }
            "maxLength" => {
                if value.as_str().is_some_and(|s| s.chars().count() as u64 > wanted.as_u64().unwrap()) {
                    return wrong("too long".into());
                }
            }
            "oneOf" => {
                let all = wanted.as_array().unwrap();
                let fitting: Vec<_> = all.iter().map(|s| fits(file, s, value, at)).collect();
                if fitting.iter().filter(|f| f.is_ok()).count() != 1 {
                    return wrong(format!("not exactly one of these: {fitting:?}"));
                }
            }
            other => panic!("{at}: {other} is not checked by this test"),
        }
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema.get("properties")) {
        for (name, value) in object {
            match properties.get(name) {
                Some(schema) => fits(file, schema, value, &format!("{at}.{name}"))?,
                None => return wrong(format!("{name} is not described")),
            }
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}

/// What a reference within the file stands for.
pub fn resolve<'a>(file: &'a Value, reference: &str) -> &'a Value {
    let found = file.pointer(reference.strip_prefix('#').unwrap());
    found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}
