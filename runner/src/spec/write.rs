//! The resolved experiment as TOML: layers merged, defaults filled in, paths absolute. It runs as it is.

use super::resolved::Resolved;
use serde_json::{Map, Value};

/// Writes the resolved experiment.
pub fn to_toml(resolved: &Resolved) -> String {
    let mut whole = Map::new();
    let section = |value: Result<Value, serde_json::Error>| value.expect("sections are plain data");
    whole.insert(
        "experiment".into(),
        section(serde_json::to_value(&resolved.experiment)),
    );
    whole.insert("runtime".into(), section(serde_json::to_value(&resolved.runtime)));
    let mut steps = steps(resolved);
    let matrices = matrices(&mut steps);
    whole.insert("steps".into(), steps);
    if !resolved.claims.is_empty() {
        whole.insert("claims".into(), section(serde_json::to_value(&resolved.claims)));
    }
    if let Some(sweep) = &resolved.sweep {
        whole.insert("sweep".into(), section(serde_json::to_value(sweep)));
    }
    whole.insert("report".into(), section(serde_json::to_value(&resolved.report)));
    let text = toml::to_string_pretty(&Value::Object(whole));
    text.expect("a spec read from TOML can be written as TOML") + &matrices
}

/// Takes the matrices out of the steps and writes them, one line an axis: TOML's writer puts tables last, and the order of
/// the axes is the order of the names of variants.
fn matrices(steps: &mut Value) -> String {
    let mut text = String::new();
    for (step, written) in steps.as_object_mut().into_iter().flatten() {
        let matrix = written.as_object_mut().and_then(|table| table.remove("matrix"));
        let Some(Value::Object(axes)) = matrix else {
            continue;
        };
        text.push_str(&format!("\n[steps.{step}.matrix]\n"));
        for (key, values) in &axes {
            let values =
                toml::Value::try_from(values).expect("a matrix read from TOML can be written as TOML");
            text.push_str(&format!("{} = {values}\n", Value::from(key.as_str())));
        }
    }
    text
}

/// Every step as written, with the defaults of what neither it nor its matrix sets.
fn steps(resolved: &Resolved) -> Value {
    let mut all = resolved
        .merged
        .get("steps")
        .cloned()
        .unwrap_or_else(|| Value::Object(Map::new()));
    for (name, written) in all.as_object_mut().into_iter().flatten() {
        let Some(step) = resolved.steps.iter().find(|step| step.name == *name) else {
            continue;
        };
        let axes: Vec<String> = written
            .get("matrix")
            .and_then(Value::as_object)
            .map(|matrix| {
                matrix
                    .keys()
                    .map(|key| key.split('.').next().unwrap_or(key).to_owned())
                    .collect()
            })
            .unwrap_or_default();
        if let (Some(written), Some(full)) = (written.as_object_mut(), step.params.as_object()) {
            for (key, value) in full.iter().filter(|(key, _)| !axes.contains(key)) {
                match written.get_mut(key) {
                    Some(present) => fill(present, value),
                    None if value.is_null() => {}
                    None => {
                        written.insert(key.clone(), without_nulls(value));
                    }
                }
            }
        }
        for file in resolved
            .steps
            .iter()
            .filter(|step| step.name == *name)
            .flat_map(|step| &step.files)
        {
            // A folder is named by its files.
            let folder = file.member.as_ref().and_then(|_| file.path.parent());
            replace(
                written,
                &file.written,
                &folder.unwrap_or(&file.path).to_string_lossy(),
            );
        }
    }
    all
}

/// Adds to a written table what the full one has besides.
fn fill(written: &mut Value, full: &Value) {
    if let (Some(written), Some(full)) = (written.as_object_mut(), full.as_object()) {
        for (key, value) in full.iter().filter(|(_, value)| !value.is_null()) {
            match written.get_mut(key) {
                Some(present) => fill(present, value),
                None => {
                    written.insert(key.clone(), without_nulls(value));
                }
            }
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(key, value)| (key.clone(), without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Replaces every string equal to `from`.
fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Object(object) => object.values_mut().for_each(|value| replace(value, from, to)),
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, from, to)),
        _ => {}
    }
}
