//! The checkpoints of `tests/golden/models` and what transformers makes of them.

use burn::tensor::{Int, Tensor, TensorData};
use lyceum_components::inference::LanguageModel;
use lyceum_components::{Device, Precision};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checkpoint with what is expected of it.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) texts: Vec<String>,
    /// Token ids of the texts.
    pub(crate) rows: Vec<Vec<u32>>,
    pub(crate) greedy: Vec<Vec<u32>>,
    /// Of all rows, one after another, `[n, v]`.
    pub(crate) logits: Vec<f64>,
    /// Mean of the final hidden states of each row, `[rows, d]`.
    pub(crate) mean: Vec<f64>,
    /// The last final hidden state of each row, `[rows, d]`.
    pub(crate) last: Vec<f64>,
}

/// Where the checkpoints are.
pub(crate) fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/models")
}

/// Every checkpoint, by name.
pub(crate) fn all() -> Vec<Fixture> {
    let entries = std::fs::read_dir(models()).expect("the fixtures").flatten();
    let mut fixtures: Vec<_> = entries.map(|entry| Fixture::open(&entry.path())).collect();
    fixtures.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(fixtures.len(), 18);
    fixtures
}

impl Fixture {
    fn open(folder: &Path) -> Self {
        let json: Value = read_json(&folder.join("expected.json"));
        let tensors = numbers(&folder.join("expected.safetensors"));
        let read = |key: &str| json[key].clone();
        let ids = |key| serde_json::from_value(read(key)).expect("lists of ids");
        let tensor = |name: &str| tensors[name].1.clone();
        Self {
            name: folder.file_name().expect("a name").to_string_lossy().into_owned(),
            folder: folder.to_path_buf(),
            texts: serde_json::from_value(read("texts")).expect("texts"),
            rows: ids("ids"),
            greedy: ids("greedy"),
            logits: tensor("logits"),
            mean: tensor("mean"),
            last: tensor("last"),
        }
    }

    pub(crate) fn load(&self, precision: Precision) -> LanguageModel {
        LanguageModel::open_folder(&self.folder, &Device::flex(), precision)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The stored weights by name, from one file or several.
    pub(crate) fn stored(&self) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
        stored(&self.folder)
    }

    /// Length of the longest row.
    pub(crate) fn longest(&self) -> usize {
        self.rows.iter().map(Vec::len).max().expect("rows")
    }
}

/// The weights in a folder by name: shapes and numbers.
pub(crate) fn stored(folder: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.starts_with("model") && path.extension().is_some_and(|end| end == "safetensors")
    });
    files.flat_map(|file| numbers(&file)).collect()
}

pub(crate) fn read_json(file: &Path) -> Value {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).expect("JSON")
}

/// The float tensors of a safetensors file, read here without the code under test.
fn numbers(file: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let json: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..header]).expect("a header");
    let tensor = |info: &Value| {
        let shape: Vec<usize> = serde_json::from_value(info["shape"].clone()).ok()?;
        let [from, to]: [usize; 2] = serde_json::from_value(info["data_offsets"].clone()).ok()?;
        let data = &bytes[header + from..header + to];
        let values = match info["dtype"].as_str()? {
            "F64" => data
                .chunks(8)
                .map(|x| f64::from_le_bytes(x.try_into().expect("eight")))
                .collect(),
            "F32" => data
                .chunks(4)
                .map(|x| f64::from(f32::from_le_bytes(x.try_into().expect("four"))))
                .collect(),
            "BF16" => data
                .chunks(2)
                .map(|x| f64::from(f32::from_le_bytes([0, 0, x[0], x[1]])))
                .collect(),
            "F16" => data
                .chunks(2)
                .map(|x| half(u16::from_le_bytes([x[0], x[1]])))
                .collect(),
            _ => return None,
        };
        Some((shape, values))
    };
    json.iter()
        .filter_map(|(name, info)| Some((name.clone(), tensor(info)?)))
        .collect()
}

/// A finite 16-bit float.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Ids `[b, t]`.
pub(crate) fn ids(rows: &[Vec<u32>]) -> Tensor<2, Int> {
    let flat: Vec<i64> = rows.concat().into_iter().map(i64::from).collect();
    Tensor::from_data(
        TensorData::new(flat, [rows.len(), rows[0].len()]),
        &Device::flex(),
    )
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data().convert::<f64>();
    data.try_into_vec().expect("converted to f64")
}

/// Fails, naming `what`, unless all of `found` is within `tolerance` of `expected`.
#[track_caller]
pub(crate) fn assert_within(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let differences = found.iter().zip(expected).map(|(x, y)| (x - y).abs());
    let largest = differences.fold(0.0, |largest: f64, difference| {
        if difference.is_nan() {
            f64::INFINITY
        } else {
            largest.max(difference)
        }
    });
    assert!(
        largest <= tolerance,
        "{what}: off by {largest:e}, at most {tolerance:e}"
    );
}
