//! Schemas as TOML can meet them.

use serde_json::Value;

/// Removes `null` from a schema: TOML has none, and an optional field is one that is left out.
pub fn simplify(schema: &mut Value) {
    let is_null = |value: &Value| value.get("type").is_some_and(|kind| kind == "null");
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if kinds.len() == 1 {
                    let only = kinds.remove(0);
                    object.insert("type".into(), only);
                }
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            for keyword in ["anyOf", "oneOf"] {
                if let Some(Value::Array(branches)) = object.get_mut(keyword) {
                    branches.retain(|branch| !is_null(branch));
                    if branches.len() == 1
                        && let Value::Object(only) = branches.remove(0)
                    {
                        object.remove(keyword);
                        for (key, value) in only {
                            object.entry(key).or_insert(value);
                        }
                    }
                }
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(values) => values.iter_mut().for_each(simplify),
        _ => {}
    }
}
