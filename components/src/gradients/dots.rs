//! `⟨∇ℓ_n, v⟩` for every example of a batch, without a backward pass for each.
//!
//! Give example n the parameters θ + ε_n v. Then `⟨∇ℓ_n, v⟩` is the derivative of `Σ_m ℓ_m` by ε_n at zero, and one backward
//! pass gives all of them. Every operation with parameters is linear in them (`model::probe`), so what is needed beside the
//! gradients of values is one more product a matrix, and no gradient of any parameter.

use super::{Vector, host, own};
use crate::model::{Decoder, Probe, Seen, token_nll};
use crate::tokens::Batch;
use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::{
    Products, Projection, linear_cross_entropy, linear_cross_entropy_along, row_dots, with_gradient,
};

/// What is known of the examples of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct PerExample {
    /// `ℓ_n`, in nats.
    pub losses: Vec<f64>,
    /// `⟨∇ℓ_n, v⟩`.
    pub dots: Vec<f64>,
}

/// The weights of tokens, row-major `[rows, width]`, by which an example's loss is the mean over its tokens that count.
pub fn mean_weights(batch: &Batch) -> Vec<f32> {
    let rows = batch.mask.chunks(batch.width.max(1));
    rows.flat_map(|mask| {
        let counted = mask.iter().filter(|mask| **mask > 0.0).count().max(1) as f32;
        mask.iter().map(move |mask| mask / counted)
    })
    .collect()
}

/// `ℓ_n = Σ_t weight_nt · nll_nt`, without gradients. Products are formed in the weights' own type, in every precision.
///
/// `weights`: of tokens, row-major `[rows, width]`; zero where nothing is predicted.
pub fn example_losses(model: &Decoder, batch: &Batch, weights: &[f32]) -> Vec<f64> {
    let model = model.with_products(Products::Full);
    weighted(&token_nll(&model, batch, &model.device()), weights, batch.width)
}

/// `ℓ_n` and `⟨∇ℓ_n, v⟩` of every example of a batch, with `ℓ_n = Σ_t weight_nt · nll_nt`.
///
/// It takes a forward pass, the backward pass's products with inputs, and one more product for each matrix: about what a step of
/// training takes. Weights of the model need not be in a graph. Products are formed in their own type in every precision,
/// since bfloat16 would drown small differences between examples.
///
/// `weights`: of tokens, row-major `[rows, width]`; zero where nothing is predicted.
pub fn per_example_dot(model: &Decoder, direction: &Vector, batch: &Batch, weights: &[f32]) -> PerExample {
    Watched::pass(model, direction, batch, weights).found
}

/// [`per_example_dot`], and then the gradient of `Σ_n factor_n · ℓ_n` for factors that may depend on it, from the same
/// forward and backward pass. Where every example's own gradient [can be held](holds_own_gradients), both follow from those, and
/// nothing is formed but what a step of training forms. Elsewhere there is one more product a matrix, and the output head's
/// logits are formed again.
pub fn per_example_dot_and_gradient(
    model: &Decoder,
    direction: &Vector,
    batch: &Batch,
    weights: &[f32],
    factors: impl FnOnce(&PerExample) -> Vec<f64>,
) -> (PerExample, Vector) {
    if own::holds_own_gradients(batch.rows, direction.len()) {
        return own::dot_and_gradient(model, direction, batch, weights, factors);
    }
    along_and_gradient(model, direction, batch, weights, factors)
}

/// [`per_example_dot_and_gradient`] without examples' own gradients.
pub(super) fn along_and_gradient(
    model: &Decoder,
    direction: &Vector,
    batch: &Batch,
    weights: &[f32],
    factors: impl FnOnce(&PerExample) -> Vec<f64>,
) -> (PerExample, Vector) {
    // An operation's value is linear in its parameters: its gradient by them is that of the direction in their place.
    let leaves = direction.clone().leaves();
    let watched = Watched::pass(model, &leaves, batch, weights);
    let factors = factors(&watched.found);
    assert_eq!(factors.len(), batch.rows, "one factor for each example");
    let gradient = watched.gradient(&leaves, &factors, weights);
    (watched.found, gradient)
}

/// A forward and backward pass that was watched.
struct Watched {
    found: PerExample,
    model: Decoder,
    /// Of every operation with parameters the value along the direction, and the loss's gradient by the value itself.
    operations: Vec<[Tensor<2>; 2]>,
    hidden_nd: Tensor<2>,
    labels_n: Tensor<1, Int>,
}

