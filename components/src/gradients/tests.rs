//! Products with every example's gradient against backward passes of single examples.

use super::*;
use crate::Precision;
use crate::model::{Decoder, ModelSpec, integers};
use crate::random::Stream;
use crate::testing::assert_near;
use crate::tokens::{Batch, collate};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use lyceum_kernels::{Products, linear_cross_entropy};
use serde_json::{Value, json};

/// Every choice of a decoder: grouped heads, biases here and there, normed queries and keys, learned positions, ALiBi, parallel
/// layers with one norm or two, heads with biases, tied and untied.
fn families() -> Vec<Value> {
    vec![
        json!({ "family": "llama", "num_key_value_heads": 2 }),
        json!({ "family": "qwen2", "num_key_value_heads": 1, "tie_word_embeddings": false }),
        json!({ "family": "qwen3", "num_key_value_heads": 2 }),
        json!({ "family": "gpt2" }),
        json!({ "family": "opt", "tie_word_embeddings": false }),
        json!({ "family": "bloom" }),
        json!({ "family": "gptj", "tie_word_embeddings": false }),
        json!({ "family": "gpt_neox", "tie_word_embeddings": false }),
    ]
}

fn model(family: Value, precision: Precision) -> Decoder {
    let mut spec = json!({
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 16, "initializer_range": 0.2,
    });
    let more = family.as_object().expect("a table").clone();
    spec.as_object_mut().expect("a table").extend(more);
    let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
    let device = Device::flex().autodiff();
    let fresh = Decoder::init(&spec.config(23), precision, &Stream::new(1, "weights"), &device);
    // Biases and norms leave zero and one.
    drawn(&fresh, "start").moved(fresh, 0.2)
}

/// Normal numbers in the parameters' place.
fn drawn(model: &Decoder, name: &str) -> Vector {
    let stream = Stream::new(2, name);
    let mut parts = 0;
    Vector::parameters(model).map(|part| {
        parts += 1;
        let mut stream = stream.at(parts);
        let values: Vec<f64> = (0..part.dims()[0]).map(|_| stream.normal()).collect();
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), (&part.device(), part.dtype()))
    })
}

const BLOCKS: [&[u32]; 3] = [&[3, 4, 5, 6, 7, 8, 0, 9], &[3, 4, 0], &[2, 0, 22, 6, 0, 1, 9, 9]];

fn batch() -> Batch {
    collate(&BLOCKS, 16, 0).expect("blocks with labels")
}

/// The gradient of `Σ weight · nll` by a backward pass.
fn gradient(model: &Decoder, batch: &Batch, weights: &[f64]) -> Vector {
    let (rows, width) = (batch.rows, batch.width);
    let device = model.device();
    let inputs = TensorData::new(batch.inputs.clone(), [rows, width]);
    let labels = TensorData::new(batch.labels.clone(), [rows * width]);
    let weights = TensorData::new(weights.to_vec(), [rows * width]);
    let hidden_btd = model.hidden(Tensor::from_data(inputs, &device));
    let d = hidden_btd.dims()[2];
    let dtype = hidden_btd.dtype();
    let loss = linear_cross_entropy(
        hidden_btd.reshape([rows * width, d]),
        model.head(),
        model.head_bias(),
        Tensor::<1, Int>::from_data(labels, &device),
        Tensor::<1>::from_data(weights, (&device, dtype)),
        Products::Full,
    )
    .loss;
    Vector::gradient(model, &GradientsParams::from_grads(loss.backward(), model))
}

/// Weights of the tokens, those of other examples than `only` being zero.
fn weights_of(only: usize, batch: &Batch, weights: &[f32]) -> Vec<f64> {
    let weight = |(i, weight): (usize, &f32)| {
        if i / batch.width == only {
            f64::from(*weight)
        } else {
            0.0
        }
    };
    weights.iter().enumerate().map(weight).collect()
}

