//! `lyceum export`: plain files that other programs read.

use super::{finished, lab};
use lyceum_tests::{Lab, list};
use polars::prelude::{CsvReader, JsonReader, ParquetReader, SerReader};
use std::fs::{self, File};
use std::path::Path;

fn out(lab: &Lab, name: &str) -> std::path::PathBuf {
    lab.path(&format!("out/{name}"))
}

#[test]
fn a_model_is_a_folder_in_hugging_faces_layout() {
    let lab = finished();
    let ended = lab
        .lyceum(&["export", "model[fast]", "--to", "out/model"])
        .exits(0);
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        ("out/model\n", "")
    );
    let files = [
        "config.json",
        "metrics.parquet",
        "model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(list(&out(lab, "model")), files);
    let stored = lab.path(".lyceum/runs/latest/steps/model[fast]");
    for file in files {
        let same = fs::read(stored.join(file)).expect("stored")
            == fs::read(out(lab, "model").join(file)).expect("out");
        assert!(same, "{file}");
    }

    lab.lyceum(&["export", "model", "--to", "out/both"]).exits(0);
    assert_eq!(list(&out(lab, "both")), ["model[fast]", "model[slow]"]);
    lab.lyceum(&["export", "tokens.valid", "--to", "out/valid"])
        .exits(0);
    assert!(out(lab, "valid").join("tokens.bin").is_file());
    lab.lyceum(&["export", "tokens", "--to", "out/tokens"]).exits(0);
    assert_eq!(list(&out(lab, "tokens")), ["train", "valid"]);
}

#[test]
fn a_table_has_the_same_rows_in_every_form() {
    let lab = finished();
    for form in ["parquet", "csv", "json"] {
        let to = format!("out/{form}");
        lab.lyceum(&["export", "quality", "--to", &to, "--as", form])
            .exits(0);
        let files = [format!("instances.{form}"), format!("table.{form}")];
        assert_eq!(list(&lab.path(&to)), files);
    }
    let open = |name: &str| File::open(out(lab, name)).expect("a file");
    let stored = ParquetReader::new(open("parquet/table.parquet"))
        .finish()
        .expect("Parquet");
    let csv = CsvReader::new(open("csv/table.csv")).finish().expect("CSV");
    let json = JsonReader::new(open("json/table.json")).finish().expect("JSON");
    for other in [csv, json] {
        assert_eq!(other.get_column_names(), stored.get_column_names());
        let values = |frame: &polars::prelude::DataFrame| {
            let column = frame.column("value").expect("values");
            column.f64().expect("numbers").to_vec()
        };
        assert_eq!(values(&other), values(&stored));
    }
}

#[test]
fn a_whole_run_is_its_report_its_tables_and_its_models() {
    let lab = finished();
    lab.lyceum(&["export", "latest", "--to", "out/run", "--as", "csv"])
        .exits(0);
    let run = out(lab, "run");
    assert_eq!(
        list(&run),
        [
            "plots",
            "report.md",
            "resolved.toml",
            "run.json",
            "steps",
            "verdicts.csv"
        ]
    );
    assert_eq!(
        list(&run.join("steps")),
        ["model[fast]", "model[slow]", "quality"]
    );
    assert!(run.join("steps/quality/table.csv").is_file());
    assert_eq!(list(&run.join("plots")), ["loss-model.svg"]);
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let ended = lab.lyceum(&["export", "nothing", "--to", "out"]).exits(2);
    ended.says(&["no step `nothing`", "`model[slow]`"]);
    assert!(!lab.path("out").exists());
    lab.write("full/mine.txt", "mine");
    lab.lyceum(&["export", "quality", "--to", "full"])
        .exits(2)
        .says(&["--force"]);
    assert_eq!(list(&lab.path("full")), ["mine.txt"]);
    lab.lyceum(&["export", "quality", "--to", "full", "--force"])
        .exits(0);
    assert_eq!(list(&lab.path("full")).len(), 3);
    lab.lyceum(&["export", "tokens.none", "--to", "o"])
        .exits(3)
        .says(&["unknown_output", "train"]);
    lab.lyceum(&["export", "bpe", "--to", "p", "--as", "tensorboard"])
        .exits(3)
        .says(&["no_curve"]);

    // A changed bit is found on the way, and not passed on.
    let model = lab.path(".lyceum/runs/latest/steps/model[fast]/model.safetensors");
    let mut bytes = fs::read(&model).expect("a model");
    bytes[1000] ^= 1;
    fs::write(&model, bytes).expect("written");
    lab.lyceum(&["export", "model[fast]", "--to", "m"])
        .exits(3)
        .says(&["damaged_artifact", "verify --remove"]);
    assert!(!lab.path("m/model.safetensors").exists());
}

