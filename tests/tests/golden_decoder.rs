//! `pytorch_decoder.json` and `pytorch_accumulation.json`: logits, losses and gradients of transformers' llama.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_components::Precision;
use lyceum_components::model::{Decoder, ModelConfig, token_nll};
use lyceum_components::tokens::Batch;
use lyceum_kernels::{Products, linear_cross_entropy};
use lyceum_tests::{Golden, Node, assert_close};
use std::collections::BTreeMap;

/// Each precision with how far it may be from the float64 reference.
const PRECISIONS: [(Precision, f64); 2] = [(Precision::F64, 1e-9), (Precision::F32, 2e-4)];

/// What a pass gives.
struct Passed {
    loss: f64,
    nll: Vec<f64>,
    /// By Hugging Face's names.
    gradients: BTreeMap<String, Vec<f64>>,
}

fn data(node: &Node) -> TensorData {
    let (shape, elements) = node.tensor();
    TensorData::new(elements, shape)
}

fn host(data: TensorData) -> Vec<f64> {
    let converted = data.convert::<f64>();
    converted.try_into_vec().expect("converted to f64")
}

fn named(node: &Node) -> BTreeMap<String, TensorData> {
    let entries = node.entries().into_iter();
    entries.map(|(name, tensor)| (name, data(&tensor))).collect()
}

fn batch(node: &Node) -> Batch {
    let inputs: Vec<Vec<i64>> = node.get("inputs").read();
    let labels: Vec<Vec<i64>> = node.get("labels").read();
    let mask: Vec<Vec<f32>> = node.get("mask").read();
    Batch {
        rows: inputs.len(),
        width: inputs[0].len(),
        inputs: inputs.concat(),
        labels: labels.concat(),
        mask: mask.concat(),
    }
}

/// Loss, costs and gradients of a batch, composed of what a training step is composed of.
fn pass(decoder: &Decoder, config: &ModelConfig, batch: &Batch, weights: Vec<f64>) -> Passed {
    let (rows, width) = (batch.rows, batch.width);
    let (n, dtype) = (rows * width, decoder.head().dtype());
    let device = decoder.head().device().without_autodiff();
    let inputs_bt =
        Tensor::<2, Int>::from_data(TensorData::new(batch.inputs.clone(), [rows, width]), &device);
    let labels_n = Tensor::<1, Int>::from_data(TensorData::new(batch.labels.clone(), [n]), &device);
    let options = TensorCreationOptions::new(device).with_dtype(dtype);
    let weights_n = Tensor::<1>::from_data(TensorData::new(weights, [n]), options);
    let hidden_nd = decoder.hidden(inputs_bt).reshape([n, config.hidden_size]);
    let entropy = linear_cross_entropy(
        hidden_nd,
        decoder.head(),
        None,
        labels_n,
        weights_n,
        Products::Full,
    );
    let gradients = GradientsParams::from_grads(entropy.loss.backward(), decoder);
    let gradients = decoder.clone().map(&mut Gradients(gradients)).to_named(config);
    Passed {
        loss: host(entropy.loss.into_data())[0],
        nll: host(entropy.nll_n.into_data()),
        gradients: gradients
            .into_iter()
            .map(|(name, data)| (name, host(data)))
            .collect(),
    }
}

/// Puts every parameter's gradient in its place.
struct Gradients(GradientsParams);

impl ModuleMapper for Gradients {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.0.remove::<D>(param.id);
        Param::from_tensor(gradient.expect("every parameter has a gradient"))
    }
}

fn assert_gradients(
    what: &str,
    found: &BTreeMap<String, Vec<f64>>,
    expected: &BTreeMap<String, TensorData>,
    tolerance: f64,
) {
    assert!(
        found.keys().eq(expected.keys()),
        "{what}: which gradients there are"
    );
    for (name, gradient) in found {
        let expected = host(expected[name].clone());
        assert_close(
            &format!("{what}: gradient of {name}"),
            gradient,
            &expected,
            tolerance,
        );
    }
}

