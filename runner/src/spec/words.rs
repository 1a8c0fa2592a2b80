//! Schemas and values in the words of those who write TOML.

use jsonschema::error::TypeKind;
use serde_json::Value;

/// Keys that a form knows.
pub(super) fn properties(form: &Value) -> Vec<&str> {
    form.get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect()
}

/// Names as choices.
pub(super) fn any_of(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" | ")
}

/// A value as text, cut where it is long.
pub(super) fn show(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        text
    } else {
        text.chars().take(57).chain("...".chars()).collect()
    }
}

/// A type in TOML's words.
pub(super) fn wanted(kind: &TypeKind) -> String {
    let name = |kind: &dyn std::fmt::Display| match kind.to_string().as_str() {
        "object" => "a table".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "string" => "a string".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    };
    match kind {
        TypeKind::Single(kind) => name(kind),
        TypeKind::Multiple(kinds) => kinds
            .iter()
            .map(|kind| name(&kind))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

/// The type of a value in TOML's words.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "a table",
        Value::Array(_) => "a list",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a string",
        Value::Bool(_) => "a truth value",
        Value::Null => "nothing",
    }
}
