//! Keys: the BLAKE3 of a request in canonical JSON.

use serde_json::Value;
use std::fmt::Write;

/// The key of a request, in hex.
pub fn key(request: &Value) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("lyceum request v1");
    hasher.update(canonical(request).as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// The value as text that equal values share: keys sorted, no space, fields that are null left out, so that a new
/// optional parameter does not change the keys of requests that do not use it.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().filter(|(_, v)| !v.is_null()).collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (i, (name, field)) in fields.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_scalar(out, &Value::String(name.clone()));
                out.push(':');
                write_value(out, field);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        scalar => write_scalar(out, scalar),
    }
}

fn write_scalar(out: &mut String, value: &Value) {
    write!(out, "{value}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_and_null_fields_do_not_matter_but_values_do() {
        let one = json!({ "b": [1, null, 2.5], "a": { "x": "é\"", "y": null } });
        let other = json!({ "a": { "x": "é\"" }, "b": [1, null, 2.5], "new": null });
        assert_eq!(canonical(&one), r#"{"a":{"x":"é\""},"b":[1,null,2.5]}"#);
        assert_eq!(key(&one), key(&other));
        assert_ne!(key(&one), key(&json!({ "a": { "x": "é\"" }, "b": [1, 2.5] })));
    }

    #[test]
    fn the_key_of_a_request_stays_what_it_is() {
        // Changing this number makes every stored artifact of every user unreachable.
        let request =
            json!({ "component": "corpus.text", "version": 1, "params": { "files": [{ "file": "00" }] } });
        assert_eq!(key(&request).len(), 64);
        assert_eq!(&key(&request)[..16], "9c9b977b34d0b83c");
    }
}
