//! How much memory a training takes: a model of its peak, for the f32 bodies, which keep the inputs of each operation and
//! nothing else. `tests/memory.rs` holds it against what an allocator counts.

use super::recompute::Recompute;
use crate::model::{ModelConfig, Positions, bands};

/// Bytes of an element.
const ELEMENT: f64 = 4.0;

/// Logits that are held at once, in elements, where a quarter of the head's are not more.
const LOGITS: f64 = (1 << 21) as f64;

/// Elements of a factor that a product of f32 lays out anew, at most: about what a processor's last cache holds.
const PACKED: f64 = (1 << 22) as f64;

/// The most that a training holds at once, in bytes, where a pass has `n` tokens, on a machine with threads for all of its
/// bands; `accumulate` is the number of passes of a step. What the program itself takes, and data that the system may take back, come on top.
pub fn peak_memory(config: &ModelConfig, n: f64, accumulate: usize, recompute: Recompute) -> f64 {
    let (d, vocabulary) = (config.hidden_size as f64, config.vocab_size as f64);
    let (layers, layer) = (config.num_hidden_layers as f64, config.layer_products() as f64);
    let (parameters, head) = (config.parameters() as f64, vocabulary * d);
    let carried = if accumulate > 1 { parameters } else { 0.0 };
    let stream = n * d;
    let whole = stream + n * inside(config);
    let kept = match recompute {
        Recompute::None => whole,
        Recompute::Block => stream,
    };
    let logits = LOGITS.max(64.0 * vocabulary).max(head / 4.0).min(n * vocabulary);
    // The gradient of the first product of the feed-forward layer beside its value, and the stream's gradients.
    let work = n * config.up_size() as f64 + 3.0 * stream;
    // Each has gradients of its own of the layer it goes back through.
    let bands = bands(n as usize) as f64;
    let stages = [
        // The loss, and its gradients by hidden states and head.
        layers * kept + 4.0 * stream + head + logits + head.min(PACKED),
        // The way back through the last layer, and through the first, when the gradients of all others are there.
        (layers - 1.0) * kept + whole + work + head + bands * layer,
        whole + work + head + (layers - 1.0 + bands) * layer,
        // The embedding's own gradient beside the head's.
        2.0 * stream + parameters + head,
    ];
    // Weights, and the optimizer's two moments of each.
    ELEMENT * (3.0 * parameters + carried + stages.into_iter().fold(0.0, f64::max))
}

/// Elements a token that the graph keeps inside of a layer: what each operation reads.
fn inside(config: &ModelConfig) -> f64 {
    let d = config.hidden_size;
    let queries = config.queries_size();
    let keys = config.num_key_value_heads * config.head_dim;
    let packed = queries + 2 * keys;
    // Queries and keys that are normed are cut out of what their product gives, and rotated by an operation of its own;
    // others stay where they lie until attention reads them.
    let cut = if config.qk_norm {
        let rotated = matches!(config.positions, Positions::Rotary(_));
        (queries + keys) * (1 + usize::from(rotated))
    } else {
        0
    };
    let attention = d + cut + packed + queries;
    let norms = match (config.parallel, config.shared_norm) {
        (false, _) => 2 * d,
        (true, false) => d,
        (true, true) => 0,
    };
    (attention + norms + config.up_size() + config.intermediate_size) as f64
}
