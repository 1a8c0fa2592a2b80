//! A pass in bands is a pass.

use super::*;
use crate::gradients::Vector;
use crate::model::{Decoder, Family, ModelSpec};
use crate::random::Stream;
use crate::testing::assert_near;
use crate::train::Recompute;
use crate::train::backward::gradients;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Enough positions for two bands, of two rows and of three.
const SIZES: [usize; 2] = [5, 256];

fn decoder(family: Family, precision: Precision) -> Decoder {
    let spec = json!({
        "family": family, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": null, "max_position_embeddings": 256, "initializer_range": 0.2,
    });
    let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
    let device = Device::flex().autodiff();
    Decoder::init(&spec.config(23), precision, &Stream::new(1, "weights"), &device)
}

fn inputs(device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i64> = (0..(SIZES[0] * SIZES[1]) as i64).map(|i| i * i % 23).collect();
    Tensor::from_data(TensorData::new(ids, SIZES), device)
}

/// All positions, some of every band, and some of the second alone.
fn wanted() -> [Option<Vec<usize>>; 3] {
    [
        None,
        Some((0..1280).filter(|i| i % 7 == 3).collect()),
        Some(vec![800, 1279]),
    ]
}

/// Not the sum alone, whose gradient a norm before it hardly lets through.
fn loss(hidden_nd: Tensor<2>) -> Tensor<1> {
    hidden_nd.powi_scalar(3).sum()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

#[test]
fn values_and_gradients_are_those_of_one_graph() {
    for &family in Family::ALL {
        for (precision, tolerance) in [(Precision::F64, 1e-11), (Precision::F32, 1e-4)] {
            let model = decoder(family, precision);
            let inputs_bt = inputs(&model.device());
            assert_eq!(model.bands(SIZES, None).len(), 2);
            for wanted in wanted() {
                let wanted = wanted.as_deref();
                let whole = loss(model.hidden_at(inputs_bt.clone(), wanted));
                let expected_value = host(whole.clone().without_autodiff());
                let of_whole = GradientsParams::from_grads(whole.backward(), &model);
                let expected = Vector::gradient(&model, &of_whole).numbers();
                for recompute in [Recompute::None, Recompute::Block] {
                    let what = format!("{family:?} in {precision:?}, {recompute:?}");
                    let (value, found) = gradients(&model, inputs_bt.clone(), wanted, recompute, loss);
                    assert_near(&what, &host(value), &expected_value, tolerance);
                    assert_near(
                        &what,
                        &Vector::gradient(&model, &found).numbers(),
                        &expected,
                        tolerance,
                    );
                }
                let asked = model.valid();
                let states = host(asked.hidden_at(inputs_bt.clone(), wanted));
                let expected = host(model.hidden_at(inputs_bt.clone(), wanted).without_autodiff());
                assert_near("hidden states", &states, &expected, tolerance);
            }
        }
    }
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let model = decoder(Family::Llama, Precision::F32);
    let found = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| {
            let inputs_bt = inputs(&model.device());
            let states = model.valid().hidden_at(inputs_bt.clone(), None);
            let (value, found) = gradients(&model, inputs_bt, None, Recompute::None, loss);
            let gradient = Vector::gradient(&model, &found).numbers();
            [host(states), host(value), gradient].map(|values| values.into_iter().map(f64::to_bits).collect())
        })
    };
    let expected: [Vec<u64>; 3] = found(1);
    for threads in [2, 3] {
        assert!(found(threads) == expected, "{threads} threads");
    }
}
