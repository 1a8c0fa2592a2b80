//! Configurations with one key damaged: each loads or is refused, without a panic and without much memory.

use super::fixture::{all, host, ids, read_json};
use lyceum_components::inference::LanguageModel;
use lyceum_components::{Device, Precision};
use lyceum_tests::Noting;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// No checkpoint here has more than 300 kB; what threads and products need for themselves is far below this.
const MOST: usize = 8 << 20;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// What may stand where something else should.
fn strangers() -> Vec<Value> {
    vec![
        Value::Null,
        json!(-1),
        json!(0),
        json!(1),
        json!(3),
        json!(1_000_000),
        json!(u64::MAX),
        json!(1e300),
        json!(-0.5),
        json!(true),
        json!(false),
        json!("no such thing"),
        json!("yarn"),
        json!([]),
        json!([1, "full_attention"]),
        json!({"rope_type": "linear", "factor": 1e-300}),
    ]
}

/// Every copy of a table with one key gone or its value another, tables inside it too, each with what was done.
fn damages(table: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (key, value) in table {
        let mut without = table.clone();
        without.remove(key);
        all.push((format!("without {key}"), Value::Object(without)));
        let mut put = |what: String, value: Value| {
            let mut with = table.clone();
            with.insert(key.clone(), value);
            all.push((format!("{key}: {what}"), Value::Object(with)));
        };
        for stranger in strangers() {
            put(stranger.to_string(), stranger);
        }
        for (what, inner) in value.as_object().map(damages).unwrap_or_default() {
            put(what, inner);
        }
    }
    all
}

/// A copy of a checkpoint.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[test]
fn damaged_configurations_load_or_are_refused() {
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for fixture in all() {
        let lab = tempfile::tempdir().expect("a folder");
        copy(&fixture.folder, lab.path());
        let file = lab.path().join("config.json");
        let Value::Object(sound) = read_json(&file) else {
            panic!("config.json is a table")
        };
        for (what, json) in damages(&sound) {
            let what = format!("{}, {what}", fixture.name);
            std::fs::write(&file, json.to_string()).expect("written");
            let code = match LanguageModel::open_folder(lab.path(), &Device::flex(), Precision::F32) {
                Ok(model) => {
                    host(model.loaded.decoder.hidden(ids(&fixture.rows[2..])));
                    "loads".to_owned()
                }
                Err(error) => {
                    assert!(
                        error.to_string().contains("config.json") || error.to_string().contains("model"),
                        "{what}: {error}"
                    );
                    error.code().to_owned()
                }
            };
            *codes.entry(code).or_default() += 1;
            let largest = Noting::largest();
            assert!(largest < MOST, "{what}: {largest} bytes at once");
        }
    }
    for code in [
        "loads",
        "bad_config",
        "unsupported_config",
        "unsupported_model",
        "bad_shape",
        "missing_tensor",
    ] {
        assert!(codes.contains_key(code), "{code} never came: {codes:?}");
    }
}