#[test]
fn hidden_states_of_some_positions_are_those_of_all_with_their_gradients() {
    let batch = batch();
    let wanted = [1, 2, 7, 9, 20];
    for family in families() {
        for (precision, tolerance) in [(Precision::F64, 1e-12), (Precision::F32, 1e-5)] {
            let model = model(family.clone(), precision);
            let found = |alone: bool| {
                let inputs = TensorData::new(batch.inputs.clone(), [batch.rows, batch.width]);
                let inputs_bt = Tensor::<2, Int>::from_data(inputs, &model.device());
                let hidden_nd = if alone {
                    model.hidden_at(inputs_bt, Some(&wanted))
                } else {
                    let places_n = integers(wanted.map(|place| place as i64).to_vec(), &model.device());
                    model.hidden_at(inputs_bt, None).select(0, places_n)
                };
                let values = hidden_nd.clone().without_autodiff().into_data();
                // Not the sum alone, whose gradient a norm before it hardly lets through.
                let gradients = hidden_nd.powi_scalar(3).sum().backward();
                let gradients = GradientsParams::from_grads(gradients, &model);
                let gradient = Vector::gradient(&model, &gradients).numbers();
                (values.iter::<f64>().collect::<Vec<f64>>(), gradient)
            };
            let ((values, gradient), (expected, expected_gradient)) = (found(true), found(false));
            assert_near(&format!("{family}"), &values, &expected, tolerance);
            assert_near(&format!("{family}"), &gradient, &expected_gradient, tolerance);
        }
    }
}

#[test]
fn nothing_may_be_asked_for() {
    let batch = batch();
    for family in families() {
        for precision in [Precision::F64, Precision::F32, Precision::Bf16] {
            let model = model(family.clone(), precision);
            let inputs = TensorData::new(batch.inputs.clone(), [batch.rows, batch.width]);
            let inputs_bt = Tensor::<2, Int>::from_data(inputs, &model.device());
            let hidden_nd = model.hidden_at(inputs_bt, Some(&[]));
            assert_eq!(hidden_nd.dims(), [0, 16], "{family}");
            let gradients = GradientsParams::from_grads(hidden_nd.sum().backward(), &model);
            assert_eq!(Vector::gradient(&model, &gradients).norm(), 0.0, "{family}");
        }
    }
}

#[test]
fn dots_are_those_of_single_backward_passes_in_every_family() {
    let batch = batch();
    let weights = mean_weights(&batch);
    for family in families() {
        let model_f64 = model(family.clone(), Precision::F64);
        let direction = drawn(&model_f64, "direction");
        let expected: Vec<f64> = (0..batch.rows)
            .map(|row| gradient(&model_f64, &batch, &weights_of(row, &batch, &weights)).dot(&direction))
            .collect();
        let found = per_example_dot(&model_f64, &direction, &batch, &weights);
        assert_near(&format!("{family}"), &found.dots, &expected, 1e-9);
        assert_near(
            "losses",
            &found.losses,
            &example_losses(&model_f64, &batch, &weights),
            1e-12,
        );

        // Adding up the examples is the batch's gradient.
        let all: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        let sum = gradient(&model_f64, &batch, &all).dot(&direction);
        assert!(
            (found.dots.iter().sum::<f64>() - sum).abs()
                < 1e-9 * expected.iter().map(|dot| dot.abs()).sum::<f64>()
        );

        // Fused bodies agree with composed ones.
        let model_f32 = model(family.clone(), Precision::F32);
        let fused = per_example_dot(&model_f32, &drawn(&model_f32, "direction"), &batch, &weights);
        assert_near(&format!("{family} in f32"), &fused.dots, &expected, 1e-4);
        assert_near("losses in f32", &fused.losses, &found.losses, 1e-5);
    }
}

#[test]
fn the_weighted_gradient_is_that_of_a_pass_of_its_own() {
    let batch = batch();
    let weights = mean_weights(&batch);
    let factors = [0.0, 2.5, 0.5];
    for family in families() {
        for (precision, tolerance) in [(Precision::F64, 1e-10), (Precision::F32, 1e-5)] {
            let model = model(family.clone(), precision);
            let direction = drawn(&model, "direction");
            let alone = per_example_dot(&model, &direction, &batch, &weights);
            let all: Vec<f64> = weights
                .iter()
                .enumerate()
                .map(|(i, weight)| f64::from(*weight) * factors[i / batch.width])
                .collect();
            let expected = gradient(&model, &batch, &all);
            let given = |_: &PerExample| factors.to_vec();
            assert!(holds_own_gradients(batch.rows, direction.len()));
            let held = per_example_dot_and_gradient(&model, &direction, &batch, &weights, given);
            let along = dots::along_and_gradient(&model, &direction, &batch, &weights, given);
            assert_eq!(along.0, alone);
            for (found, weighted) in [held, along] {
                assert_near(&format!("{family}"), &found.dots, &alone.dots, 10.0 * tolerance);
                assert_near("losses", &found.losses, &alone.losses, tolerance);
                let apart = weighted.plus(-1.0, &expected).norm();
                assert!(apart <= tolerance * expected.norm(), "{family}: {apart}");
            }
        }
    }
}