impl Watched {
    fn pass(model: &Decoder, direction: &Vector, batch: &Batch, weights: &[f32]) -> Self {
        let (rows, width) = (batch.rows, batch.width);
        let probe = Probe::new(rows, direction.clone());
        let (model, hidden_nd, labels_n) = forward(model, &probe, batch, weights);
        let head = linear_cross_entropy_along(
            Projection {
                hidden_nd: hidden_nd.clone(),
                head_vd: model.head(),
                bias_v: model.head_bias(),
            },
            probe.along(model.head_param()),
            model.head_bias.as_ref().map(|bias| probe.along(bias)),
            labels_n.clone(),
            like(&hidden_nd, weights.to_vec()),
        );
        let mut gradients = head.loss.backward();
        let operations: Vec<_> = probe
            .take()
            .into_iter()
            .map(|tap| {
                let Seen::Along(along_bm) = tap.seen else {
                    unreachable!("the probe wants no inputs");
                };
                [along_bm, tap.leaf.grad_remove(&mut gradients).expect(DEPENDS)]
            })
            .collect();
        let dots = operations
            .iter()
            .cloned()
            .map(|[along_bm, gradient_bm]| row_dots(along_bm, gradient_bm));
        let dots = host(Tensor::cat(dots.collect(), 0));
        let of_head = host(head.along_n);
        let found = PerExample {
            losses: weighted(&host(head.nll_n), weights, width),
            dots: (0..rows)
                .map(|row| {
                    let head: f64 = of_head[row * width..(row + 1) * width].iter().sum();
                    head + dots[row..].iter().step_by(rows).sum::<f64>()
                })
                .collect(),
        };
        Self {
            found,
            model,
            operations,
            hidden_nd: hidden_nd.without_autodiff(),
            labels_n,
        }
    }

    /// The gradient of the examples' losses times factors. `leaves` stood in the parameters' place.
    fn gradient(&self, leaves: &Vector, factors: &[f64], weights: &[f32]) -> Vector {
        let factors_b = like(&self.hidden_nd, factors.to_vec());
        let mut gradient = of_operations(leaves, &self.operations, factors_b);
        let width = weights.len() / factors.len();
        let weights = weights.iter().enumerate();
        let weights: Vec<f64> = weights
            .map(|(i, weight)| f64::from(*weight) * factors[i / width])
            .collect();
        let head_vd = self.model.head().autodiff().require_grad();
        let bias_v = self
            .model
            .head_bias()
            .map(|bias_v| bias_v.autodiff().require_grad());
        let entropy = linear_cross_entropy(
            self.hidden_nd.clone().autodiff(),
            head_vd.clone(),
            bias_v.clone(),
            self.labels_n.clone(),
            like(&self.hidden_nd, weights),
            Products::Full,
        );
        let mut gradients = entropy.loss.backward();
        let by_head_vd = head_vd.grad_remove(&mut gradients).expect("a leaf's gradient");
        let size = by_head_vd.shape().num_elements();
        gradient.add(self.model.head_param().id, by_head_vd.reshape([size]));
        if let (Some(param), Some(bias_v)) = (&self.model.head_bias, bias_v) {
            let by_bias_v = bias_v.grad_remove(&mut gradients).expect("a leaf's gradient");
            gradient.add(param.id, by_bias_v);
        }
        gradient
    }
}

/// What holds for every operation with parameters.
pub(super) const DEPENDS: &str = "the loss depends on every operation";

/// A watched forward pass of a model outside any graph: the model, its hidden states, and the labels.
pub(super) fn forward(
    model: &Decoder,
    probe: &Probe,
    batch: &Batch,
    weights: &[f32],
) -> (Decoder, Tensor<2>, Tensor<1, Int>) {
    let (rows, width) = (batch.rows, batch.width);
    assert_eq!(weights.len(), rows * width, "one weight for each token");
    let model = model.watched(probe);
    let device = model.device();
    let inputs_bt = TensorData::new(batch.inputs.clone(), [rows, width]);
    let labels_n = TensorData::new(batch.labels.clone(), [rows * width]);
    let hidden_btd = model.hidden(Tensor::from_data(inputs_bt, &device));
    let d = hidden_btd.dims()[2];
    let labels_n = Tensor::from_data(labels_n, &device);
    (model, hidden_btd.reshape([rows * width, d]), labels_n)
}

/// The gradient of watched operations' parameters, every example's times a factor. `leaves` stood in the parameters' place.
pub(super) fn of_operations(leaves: &Vector, operations: &[[Tensor<2>; 2]], factors_b: Tensor<1>) -> Vector {
    let factors_b1 = factors_b.unsqueeze_dim::<2>(1);
    let nothing = || like(&factors_b1, vec![0.0_f64]);
    let sum = operations
        .iter()
        .cloned()
        .map(|[along_bm, gradient_bm]| with_gradient(nothing(), along_bm, gradient_bm * factors_b1.clone()));
    let sum = sum
        .reduce(|sum, more| sum + more)
        .expect("a decoder has parameters");
    leaves.left(&sum)
}

/// Numbers as a tensor of the type of `x`, where it lies, outside any graph.
pub(super) fn like<T: burn::tensor::Element>(x: &Tensor<2>, values: Vec<T>) -> Tensor<1> {
    let count = values.len();
    let options = TensorCreationOptions::new(x.device().without_autodiff()).with_dtype(x.dtype());
    Tensor::from_data(TensorData::new(values, [count]), options)
}

/// The weighted sums of rows of `width`.
pub(super) fn weighted(values: &[f64], weights: &[f32], width: usize) -> Vec<f64> {
    let rows = values.chunks(width.max(1)).zip(weights.chunks(width.max(1)));
    let sum = |(values, weights): (&[f64], &[f32])| {
        let products = values.iter().zip(weights);
        products.map(|(value, weight)| value * f64::from(*weight)).sum()
    };
    rows.map(sum).collect()
}