#[test]
fn logits_losses_and_gradients_agree_with_transformers() {
    let golden = Golden::open("pytorch_decoder");
    let root = golden.root();
    root.prose(&["made_with"]);
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let name: String = case.get("name").read();
        let config: ModelConfig = case.get("config").read();
        let weights = named(&case.get("weights"));
        let gradients = named(&case.get("gradients"));
        assert_eq!(gradients.len(), if config.tie_word_embeddings { 20 } else { 21 });
        let batch = batch(&case);
        assert_eq!([batch.rows, batch.width], [2, 7]);
        let row_weights: Vec<f64> = case.get("row_weights").read();
        let logits = data(&case.get("logits"));
        let nll = host(data(&case.get("nll")));
        let loss: f64 = case.get("loss").read();

        let token_weight = |(token, mask): (usize, &f32)| f64::from(*mask) * row_weights[token / batch.width];
        let token_weights: Vec<f64> = batch.mask.iter().enumerate().map(token_weight).collect();
        let total: f64 = token_weights.iter().sum();
        let shares: Vec<f64> = token_weights.iter().map(|weight| weight / total).collect();
        let masked: Vec<f64> = batch
            .mask
            .iter()
            .zip(&nll)
            .map(|(mask, nll)| f64::from(*mask) * nll)
            .collect();

        for (precision, tolerance) in PRECISIONS {
            let what = format!("{name}, {precision:?}");
            let plain = Device::flex();
            let decoder =
                Decoder::from_named(&config, &weights, precision, &plain).expect("the fixture loads");
            let inputs = TensorData::new(batch.inputs.clone(), [batch.rows, batch.width]);
            let hidden_btd = decoder.hidden(Tensor::<2, Int>::from_data(inputs, &plain));
            let found = hidden_btd
                .matmul(decoder.head().transpose().unsqueeze())
                .into_data();
            assert_eq!(found.shape(), logits.shape());
            assert_close(
                &format!("{what}: logits"),
                &host(found),
                &host(logits.clone()),
                tolerance,
            );
            let found = token_nll(&decoder, &batch, &plain);
            assert_close(&format!("{what}: token_nll"), &found, &masked, tolerance);

            let decoder = Decoder::from_named(&config, &weights, precision, &plain.autodiff())
                .expect("the fixture loads");
            let passed = pass(&decoder, &config, &batch, shares.clone());
            assert_close(&format!("{what}: nll"), &passed.nll, &nll, tolerance);
            assert_close(&format!("{what}: loss"), &[passed.loss], &[loss], tolerance);
            assert_gradients(&what, &passed.gradients, &gradients, tolerance);
        }
    }
    golden.finish();
}

#[test]
fn accumulated_gradients_are_those_of_the_token_mean() {
    let weights_file = Golden::open("pytorch_decoder");
    let golden = Golden::open("pytorch_accumulation");
    let root = golden.root();
    root.prose(&["made_with"]);
    let wanted: String = root.get("weights_are_those_of").read();
    let cases = weights_file.root().get("cases").items();
    let case = cases
        .iter()
        .find(|case| case.get("name").read::<String>() == wanted)
        .expect("the case is there");
    let config: ModelConfig = case.get("config").read();
    let micro: Vec<Batch> = root.get("micro_batches").items().iter().map(batch).collect();
    assert_eq!(micro.len(), 2);
    let total: f64 = root.get("tokens").read();
    let counts: Vec<u64> = micro.iter().map(Batch::scored).collect();
    assert_eq!(counts.iter().sum::<u64>() as f64, total);
    let loss: f64 = root.get("loss").read();
    let mean_of_means: f64 = root.get("mean_of_means").read();
    let gradients = named(&root.get("gradients"));

    for (precision, tolerance) in PRECISIONS {
        let what = format!("{precision:?}");
        let decoder = Decoder::from_named(
            &config,
            &named(&case.get("weights")),
            precision,
            &Device::flex().autodiff(),
        )
        .expect("the fixture loads");
        let mut sum = 0.0;
        let mut means = 0.0;
        let mut added: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for batch in &micro {
            let shares = batch.mask.iter().map(|mask| f64::from(*mask) / total).collect();
            let passed = pass(&decoder, &config, batch, shares);
            sum += passed.loss;
            means += passed.loss * total / batch.scored() as f64 / micro.len() as f64;
            for (name, gradient) in passed.gradients {
                let part = added.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
                part.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += x);
            }
        }
        assert_close(&format!("{what}: loss"), &[sum], &[loss], tolerance);
        assert_close(
            &format!("{what}: mean of means"),
            &[means],
            &[mean_of_means],
            tolerance,
        );
        assert_gradients(&what, &added, &gradients, tolerance);
    }
    golden.finish();
}

#[test]
fn named_weights_come_back_as_they_went_in() {
    let golden = Golden::open("pytorch_decoder");
    for case in golden.root().get("cases").items() {
        let config: ModelConfig = case.get("config").read();
        let weights = named(&case.get("weights"));
        let load = |weights: &BTreeMap<String, TensorData>| {
            Decoder::from_named(&config, weights, Precision::F64, &Device::flex())
        };
        let decoder = load(&weights).expect("the fixture loads");
        assert_eq!(decoder.num_params(), config.parameters());
        let back = decoder.to_named(&config);
        assert!(back.values().all(|data| data.dtype() == DType::F64));
        assert_eq!(back, weights);

        let key = "model.layers.1.self_attn.k_proj.weight";
        let mut without = weights.clone();
        without.remove(key);
        let error = load(&without).expect_err("a tensor is missing");
        assert!(error.to_string().contains(key), "{error}");
        let mut misshaped = weights;
        misshaped.insert(key.to_owned(), TensorData::new(vec![0.0; 6], [2, 3]));
        let error = load(&misshaped).expect_err("a tensor has another shape");
        assert!(error.to_string().contains("[2, 3]"), "{error}");
    }
}