#[test]
fn differences_agree_and_the_central_one_is_closer() {
    let batch = batch();
    let weights = mean_weights(&batch);
    for family in families() {
        // A kink is no place for a difference.
        if family["family"] == "opt" {
            continue;
        }
        let model = model(family.clone(), Precision::F64);
        let direction = drawn(&model, "direction");
        let exact = per_example_dot(&model, &direction, &batch, &weights);
        let displacement = Displacement::Relative(1e-6);
        let losses = |model: &Decoder| example_losses(model, &batch, &weights);
        let central = difference_dots(&model, &direction, displacement, losses);
        assert_near(&format!("{family}"), &central, &exact.dots, 1e-6);
        let forward = forward_difference_dots(&model, &direction, displacement, &exact.losses, losses);
        assert_near(&format!("{family}, forward"), &forward, &exact.dots, 1e-2);
        let error = |found: &[f64]| -> f64 {
            found
                .iter()
                .zip(&exact.dots)
                .map(|(found, exact)| (found - exact).abs())
                .sum()
        };
        assert!(error(&central) < error(&forward));
        let nothing = direction.times(0.0);
        assert_eq!(difference_dots(&model, &nothing, displacement, losses), [0.0; 3]);
    }
}

#[test]
fn products_in_bfloat16_are_not_used() {
    let family = json!({ "family": "llama" });
    let batch = batch();
    let weights = mean_weights(&batch);
    let [full, bf16] = [Precision::F32, Precision::Bf16].map(|precision| {
        let model = model(family.clone(), precision);
        per_example_dot(&model, &drawn(&model, "direction"), &batch, &weights)
    });
    assert_eq!(full, bf16);
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let family = json!({ "family": "gpt2" });
    let batch = batch();
    let weights = mean_weights(&batch);
    let on_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool starts");
        pool.install(|| {
            let model = model(family.clone(), Precision::F32);
            let direction = drawn(&model, "direction");
            let factors = |found: &PerExample| found.dots.clone();
            let (found, gradient) =
                per_example_dot_and_gradient(&model, &direction, &batch, &weights, factors);
            (found, gradient.norm())
        })
    };
    let single = on_threads(1);
    assert_eq!(on_threads(2), single);
    assert_eq!(on_threads(3), single);
}

#[test]
fn vectors_add_up_and_move_a_model_and_back() {
    let model = model(json!({ "family": "gpt2" }), Precision::F64);
    let (theta, v) = (Vector::parameters(&model), drawn(&model, "direction"));
    assert_eq!(theta.len(), v.len());
    assert_eq!(theta.len(), model.num_params());
    let moved = v.moved(model.clone(), 0.5);
    let found = Vector::parameters(&moved);
    assert!(found.clone().plus(-0.5, &v).plus(-1.0, &theta).norm() < 1e-12);
    // ‖θ + v/2‖² = ‖θ‖² + ⟨θ, v⟩ + ‖v‖²/4.
    let expected = theta.dot(&theta) + theta.dot(&v) + v.dot(&v) / 4.0;
    assert!((found.norm().powi(2) - expected).abs() < 1e-10 * expected);
    // A moved model can be trained on.
    let batch = batch();
    let gradient = gradient(&moved, &batch, &vec![1.0; batch.mask.len()]);
    let there_and_back = Vector::gradient(&moved, &gradient.clone().into_gradients(&moved));
    assert!(gradient.norm() > 0.0);
    assert_eq!(there_and_back.plus(-1.0, &gradient).norm(), 0.0);
}
