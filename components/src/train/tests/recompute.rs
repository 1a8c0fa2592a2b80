//! What is worked out again changes no bytes.

use super::*;
use crate::model::Family;
use crate::train::Recompute;
use crate::{Component, Size, Sizes};

/// The bytes of a training's weights and of its curve.
fn bytes(bench: &Bench, step: &str, precision: Precision, more: Value) -> [Vec<u8>; 2] {
    let context = Context {
        precision,
        ..bench.context(step)
    };
    bench.run_with::<Lm>(&context, params(more)).expect("trains");
    ["model.safetensors", "metrics.parquet"]
        .map(|file| std::fs::read(bench.at(step).join(file)).expect("reads"))
}

#[test]
fn every_family_has_the_same_bytes_in_every_precision() {
    let bench = bench();
    for family in Family::ALL {
        for precision in [Precision::F32, Precision::F64, Precision::Bf16] {
            let run = |recompute: &str| {
                let model = json!({ "family": family, "num_hidden_layers": 3, "num_key_value_heads": null });
                let optim = json!({ "accumulate": 2 });
                let more = json!({ "model": super::model(model), "optim": optim, "recompute": recompute });
                bytes(&bench, recompute, precision, more)
            };
            assert!(run("block") == run("none"), "{family:?} in {precision:?}");
        }
    }
}

#[test]
fn a_head_of_its_own_and_several_terms_have_the_same_bytes() {
    let bench = bench();
    let term = |weight: f64| json!({ "kind": "cross_entropy", "weight": weight });
    for tied in [true, false] {
        let run = |recompute: &str| {
            let more = json!({
                "model": super::model(json!({ "tie_word_embeddings": tied })),
                "objective": [term(0.3), term(0.7), term(0.1)],
                "recompute": recompute,
            });
            bytes(&bench, recompute, Precision::F32, more)
        };
        assert!(run("block") == run("none"), "tied: {tied}");
    }
}

#[test]
fn the_setting_may_change_at_an_interruption() {
    let bench = bench();
    let more = |recompute: &str| json!({ "optim": { "budget": { "steps": 12 } }, "recompute": recompute });
    let undisturbed = train(&bench, "undisturbed", more("none"));
    for (step, before, after) in [("one", "none", "block"), ("other", "block", "none")] {
        let (outcome, _) = watched(&bench, step, 7, more(before));
        assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        let (outcome, _) = watched(&bench, step, 0, more(after));
        outcome.expect("trains");
        let resumed = bench.publish(step);
        assert_eq!(resumed.header.fingerprint, undisturbed.header.fingerprint);
    }
}

#[test]
fn an_estimate_tells_both_ways() {
    let data = Size {
        items: 100.0,
        tokens: 6400.0,
        vocab_size: 500.0,
        ..Size::default()
    };
    let sizes = Sizes {
        sizes: [("@tokens".to_owned(), data)].into(),
        ..Sizes::default()
    };
    let of = |recompute: &str| {
        let deep = super::model(json!({ "num_hidden_layers": 8 }));
        let more = json!({ "model": deep, "recompute": recompute, "optim": { "batch_size": 8 } });
        let params = serde_json::from_value(params(more)).expect("parameters fit");
        Lm::estimate(&params, &sizes)
    };
    let (none, block) = (of("none"), of("block"));
    assert_eq!(none.flops, block.flops);
    assert_eq!(none.recomputed, 0.0);
    // A forward pass is a third of a training's FLOPs, and the head is not done again.
    assert!(block.recomputed > 0.0 && block.recomputed < none.flops / 3.0);
    assert!(
        block.memory < 0.6 * none.memory,
        "{} {}",
        block.memory,
        none.memory
    );
    for (one, other, setting) in [(&none, &block, "block"), (&block, &none, "none")] {
        let [choice] = &one.choices[..] else {
            panic!("one choice: {:?}", one.choices);
        };
        assert_eq!(choice.setting, format!("recompute = \"{setting}\""));
        assert_eq!(
            (choice.memory, choice.recomputed),
            (other.memory, other.recomputed)
        );
    }
}

#[test]
fn nothing_is_worked_out_again_unless_asked_for() {
    let params: crate::train::LmParams = serde_json::from_value(params(json!({}))).expect("parameters fit");
    assert_eq!(params.recompute, Recompute::None);
}
