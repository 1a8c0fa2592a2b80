//! Cross-entropy together with its derivative along a direction in which the output head may move.

use burn::backend::Dispatch;
use burn::tensor::{Int, Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::reference::softmax;
use super::softmax_chunk;
use crate::flex::{self, Plain};
use crate::linear::widened;
use crate::matrix::View;
use crate::product::{Factor, Products, Right};
use crate::projection::{Projection, chunk_rows, chunks, indices, task_rows};
use crate::simd::{sum2, vectorised};
use crate::tap::with_gradient;

/// What [`linear_cross_entropy_along`] gives.
#[derive(Debug, Clone)]
pub struct CrossEntropyAlong {
    /// `Σ_n weight_n · nll_n`, of shape `[1]`, differentiable by the hidden states alone.
    pub loss: Tensor<1>,
    /// Negative log-likelihood of every target, in nats, outside the graph.
    pub nll_n: Tensor<1>,
    /// How fast `weight_n · nll_n` grows as head and bias move along the direction, outside the graph.
    pub along_n: Tensor<1>,
}

/// [`linear_cross_entropy`](crate::linear_cross_entropy), and for every row the scalar product of its loss's gradient by
/// head and bias with a direction: `Σ_j ∂loss_n/∂logit_j · (hidden_n · direction_j + direction bias_j)`. It is formed as
/// `hidden_n · (∂loss_n/∂logits · direction)`, so that it takes one product and logits stay in their chunk.
///
/// # Shapes
/// `direction_vd`: `[v, d]` and `direction_v`: `[v]`, as head and bias; `targets_n` and `weights_n`: `[n]`.
pub fn linear_cross_entropy_along(
    projection: Projection,
    direction_vd: Tensor<2>,
    direction_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> CrossEntropyAlong {
    assert_eq!(
        direction_vd.dims(),
        projection.head_vd.dims(),
        "the direction is the head's"
    );
    assert_eq!(
        direction_v.is_some(),
        projection.bias_v.is_some(),
        "a direction for the bias where there is one"
    );
    let hidden_nd = projection.hidden_nd.clone();
    let weights_n = weights_n.without_autodiff();
    let (nll_n, by_hidden_nd, along_n) = parts(
        projection.without_autodiff(),
        direction_vd.without_autodiff(),
        direction_v.map(Tensor::without_autodiff),
        targets_n.without_autodiff(),
        weights_n.clone(),
    );
    let value = (nll_n.clone() * weights_n).sum();
    CrossEntropyAlong {
        loss: with_gradient(value, hidden_nd, by_hidden_nd),
        nll_n,
        along_n,
    }
}

/// Negative log-likelihoods, the weighted sum's gradient by the hidden states, and the rows' derivatives along the
/// direction; outside the graph.
fn parts(
    projection: Projection,
    direction_vd: Tensor<2>,
    direction_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> (Tensor<1>, Tensor<2>, Tensor<1>) {
    if !flex::is_fused(&projection.hidden_nd) || !flex::is_fused(&direction_vd) {
        return reference(projection, direction_vd, direction_v, targets_n, weights_n);
    }
    let Projection {
        hidden_nd,
        head_vd,
        bias_v,
    } = projection;
    let (nll_n, by_hidden_nd, along_n) = Dispatch::fused_nll_along(
        hidden_nd.clone().into_dispatch(),
        head_vd.into_dispatch(),
        flex::or_empty(bias_v, &hidden_nd).into_dispatch(),
        direction_vd.into_dispatch(),
        flex::or_empty(direction_v, &hidden_nd).into_dispatch(),
        targets_n.into_dispatch(),
        weights_n.into_dispatch(),
    );
    (
        Tensor::from_dispatch(nll_n),
        Tensor::from_dispatch(by_hidden_nd),
        Tensor::from_dispatch(along_n),
    )
}

/// [`parts`] composed of burn's operations.
fn reference(
    projection: Projection,
    direction_vd: Tensor<2>,
    direction_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> (Tensor<1>, Tensor<2>, Tensor<1>) {
    let head_vd = widened(projection.head_vd.clone(), projection.hidden_nd.dtype());
    let (mut nll, mut by_hidden, mut along) = (Vec::new(), Vec::new(), Vec::new());
    for (start, rows) in projection.chunks() {
        let target_c = targets_n.clone().narrow(0, start, rows);
        let weight_c = weights_n.clone().narrow(0, start, rows);
        let logits_cv = projection.logits(start, rows, Products::Full);
        let (nll_c, by_logits_cv) = softmax(logits_cv, target_c, weight_c);
        let x_cd = projection.hidden_nd.clone().narrow(0, start, rows);
        let mut along_c1 = (by_logits_cv.clone().matmul(direction_vd.clone()) * x_cd).sum_dim(1);
        if let Some(direction_v) = &direction_v {
            along_c1 = along_c1 + by_logits_cv.clone().matmul(direction_v.clone().unsqueeze_dim(1));
        }
        nll.push(nll_c);
        by_hidden.push(by_logits_cv.matmul(head_vd.clone()));
        along.push(along_c1.squeeze_dim(1));
    }
    (
        Tensor::cat(nll, 0),
        Tensor::cat(by_hidden, 0),
        Tensor::cat(along, 0),
    )
}

/// The fused body of [`parts`]: of hidden states, head and bias, and of the direction of head and bias.
pub(crate) fn flex_nll_along(
    [hidden, head, bias]: [&FlexTensor; 3],
    direction: [&FlexTensor; 2],
    targets: &FlexTensor,
    weights: &FlexTensor,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let ([n, d], [v, _]) = (flex::dims(hidden), flex::dims(head));
    let (hidden, head, targets) = (hidden.to_contiguous(), head.to_contiguous(), indices(targets, v));
    let (bias, weights) = (bias.to_contiguous(), weights.to_contiguous());
    let [direction, direction_bias] = direction.map(FlexTensor::to_contiguous);
    let (xs, weights) = (hidden.storage::<f32>(), weights.storage::<f32>());
    let head_dv = Right::new(Factor::of(&head).transposed(), Products::Full);
    let head_vd = Right::new(Factor::of(&head), Products::Full);
    let direction_vd = Right::new(Factor::of(&direction), Products::Full);
    let direction_bias = direction_bias.storage::<f32>();
    let (mut nll, mut by_hidden, mut along) = (vec![[0.0; 2]; n], vec![0.0; n * d], vec![0.0; n]);
    let most = chunk_rows([v, d]).min(n);
    let (mut logits, mut moved) = (vec![0.0; most * v], vec![0.0; most * d]);
    for (start, rows) in chunks(n, [v, d]) {
        let range = start..start + rows;
        let (logits, moved) = (&mut logits[..rows * v], &mut moved[..rows * d]);
        let x = &xs[start * d..(start + rows) * d];
        head_dv.multiply_into(logits, View::new(x, rows, d, d), bias.storage());
        softmax_chunk(
            &mut nll[range.clone()],
            logits,
            &targets[range.clone()],
            &weights[range.clone()],
        );
        let by_logits = View::new(logits, rows, v, v);
        head_vd.multiply_into(&mut by_hidden[start * d..(start + rows) * d], by_logits, &[]);
        direction_vd.multiply_into(moved, by_logits, &[]);
        let task = task_rows(v);
        along[range]
            .par_chunks_mut(task)
            .zip(moved.par_chunks(task * d).zip(x.par_chunks(task * d)))
            .zip(logits.par_chunks(task * v))
            .for_each(|((along, (moved, x)), by_logits)| {
                dots(along, moved, x, by_logits, direction_bias);
            });
    }
    (
        flex::tensor(nll.iter().map(|[nll, _]| *nll).collect(), Shape::new([n])),
        flex::tensor(by_hidden, Shape::new([n, d])),
        flex::tensor(along, Shape::new([n])),
    )
}

vectorised! {
    /// `x · moved + by_logits · bias` of some rows; an empty bias is none.
    fn dots<FMA>(along: &mut [f32], moved: &[f32], x: &[f32], by_logits: &[f32], bias: &[f32]) {
        let (d, v) = (x.len() / along.len(), by_logits.len() / along.len());
        for (i, along) in along.iter_mut().enumerate() {
            let row = i * d..(i + 1) * d;
            *along = sum2(&x[row.clone()], &moved[row], |x, moved| x * moved);
            if !bias.is_empty() {
                *along += sum2(&by_logits[i * v..(i + 1) * v], bias, |by_logit, bias| by_logit * bias);
            }
        }
    }
}
