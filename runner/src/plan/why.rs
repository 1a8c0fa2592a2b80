//! Why a step is new: what differs from the nearest thing that was asked before.

use serde_json::Value;
use std::collections::BTreeSet;

/// The differences from the earlier request that differs least; none if there is no earlier request.
pub(super) fn why<'a>(request: &Value, earlier: impl IntoIterator<Item = &'a Value>) -> Option<Vec<String>> {
    let all = earlier.into_iter().map(|earlier| differences(earlier, request));
    all.min_by_key(Vec::len)
}

fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(old, new, "", &mut found);
    found
}

fn walk(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    if old == new {
        return;
    }
    let name = path.strip_prefix("params.").unwrap_or(path);
    let has = |value: &Value, key: &str| value.get(key).is_some();
    match (old, new) {
        _ if has(old, "artifact") && has(new, "artifact") => found.push(format!("input `{name}`")),
        _ if has(old, "file") && has(new, "file") => found.push(format!("contents of `{name}`")),
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let inner = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let get = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                walk(&get(one), &get(other), &inner, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (i, (one, other)) in one.iter().zip(other).enumerate() {
                walk(one, other, &format!("{path}[{i}]"), found);
            }
        }
        (old, new) => found.push(format!("`{name}`: {} → {}", show(old), show(new))),
    }
}

fn show(value: &Value) -> String {
    let text = if value.is_null() {
        "unset".to_owned()
    } else {
        value.to_string()
    };
    if text.chars().count() <= 40 {
        text
    } else {
        text.chars().take(37).chain("...".chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_nearest_request_is_compared_field_by_field() {
        let new = json!({ "params": { "optim": { "lr": 0.002 }, "data": { "artifact": "t/b" } }, "seed": 1 });
        let far = json!({ "params": { "optim": { "lr": 0.1 }, "data": { "artifact": "t/a" } }, "seed": 2 });
        let near =
            json!({ "params": { "optim": { "lr": 0.001 }, "data": { "artifact": "t/b" } }, "seed": 1 });
        assert_eq!(why(&new, [&far, &near]).unwrap(), ["`optim.lr`: 0.001 → 0.002"]);
        assert_eq!(why(&new, [&far]).unwrap().len(), 3);
        assert_eq!(why(&new, []), None);
    }

    #[test]
    fn inputs_and_files_are_named_and_not_shown_as_hashes() {
        let old = json!({ "params": { "files": [{ "file": "00" }], "data": { "artifact": "a" } } });
        let new = json!({ "params": { "files": [{ "file": "01" }], "data": { "artifact": "b" } } });
        assert_eq!(
            why(&new, [&old]).unwrap(),
            ["input `data`", "contents of `files[0]`"]
        );
    }
}
