//! What a step asks for, in the form that its key is the hash of.

use crate::spec::Step;
use crate::store::FileHashes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// Builds the request of a step: component, version, parameters with every reference replaced by the artifact's location
/// and every file by its content's hash, and precision and seed where the component uses them.
///
/// # Errors
/// The file that cannot be read, and why.
pub(super) fn request(
    step: &Step,
    locations: &BTreeMap<String, String>,
    hashes: &mut FileHashes,
    assume: bool,
) -> Result<Value, (PathBuf, io::Error)> {
    let mut params = step.params.clone();
    if let Some(params) = params.as_object_mut() {
        // How often checkpoints are made or what the user expects of files is not what was asked for.
        for field in &step.runtime {
            params.remove(field);
        }
    }
    for reference in &step.references {
        let location = locations.get(&reference.text).cloned().unwrap_or_default();
        let mut artifact = Map::from_iter([("artifact".to_owned(), Value::String(location))]);
        if reference.many {
            // Where several are taken, their names become names of rows.
            artifact.insert("label".to_owned(), reference.text.trim_start_matches('@').into());
        }
        if let Some(place) = params.pointer_mut(&reference.pointer) {
            *place = Value::Object(artifact);
        }
    }
    for file in &step.files {
        let hash = match hashes.hash(&file.path) {
            Ok(hash) => hash,
            Err(_) if assume => "missing".to_owned(),
            Err(error) => return Err((file.path.clone(), error)),
        };
        let Some(place) = params.pointer_mut(&file.pointer) else {
            continue;
        };
        match &file.member {
            None => *place = json!({ "file": hash }),
            Some(name) => {
                if !place.is_object() {
                    *place = json!({});
                }
                place[name] = hash.into();
            }
        }
    }
    let component = step.component;
    Ok(json!({
        "component": component.name,
        "version": component.version,
        "params": params,
        "precision": component.numeric.then_some(step.precision),
        "seed": step.seed,
    }))
}
