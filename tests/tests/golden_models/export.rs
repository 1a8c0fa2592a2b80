//! Models written here: read again to the bit, and read by transformers.

use super::fixture::{all, assert_within, host, ids, models, read_json, stored};
use super::logits;
use burn::tensor::TensorData;
use lyceum_components::inference::LanguageModel;
use lyceum_components::model::{Decoder, Family, ModelConfig, ModelDetails, ModelSpec, save};
use lyceum_components::random::Stream;
use lyceum_components::{Device, Precision};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A model of a family with weights large enough that each of them counts.
fn fresh(family: Family) -> (ModelConfig, Decoder) {
    let spec = ModelSpec {
        family,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: None,
        intermediate_size: None,
        max_position_embeddings: 64,
        rope_theta: 1000.0,
        rms_norm_eps: 1e-6,
        tie_word_embeddings: family != Family::Mistral,
        initializer_range: 0.3,
    };
    let config = spec.config(300);
    let decoder = Decoder::init(
        &config,
        Precision::F32,
        &Stream::new(7, family.name()),
        &Device::flex(),
    );
    (config, decoder)
}

fn details(config: &ModelConfig, decoder: &Decoder) -> ModelDetails {
    assert_eq!(
        decoder
            .to_named(config)
            .values()
            .map(TensorData::num_elements)
            .sum::<usize>(),
        config.parameters()
    );
    ModelDetails {
        parameters: config.parameters() as u64,
        vocab_size: config.vocab_size,
        context: config.max_position_embeddings,
        tokenizer: String::new(),
        tokens_trained: 0,
        flops: 0.0,
        charged: [].into(),
        steps: 0,
        data: None,
        stopped: None,
    }
}

fn write(folder: &Path, config: &ModelConfig, decoder: &Decoder) {
    std::fs::create_dir(folder).expect("a new folder");
    save(
        folder,
        decoder,
        config,
        &details(config, decoder),
        &models().join("gpt2"),
    )
    .expect("written");
}

#[test]
fn an_export_holds_what_was_read_and_reads_the_same_again() {
    let lab = tempfile::tempdir().expect("a folder");
    for fixture in all() {
        for precision in [Precision::F32, Precision::F64] {
            let what = format!("{}, {precision:?}", fixture.name);
            let loaded = fixture.load(precision).loaded;
            let folder = lab.path().join(&what);
            write(&folder, &loaded.config, &loaded.decoder);
            let again = LanguageModel::open_folder(&folder, &Device::flex(), precision)
                .expect("reads again")
                .loaded;
            let (before, after) = (
                loaded.decoder.to_named(&loaded.config),
                again.decoder.to_named(&again.config),
            );
            assert_eq!(before, after, "{what}");

            // What was read stands in our file as it stood in theirs, but for masks and frequencies.
            let (theirs, ours) = (fixture.stored(), stored(&folder));
            for (name, tensor) in &ours {
                let bare = name.split_once('.').expect("a dotted name").1;
                let found = theirs.get(name).or_else(|| theirs.get(bare));
                assert_eq!(Some(tensor), found, "{what}: {name}");
            }
            let left_out = theirs.len() - ours.len();
            let expected = match fixture.name.as_str() {
                "gpt2_hub" | "llama2_hub" => 2,
                "gpt_neox_hub" => 4,
                _ => 0,
            };
            assert_eq!(left_out, expected, "{what}");

            // The configuration says what it said, but for the type of the weights.
            let said = |folder: &Path| {
                let mut json = read_json(&folder.join("config.json"));
                for key in ["dtype", "torch_dtype"] {
                    json.as_object_mut().expect("a table").remove(key);
                }
                json
            };
            assert_eq!(said(&folder), said(&fixture.folder), "{what}");
        }
    }
}

/// The interpreter, if it has transformers.
fn python() -> Option<String> {
    let python = std::env::var("LYCEUM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python)
        .args(["-c", "import torch, transformers"])
        .output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!(
        "skipped: `{python} -c \"import torch, transformers\"` fails; LYCEUM_PYTHON names another interpreter"
    );
    None
}

#[test]
fn transformers_reads_our_exports_as_we_do() {
    let Some(python) = python() else {
        return;
    };
    let lab = tempfile::tempdir().expect("a folder");
    let rows = all()[0].rows.clone();
    let mut ours: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut export = |name: String, config: &ModelConfig, decoder: &Decoder| {
        write(&lab.path().join(&name), config, decoder);
        let of_row = |row: &Vec<u32>| logits(decoder, decoder.hidden(ids(std::slice::from_ref(row))));
        ours.insert(name, rows.iter().flat_map(of_row).collect());
    };
    for fixture in all() {
        let loaded = fixture.load(Precision::F32).loaded;
        export(fixture.name, &loaded.config, &loaded.decoder);
    }
    for &family in Family::ALL {
        let (config, decoder) = fresh(family);
        export(format!("fresh {}", family.name()), &config, &decoder);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/transformers_logits.py");
    let output = Command::new(python)
        .arg(script)
        .arg(lab.path())
        .arg(serde_json::to_string(&rows).expect("lists"))
        .output()
        .expect("the interpreter runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let theirs: BTreeMap<String, Vec<f64>> =
        serde_json::from_slice(&output.stdout).expect("logits by folder");
    assert!(ours.keys().eq(theirs.keys()));
    for (name, found) in &ours {
        assert_within(name, found, &theirs[name], 2e-4);
    }
}

#[test]
fn fresh_models_of_every_family_read_again() {
    let lab = tempfile::tempdir().expect("a folder");
    for &family in Family::ALL {
        let (config, decoder) = fresh(family);
        let folder = lab.path().join(family.name());
        write(&folder, &config, &decoder);
        let again =
            LanguageModel::open_folder(&folder, &Device::flex(), Precision::F32).expect("reads again");
        let rows = [vec![1, 2, 3, 4, 5]];
        let hidden = [&decoder, &again.loaded.decoder].map(|decoder| host(decoder.hidden(ids(&rows))));
        assert_eq!(hidden[0], hidden[1], "{}", family.name());
    }
}
