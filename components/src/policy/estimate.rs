//! What `policy.learning_law` costs.

use super::params::{LawParams, LawStates};
use super::states::{Room, recomputed};
use crate::component::{Estimate, Size, Sizes};
use crate::model::ModelConfig;
use crate::train::{ModelChoice, Recompute, peak_memory};
use std::collections::BTreeMap;

/// Passes over the examples that a policy epoch of a decoder takes: forth, two for the Hessian, one for the products.
const PASSES: f64 = 4.0;
/// Passes of the two measurements together: beside those of an epoch, products with two more gradients.
const MEASURED: f64 = 2.0 * (PASSES + 2.0);

/// Times that each step goes over training, target and test examples, in `epochs` policy epochs and two measurements.
pub(super) fn passes(epochs: f64) -> [f64; 3] {
    [PASSES * epochs + MEASURED, epochs + 2.0, 2.0]
}

pub(super) fn decoder_room(params: &LawParams, config: &ModelConfig, examples: f64, element: usize) -> Room {
    let parameters = config.parameters() as f64;
    let tokens = params.micro_batch as f64 * config.max_position_embeddings as f64;
    let scale = element as f64 / 4.0;
    Room {
        steps: params.steps,
        examples,
        parameters,
        element,
        // A pass, and the model itself as it was read, in a graph and filled with a state.
        beside: scale * peak_memory(config, tokens.min(1e5), 1, Recompute::None)
            + 4.0 * element as f64 * parameters,
    }
}

/// Products with inputs of a policy epoch: forth a product and a sum, back two and a sum, over the training examples; a product
/// and a sum at every state over the target.
pub(super) fn perceptron_flops(params: &LawParams, [train, target, _]: [f64; 3], width: f64) -> f64 {
    let steps = params.steps as f64;
    2.0 * width * (5.0 * steps * train + 2.0 * (steps + 1.0) * target)
}

/// What a step would cost.
pub(super) fn estimate(params: &LawParams, sizes: &Sizes) -> Estimate {
    let [data, target, test] =
        [&params.data, &params.target, &params.test].map(|reference| sizes.of(reference.as_str()));
    let mean = |size: &Size| {
        if size.items > 0.0 {
            size.tokens / size.items
        } else {
            0.0
        }
    };
    let (steps, epochs) = (params.steps as f64, params.epochs as f64);
    let (room, flops, forth) = match &params.model {
        None => {
            // The numbers of labelled inputs count as tokens.
            let width = mean(&data);
            let room = Room {
                steps: params.steps,
                examples: data.items,
                parameters: width,
                element: 8,
                beside: 8.0 * (data.tokens + target.tokens + test.tokens),
            };
            let counts = [data.items, target.items, test.items];
            let flops = perceptron_flops(params, counts, width) * (epochs + 4.0);
            (room, flops, 4.0 * steps * data.tokens * (epochs + 2.0))
        }
        Some(choice) => {
            let per_token = |config: &ModelConfig| {
                let width = mean(&data).max(1.0) as usize;
                3.0 * sizes.convention.forward(config, width) / width as f64
            };
            let (room, per_token) = match choice {
                ModelChoice::Fresh(spec) => {
                    let config = spec.config(data.vocab_size as usize);
                    (decoder_room(params, &config, data.items, 4), per_token(&config))
                }
                ModelChoice::Continue(reference) => {
                    let model = sizes.of(reference.as_str());
                    let room = Room {
                        steps: params.steps,
                        examples: data.items,
                        parameters: model.parameters,
                        element: 4,
                        beside: 4.0 * 8.0 * model.parameters,
                    };
                    (room, 3.0 * model.flops_per_token)
                }
            };
            let passes = passes(epochs);
            let tokens = passes[0] * data.tokens + passes[1] * target.tokens + passes[2] * test.tokens;
            (
                room,
                steps * tokens * per_token,
                steps * data.tokens * per_token * (epochs + 2.0),
            )
        }
    };
    let way = room.choose(params).unwrap_or(LawStates::Disk);
    let policy = Size {
        items: steps,
        bytes: steps * data.items * 4.0,
        ..Size::default()
    };
    let mut outputs = BTreeMap::from([(String::new(), policy)]);
    if params.model.is_some() {
        let scores = Size {
            items: data.items,
            bytes: 16.0 * data.items,
            ..Size::default()
        };
        outputs.insert("weights".to_owned(), scores);
    }
    Estimate {
        outputs,
        flops,
        memory: room.memory(way),
        recomputed: recomputed(way, forth),
        // Two copies of the weights, one of which replaces the other.
        scratch: 2.0 * steps * data.items * room.element as f64 + room.scratch(way),
        choices: room.choices(way, forth),
        charged: 0.0,
    }
}
