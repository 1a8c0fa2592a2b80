//! Products of every example's gradient with a vector, and the gradient weighted by them, where the examples' own gradients are
//! held: a matrix's is formed for each example by itself, which takes what forming their sum takes.

use super::dots::{DEPENDS, PerExample, forward, like, of_operations, weighted};
use super::{Vector, host};
use crate::model::{Decoder, Probe, Seen};
use crate::tokens::Batch;
use burn::module::ParamId;
use burn::tensor::{Int, Tensor};
use lyceum_kernels::{Products, linear_cross_entropy, row_dots, with_gradient};

/// Elements of examples' own gradients that are held at once (256 MiB in f32).
const MOST: usize = 1 << 26;

/// Whether gradients of so many examples by so many parameters are held at once.
pub fn holds_own_gradients(examples: usize, parameters: usize) -> bool {
    examples.saturating_mul(parameters) <= MOST
}

/// Gradients of some examples' losses by one parameter.
struct Own {
    id: ParamId,
    /// The first of the examples.
    first: usize,
    /// `[b, m]`: a row for each of them.
    by_bm: Tensor<2>,
}

/// [`per_example_dot_and_gradient`](super::per_example_dot_and_gradient) for a batch whose gradients are held.
pub(super) fn dot_and_gradient(
    model: &Decoder,
    direction: &Vector,
    batch: &Batch,
    weights: &[f32],
    factors: impl FnOnce(&PerExample) -> Vec<f64>,
) -> (PerExample, Vector) {
    let rows = batch.rows;
    let leaves = direction.clone().leaves();
    let probe = Probe::new(rows, leaves.clone()).with_own_gradients();
    let (model, hidden_nd, labels_n) = forward(model, &probe, batch, weights);
    let weights_n = like(&hidden_nd, weights.to_vec());
    let (loss, nll_n, mut held) = head(&model, &hidden_nd, &labels_n, &weights_n, rows);
    let mut gradients = loss.backward();
    let (mut operations, mut dots) = (Vec::new(), Vec::new());
    for tap in probe.take() {
        let gradient_bm = tap.leaf.grad_remove(&mut gradients).expect(DEPENDS);
        match tap.seen {
            Seen::Along(along_bm) => {
                dots.push((0, row_dots(along_bm.clone(), gradient_bm.clone())));
                operations.push([along_bm, gradient_bm]);
            }
            Seen::Product { x_nk, w, bias } => held.extend(of_product(x_nk, gradient_bm, w, bias)),
        }
    }
    dots.extend(held.iter().map(|own| {
        let direction_1m = direction.at(own.id).clone().unsqueeze_dim(0);
        (own.first, row_dots(own.by_bm.clone(), direction_1m))
    }));
    let found = PerExample {
        losses: weighted(&host(nll_n), weights, batch.width),
        dots: added(rows, dots),
    };
    let factors = factors(&found);
    assert_eq!(factors.len(), rows, "one factor for each example");
    let factors_b = like(&hidden_nd, factors);
    let mut gradient = of_operations(&leaves, &operations, factors_b.clone());
    for Own { id, first, by_bm } in held {
        let factors_1b = factors_b
            .clone()
            .narrow(0, first, by_bm.dims()[0])
            .unsqueeze_dim(0);
        gradient.add(id, factors_1b.matmul(by_bm).squeeze_dim(0));
    }
    (found, gradient)
}

/// The weighted loss, differentiable by the hidden states; the tokens' own; and every example's gradients by head and bias.
fn head(
    model: &Decoder,
    hidden_nd: &Tensor<2>,
    labels_n: &Tensor<1, Int>,
    weights_n: &Tensor<1>,
    rows: usize,
) -> (Tensor<1>, Tensor<1>, Vec<Own>) {
    let width = labels_n.dims()[0] / rows;
    let leaf = |x: Tensor<2>| x.without_autodiff().autodiff().require_grad();
    let (mut held, mut nll, mut by_hidden) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let hidden_td = leaf(hidden_nd.clone().narrow(0, row * width, width));
        let head_vd = leaf(model.head());
        let bias_v = model
            .head_bias()
            .map(|bias_v| bias_v.without_autodiff().autodiff().require_grad());
        let entropy = linear_cross_entropy(
            hidden_td.clone(),
            head_vd.clone(),
            bias_v.clone(),
            labels_n.clone().narrow(0, row * width, width),
            weights_n.clone().narrow(0, row * width, width),
            Products::Full,
        );
        nll.push(entropy.nll_n);
        let mut gradients = entropy.loss.backward();
        by_hidden.push(hidden_td.grad_remove(&mut gradients).expect("a leaf's gradient"));
        let by_head_vd = head_vd.grad_remove(&mut gradients).expect("a leaf's gradient");
        let size = by_head_vd.shape().num_elements();
        held.push(Own {
            id: model.head_param().id,
            first: row,
            by_bm: by_head_vd.reshape([1, size]),
        });
        if let (Some(param), Some(bias_v)) = (&model.head_bias, bias_v) {
            let by_bias_v = bias_v.grad_remove(&mut gradients).expect("a leaf's gradient");
            held.push(Own {
                id: param.id,
                first: row,
                by_bm: by_bias_v.unsqueeze_dim(0),
            });
        }
    }
    let nll_n = Tensor::cat(nll, 0);
    let value = (nll_n.clone() * weights_n.clone()).sum();
    let loss = with_gradient(value, hidden_nd.clone(), Tensor::cat(by_hidden, 0));
    (loss, nll_n, held)
}

/// Every example's gradients by the weights and bias of a product, from its inputs `[b · t, k]` and the gradient of its value,
/// `[b, t · v]`.
fn of_product(x_nk: Tensor<2>, gradient_bm: Tensor<2>, w: ParamId, bias: Option<ParamId>) -> Vec<Own> {
    let ([n, k], [b, m]) = (x_nk.dims(), gradient_bm.dims());
    let (t, v) = (n / b, m * b / n);
    let gradient_btv = gradient_bm.reshape([b, t, v]);
    let by_w_bkv = x_nk
        .reshape([b, t, k])
        .swap_dims(1, 2)
        .matmul(gradient_btv.clone());
    let own = |id, by_bm| Own { id, first: 0, by_bm };
    let mut all = vec![own(w, by_w_bkv.reshape([b, k * v]))];
    all.extend(bias.map(|id| own(id, gradient_btv.sum_dim(1).squeeze_dim(1))));
    all
}

/// Sums by example of values that begin at an example.
fn added(rows: usize, values: Vec<(usize, Tensor<1>)>) -> Vec<f64> {
    let places: Vec<usize> = values
        .iter()
        .flat_map(|(first, values)| *first..first + values.dims()[0])
        .collect();
    let values = host(Tensor::cat(
        values.into_iter().map(|(_, values)| values).collect(),
        0,
    ));
    let mut sums = vec![0.0; rows];
    for (place, value) in places.into_iter().zip(values) {
        sums[place] += value;
    }
    sums
}
