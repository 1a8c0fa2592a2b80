//! Sizes and costs before anything runs. Where an artifact is there already, its own header is believed.

use crate::spec::Step;
use crate::store::{Manifest, Store};
use lyceum_components::{Estimate, Size, Sizes};
use serde_json::Value;
use std::collections::BTreeMap;

/// Estimates a step, unless that is `known`, and notes the sizes of its outputs under their references.
pub(super) fn estimate(
    step: &Step,
    key: &str,
    cached: Option<&Manifest>,
    store: &Store,
    sizes: &mut Sizes,
    known: Option<Estimate>,
) -> Estimate {
    let estimate = known.unwrap_or_else(|| anew(step, key, cached, store, sizes));
    for (name, size) in &estimate.outputs {
        let dot = if name.is_empty() { "" } else { "." };
        sizes.sizes.insert(format!("@{}{dot}{name}", step.id), *size);
    }
    estimate
}

fn anew(step: &Step, key: &str, cached: Option<&Manifest>, store: &Store, sizes: &mut Sizes) -> Estimate {
    // A folder's files count together.
    let mut written: BTreeMap<&str, f64> = BTreeMap::new();
    for file in &step.files {
        let bytes = std::fs::metadata(&file.path).map_or(0.0, |metadata| metadata.len() as f64);
        *written.entry(&file.written).or_default() += bytes;
    }
    for (written, bytes) in written {
        let size = Size {
            bytes,
            ..Size::default()
        };
        sizes.sizes.insert(written.to_owned(), size);
    }
    let mut estimate = (step.component.estimate)(&step.params, sizes).unwrap_or_default();
    for output in &step.outputs {
        let mut size = estimate.outputs.get(&output.name).copied().unwrap_or_default();
        if cached.is_some() {
            let location = Store::location(step.component.name, key, &output.name);
            if let Ok(artifact) = store.open(&location, &step.id) {
                believe(&mut size, &artifact.header.details);
            }
        }
        estimate.outputs.insert(output.name.clone(), size);
    }
    estimate
}

/// Takes over what a header says.
fn believe(size: &mut Size, details: &Value) {
    let number = |name: &str| details.get(name).and_then(Value::as_f64);
    let fields = [
        (
            &mut size.items,
            ["documents", "pairs", "blocks", "kept"].as_slice(),
        ),
        (&mut size.tokens, &["tokens"]),
        (&mut size.parameters, &["parameters"]),
        (&mut size.vocab_size, &["vocab_size"]),
        (&mut size.flops, &["flops"]),
    ];
    for (field, names) in fields {
        // Later names are the more specific ones: tokens have documents and blocks, and their items are blocks.
        if let Some(value) = names.iter().filter_map(|name| number(name)).next_back() {
            *field = value;
        }
    }
}
