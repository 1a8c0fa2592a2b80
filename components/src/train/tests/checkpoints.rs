//! Checkpoints that are damaged, or another model's.

use super::*;
use crate::model::{Flat, write_flat};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::path::Path;

fn more() -> Value {
    json!({ "optim": { "budget": { "steps": 12 } } })
}

/// Interrupts a training, and gives its checkpoint.
fn interrupted(bench: &Bench, step: &str) -> PathBuf {
    let (outcome, _) = watched(bench, step, 7, more());
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    bench.context(step).scratch.join("checkpoint-7")
}

/// Changes the tensors of a file.
fn change(file: &Path, change: impl FnOnce(&mut BTreeMap<String, TensorData>)) {
    let mut tensors = read_tensors(file).expect("reads");
    change(&mut tensors);
    let flat = |data: TensorData| match data.shape().len() {
        1 => Flat::of(Tensor::<1>::from_data(data, &Device::flex())),
        _ => Flat::of(Tensor::<2>::from_data(data, &Device::flex())),
    };
    let tensors = tensors.into_iter().map(|(name, data)| (name, flat(data)));
    let tensors: BTreeMap<String, Flat> = tensors.collect();
    write_flat(file, &tensors).expect("writes");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_told_and_kept() {
    const QKV: &str = "layers.0.qkv";
    type Change = fn(&mut BTreeMap<String, TensorData>);
    let cases: [(&str, Change, &str); 6] = [
        (
            "optimizer",
            |tensors| drop(tensors.insert(format!("{QKV}.second"), TensorData::from([0.0_f32; 3]))),
            "it has moments of shape [3] for the 512 elements of `layers.0.qkv`",
        ),
        (
            "optimizer",
            |tensors| {
                let square = TensorData::new(vec![0.0_f32; 512], [16, 32]);
                drop(tensors.insert(format!("{QKV}.first"), square));
            },
            "it has moments of shape [16, 32] for the 512 elements of `layers.0.qkv`",
        ),
        (
            "optimizer",
            |tensors| drop(tensors.remove("layers.0.qkv.first")),
            "it has only one moment of `layers.0.qkv`",
        ),
        (
            "optimizer",
            |tensors| drop(tensors.insert("layers.2.qkv.first".into(), TensorData::from([0.0_f32; 512]))),
            "it has moments `layers.2.qkv.first` of no parameter of the model",
        ),
        (
            "model",
            |tensors| drop(tensors.insert("layers.2.down".into(), TensorData::from([[0.0_f32; 16]]))),
            "it has weights `layers.2.down`, which the model does not have",
        ),
        (
            "model",
            |tensors| drop(tensors.insert(QKV.into(), TensorData::from([[0.0_f32; 16]]))),
            "it has no weights that fit `layers.0.qkv`",
        ),
    ];
    let bench = bench();
    for (i, (file, damage, message)) in cases.into_iter().enumerate() {
        let step = format!("step{i}");
        let checkpoint = interrupted(&bench, &step);
        change(&checkpoint.join(format!("{file}.safetensors")), damage);
        let error = fails(&bench, &step, more());
        assert_eq!(error.code(), "bad_checkpoint", "{error}");
        let text = error.to_string();
        assert!(text.contains(message) && text.contains("checkpoint-7"), "{text}");
        assert!(checkpoint.exists());
    }
}

#[test]
fn a_torn_checkpoint_is_told() {
    let bench = bench();
    let undisturbed = train(&bench, "undisturbed", more());
    let checkpoint = interrupted(&bench, "torn");
    let file = checkpoint.join("optimizer.safetensors");
    let bytes = std::fs::read(&file).expect("reads");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("writes");
    assert_eq!(fails(&bench, "torn", more()).code(), "bad_safetensors");
    // The bytes as they were: it goes on.
    change(&checkpoint.join("model.safetensors"), |_| ());
    std::fs::write(&file, bytes).expect("writes");
    let resumed = train(&bench, "torn", more());
    assert_eq!(resumed.header.fingerprint, undisturbed.header.fingerprint);
}