/// The scalars of the one event file in a folder: `(tag, step, value)`. Reads what the format says and nothing of ours:
/// TFRecord framing, then protocol buffers field by field.
fn scalars(folder: &Path) -> Vec<(String, u64, f32)> {
    let names = list(folder);
    assert!(
        names.len() == 1 && names[0].starts_with("events.out.tfevents."),
        "{names:?}"
    );
    let bytes = fs::read(folder.join(&names[0])).expect("events");
    let (mut at, mut all, mut version) = (0, Vec::new(), None);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) as usize;
        let content = &bytes[at + 12..at + 12 + length];
        for (data, crc) in [(&bytes[at..at + 8], at + 8), (content, at + 12 + length)] {
            let stored = u32::from_le_bytes(bytes[crc..crc + 4].try_into().expect("4 bytes"));
            assert_eq!(stored, masked_crc(data));
        }
        let (mut step, mut found) = (0, None);
        for (field, number, inside) in fields(content) {
            match field {
                1 => assert!(f64::from_bits(number) > 1.7e9, "seconds since 1970"),
                2 => step = number,
                3 => version = Some(inside),
                5 => {
                    let (_, _, value) = fields(&inside).remove(0);
                    let parts = fields(&value);
                    let tag = String::from_utf8(parts[0].2.clone()).expect("text");
                    found = Some((tag, f32::from_bits(parts[1].1 as u32)));
                }
                other => panic!("field {other}"),
            }
        }
        all.extend(found.map(|(tag, value)| (tag, step, value)));
        at += length + 16;
    }
    assert_eq!(version.expect("a first event"), b"brain.Event:2");
    all
}

/// CRC-32C bit by bit, masked.
fn masked_crc(data: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `(field, number, bytes)` of a message.
fn fields(mut message: &[u8]) -> Vec<(u8, u64, Vec<u8>)> {
    let mut all = Vec::new();
    while let [key, rest @ ..] = message {
        let take = |count: usize| {
            let mut wide = [0; 8];
            wide[..count].copy_from_slice(&rest[..count]);
            (u64::from_le_bytes(wide), count)
        };
        let varint = || {
            let count = rest.iter().position(|byte| byte & 0x80 == 0).expect("an end") + 1;
            let value = rest[..count]
                .iter()
                .rev()
                .fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
            (value, count)
        };
        let (number, used, inside) = match key & 7 {
            0 => (varint().0, varint().1, Vec::new()),
            1 => (take(8).0, 8, Vec::new()),
            2 => {
                let (length, count) = varint();
                let end = count + length as usize;
                (0, end, rest[count..end].to_vec())
            }
            5 => (take(4).0, 4, Vec::new()),
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, number, inside));
        message = &rest[used..];
    }
    all
}

#[test]
fn training_curves_are_event_files_live_and_exported() {
    let lab = lab();
    let plan = |more: &[&str]| {
        let arguments = [&["plan", "small.toml", "--format", "json"], more].concat();
        lab.lyceum(&arguments).exits(0).json()
    };
    let on = ["--set", "runtime.tensorboard=true"];
    assert_eq!(
        plan(&on)["steps"][3]["key"],
        plan(&[])["steps"][3]["key"],
        "never part of a key"
    );
    lab.lyceum(&[&["run", "small.toml"], &on[..]].concat()).exits(0);
    let live = lab.path(".lyceum/runs/latest/tensorboard");
    assert_eq!(list(&live), ["model[fast]", "model[slow]"]);
    lab.lyceum(&["export", "latest", "--as", "tensorboard", "--to", "events"])
        .exits(0);
    for model in ["model[fast]", "model[slow]"] {
        let points = scalars(&live.join(model));
        assert_eq!(points, scalars(&lab.path("events").join(model)));
        let of = |tag: &str| points.iter().filter(|point| point.0 == tag).count();
        assert_eq!(
            (
                of("train/loss"),
                of("train/lr"),
                of("train/grad_norm"),
                of("valid/loss")
            ),
            (12, 12, 12, 2)
        );
        let last = points.last().expect("points");
        assert_eq!((last.0.as_str(), last.1), ("valid/loss", 12));
        let file = File::open(
            lab.path(".lyceum/runs/latest/steps")
                .join(model)
                .join("metrics.parquet"),
        );
        let stored = ParquetReader::new(file.expect("a curve"))
            .finish()
            .expect("Parquet");
        let values = stored
            .column("value")
            .expect("values")
            .f64()
            .expect("numbers")
            .to_vec();
        let same = values
            .iter()
            .zip(&points)
            .all(|(a, b)| a.expect("a number") as f32 == b.2);
        assert!(values.len() == points.len() && same);
    }
    lab.lyceum(&["run", "small.toml", "--set", "steps.bpe.vocab_size=290"])
        .exits(0);
    assert!(
        !lab.path(".lyceum/runs/latest/tensorboard").exists(),
        "only when asked for"
    );
}
