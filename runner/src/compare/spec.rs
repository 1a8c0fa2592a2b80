//! Resolved experiments key by key.

use crate::report::ReportError;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpecRow {
    /// Its dotted path.
    pub path: String,
    /// Its value in every run; none where it is not set.
    pub values: Vec<Option<Value>>,
}

/// Every value of a resolved experiment by its path.
pub(super) fn read(file: &Path) -> Result<BTreeMap<String, Value>, ReportError> {
    let failed = |message: String| ReportError::File {
        path: file.to_path_buf(),
        message,
    };
    let text = std::fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
    let spec: Value = toml::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let mut all = BTreeMap::new();
    flatten("", &spec, &mut all);
    Ok(all)
}

fn flatten(path: &str, value: &Value, all: &mut BTreeMap<String, Value>) {
    let below = |key: &str| {
        let key = if key.contains('.') {
            format!("\"{key}\"")
        } else {
            key.to_owned()
        };
        if path.is_empty() {
            key
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                flatten(&below(key), value, all);
            }
        }
        // Tables in a list are told apart by name, as claims are, so that a new one shifts no other.
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
                let key = name.unwrap_or_else(|| i.to_string());
                flatten(&format!("{path}[{key}]"), item, all);
            }
        }
        value => {
            all.insert(path.to_owned(), value.clone());
        }
    }
}

/// The keys that are not the same everywhere.
pub(super) fn rows(specs: &[BTreeMap<String, Value>]) -> Vec<SpecRow> {
    let mut paths: Vec<&String> = specs.iter().flat_map(BTreeMap::keys).collect();
    paths.sort();
    paths.dedup();
    let row = |path: &String| SpecRow {
        path: path.clone(),
        values: specs.iter().map(|spec| spec.get(path).cloned()).collect(),
    };
    let differs = |row: &SpecRow| row.values.iter().any(|value| *value != row.values[0]);
    paths.into_iter().map(row).filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flat(value: &Value) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        flatten("", value, &mut all);
        all
    }

    #[test]
    fn keys_are_compared_and_not_lines() {
        let one = flat(&json!({ "a": { "b": 1, "c": [1, 2] }, "claims": [{ "name": "x", "metric": "m" }] }));
        let other = flat(&json!({
            "claims": [{ "name": "new", "metric": "n" }, { "metric": "m", "name": "x" }],
            "a": { "c": [1, 3], "b": 1 },
        }));
        let found: Vec<_> = rows(&[one, other])
            .into_iter()
            .map(|row| (row.path, row.values))
            .collect();
        let expected = [
            ("a.c", vec![Some(json!([1, 2])), Some(json!([1, 3]))]),
            ("claims[new].metric", vec![None, Some(json!("n"))]),
            ("claims[new].name", vec![None, Some(json!("new"))]),
        ];
        assert_eq!(found, expected.map(|(path, values)| (path.to_owned(), values)));
    }
}
