//! JSON as minijinja values.

use minijinja::Value as Template;
use serde_json::Value;

/// The same data as a template sees it. Missing values become `none`, not undefined.
pub(crate) fn from_json(value: &Value) -> Template {
    match value {
        Value::Null => Template::from(()),
        Value::Bool(truth) => Template::from(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Template::from(number),
            (None, Some(number)) => Template::from(number),
            (None, None) => Template::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Template::from(text.as_str()),
        Value::Array(values) => Template::from(values.iter().map(from_json).collect::<Vec<_>>()),
        Value::Object(object) => {
            Template::from_pairs(object.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}
