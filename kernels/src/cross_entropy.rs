//! Cross-entropy through the output head, in chunks of rows: logits of all rows are never held at once.

use burn::backend::Dispatch;
use burn::tensor::{Int, Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::beside::beside;
use crate::flex::{self, Plain};
use crate::linear::add_rows;
use crate::matrix::View;
use crate::product::{Factor, Products, Right, takes};
use crate::projection::{Projection, chunk_rows, chunks, indices, task_rows};
use crate::simd::{exponentials, vectorised};

mod along;
#[cfg(feature = "cube")]
mod gpu;
mod reference;

pub(crate) use along::flex_nll_along;
pub use along::{CrossEntropyAlong, linear_cross_entropy_along};
use reference::{reference_gradients, reference_likelihoods, reference_nll};

/// What [`linear_cross_entropy`] gives.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// `Σ_n weight_n · nll_n`, differentiable, of shape `[1]`.
    pub loss: Tensor<1>,
    /// Negative log-likelihood of every target, in nats, outside the graph.
    pub nll_n: Tensor<1>,
}

/// Weighted cross-entropy of `targets_n` under `softmax(hidden · headᵀ + bias)`.
///
/// Gradients reach `hidden_nd`, `head_vd` and `bias_v`; the weights are constants. The backward pass is worked out together with the
/// forward one, chunk by chunk (`∂loss/∂logits = weight · (softmax − onehot)`), and handed to the graph as the gradient of
/// a linear function, so no logits outlive their chunk.
///
/// # Shapes
/// `hidden_nd`: `[n, d]`, `head_vd`: `[v, d]`, `bias_v`: `[v]`, `targets_n` and `weights_n`: `[n]`.
pub fn linear_cross_entropy(
    hidden_nd: Tensor<2>,
    head_vd: Tensor<2>,
    bias_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
    products: Products,
) -> CrossEntropy {
    if !hidden_nd.device().is_autodiff() {
        let nll_n = linear_nll(hidden_nd, head_vd, bias_v, targets_n, products);
        return CrossEntropy {
            loss: (nll_n.clone() * weights_n).sum(),
            nll_n,
        };
    }
    let gradients = gradients(
        hidden_nd.clone().without_autodiff(),
        head_vd.clone().without_autodiff(),
        bias_v.clone().map(Tensor::without_autodiff),
        targets_n.without_autodiff(),
        weights_n.clone().without_autodiff(),
        products,
        hidden_nd.is_tracked(),
    );
    let nll_n = gradients.nll_n;
    let value = (nll_n.clone() * weights_n.without_autodiff()).sum();
    let projection = Projection {
        hidden_nd,
        head_vd,
        bias_v,
    };
    let loss = projection.with_gradients(value, gradients.by);
    CrossEntropy { loss, nll_n }
}

/// Negative log-likelihoods and the weighted sum's gradients.
struct Gradients {
    nll_n: Tensor<1>,
    by: Projection,
}

/// Negative log-likelihoods, and the weighted sum's gradients with respect to hidden states and head; outside the graph.
/// The gradient of hidden states that do not want it may be empty.
fn gradients(
    hidden_nd: Tensor<2>,
    head_vd: Tensor<2>,
    bias_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
    products: Products,
    wants_hidden: bool,
) -> Gradients {
    #[cfg(feature = "cube")]
    if gpu::takes(&hidden_nd, bias_v.as_ref(), products) {
        return gpu::gradients(hidden_nd, head_vd, targets_n, weights_n);
    }
    if !flex::is_fused(&hidden_nd) {
        return reference_gradients(
            &Projection {
                hidden_nd,
                head_vd,
                bias_v,
            },
            targets_n,
            weights_n,
            products,
        );
    }
    let biased = bias_v.is_some();
    let (nll_n, hidden_nd, head_vd, bias_v) = Dispatch::fused_nll_gradients(
        hidden_nd.clone().into_dispatch(),
        head_vd.into_dispatch(),
        flex::or_empty(bias_v, &hidden_nd).into_dispatch(),
        targets_n.into_dispatch(),
        weights_n.into_dispatch(),
        products,
        wants_hidden,
    );
    Gradients {
        nll_n: Tensor::from_dispatch(nll_n),
        by: Projection {
            hidden_nd: Tensor::from_dispatch(hidden_nd),
            head_vd: Tensor::from_dispatch(head_vd),
            bias_v: biased.then(|| Tensor::from_dispatch(bias_v)),
        },
    }
}

/// Negative log-likelihood in nats of `targets_n` under `softmax(hidden · headᵀ + bias)`, without gradients. The head may
/// be bfloat16.
///
/// # Shapes
/// As in [`linear_cross_entropy`]; the result is `[n]`.
pub fn linear_nll(
    hidden_nd: Tensor<2>,
    head_vd: Tensor<2>,
    bias_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    products: Products,
) -> Tensor<1> {
    let projection = plain(hidden_nd, head_vd, bias_v);
    let targets_n = targets_n.without_autodiff();
    if is_fused(&projection) {
        return likelihoods(projection, targets_n, products).nll_n;
    }
    #[cfg(feature = "cube")]
    if gpu::takes(&projection.hidden_nd, projection.bias_v.as_ref(), products) {
        return gpu::nll(projection.hidden_nd, projection.head_vd, targets_n);
    }
    reference_nll(&projection, targets_n, products)
}

/// Logits outside any graph.
fn plain(hidden_nd: Tensor<2>, head_vd: Tensor<2>, bias_v: Option<Tensor<1>>) -> Projection {
    let projection = Projection {
        hidden_nd,
        head_vd,
        bias_v,
    };
    projection.without_autodiff()
}

/// Whether likelihoods have a fused body.
fn is_fused(projection: &Projection) -> bool {
    flex::is_fused(&projection.hidden_nd) && takes(projection.head_vd.dtype())
}

/// What [`linear_likelihoods`] gives, outside any graph.
#[derive(Debug, Clone)]
pub struct Likelihoods {
    /// Negative log-likelihood of every target, in nats.
    pub nll_n: Tensor<1>,
    /// That of each row's likeliest token: the target's is the same where no token is likelier.
    pub least_n: Tensor<1>,
}

/// [`linear_nll`], with what the likeliest token has.
pub fn linear_likelihoods(
    hidden_nd: Tensor<2>,
    head_vd: Tensor<2>,
    bias_v: Option<Tensor<1>>,
    targets_n: Tensor<1, Int>,
    products: Products,
) -> Likelihoods {
    let projection = plain(hidden_nd, head_vd, bias_v);
    let targets_n = targets_n.without_autodiff();
    if is_fused(&projection) {
        return likelihoods(projection, targets_n, products);
    }
    reference_likelihoods(&projection, targets_n, products)
}

/// The fused [`linear_likelihoods`].
fn likelihoods(projection: Projection, targets_n: Tensor<1, Int>, products: Products) -> Likelihoods {
    let Projection {
        hidden_nd,
        head_vd,
        bias_v,
    } = projection;
    let (nll_n, least_n) = Dispatch::fused_nll(
        hidden_nd.clone().into_dispatch(),
        head_vd.into_dispatch(),
        flex::or_empty(bias_v, &hidden_nd).into_dispatch(),
        targets_n.into_dispatch(),
        products,
    );
    Likelihoods {
        nll_n: Tensor::from_dispatch(nll_n),
        least_n: Tensor::from_dispatch(least_n),
    }
}

/// The fused body of [`linear_likelihoods`]: its two results.
pub(crate) fn flex_nll(
    hidden: &FlexTensor,
    head: &FlexTensor,
    bias: &FlexTensor,
    targets: &FlexTensor,
    products: Products,
) -> (FlexTensor, FlexTensor) {
    let ([n, d], [v, _]) = (flex::dims(hidden), flex::dims(head));
    let (hidden, head, targets) = (hidden.to_contiguous(), head.to_contiguous(), indices(targets, v));
    let xs = hidden.storage::<f32>();
    let head_dv = Right::new(Factor::of(&head).transposed(), products);
    let bias = bias.to_contiguous();
    let bias = bias.storage::<f32>();
    // Chunk after chunk of rows from `first` on.
    let run = |nll: &mut [[f32; 2]], first: usize| {
        let mut logits = vec![0.0; chunk_rows([v, d]).min(nll.len()) * v];
        for (start, rows) in chunks(nll.len(), [v, d]) {
            let (logits, here) = (&mut logits[..rows * v], first + start);
            head_dv.multiply_into(logits, View::new(&xs[here * d..], rows, d, d), bias);
            nll[start..start + rows]
                .par_chunks_mut(task_rows(v))
                .zip(logits.par_chunks_mut(task_rows(v) * v))
                .zip(targets[here..here + rows].par_chunks(task_rows(v)))
                .for_each(|((nll, logits), targets)| {
                    softmax_rows(nll, logits, targets, None);
                });
        }
    };
    let mut nll = vec![[0.0; 2]; n];
    // Two runs beside each other, each with a chunk's logits.
    let chunk = chunk_rows([v, d]);
    let (one, other) = nll.split_at_mut((n.div_ceil(2 * chunk) * chunk).min(n));
    let middle = one.len();
    let runs = [(one, 0), (other, middle)].into_iter();
    beside(
        runs.filter(|(nll, _)| !nll.is_empty()).collect(),
        |(nll, first)| run(nll, first),
    );
    let result = |i: usize| flex::tensor(nll.iter().map(|nll| nll[i]).collect(), Shape::new([n]));
    (result(0), result(1))
}

/// The fused body of [`gradients`].
pub(crate) fn flex_nll_gradients(
    [hidden, head, bias]: [&FlexTensor; 3],
    targets: &FlexTensor,
    weights: &FlexTensor,
    products: Products,
    wants_hidden: bool,
) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
    let ([n, d], [v, _]) = (flex::dims(hidden), flex::dims(head));
    let (hidden, head, targets) = (hidden.to_contiguous(), head.to_contiguous(), indices(targets, v));
    let (bias, weights) = (bias.to_contiguous(), weights.to_contiguous());
    let xs = hidden.storage::<f32>();
    let head_dv = Right::new(Factor::of(&head).transposed(), products);
    let head_vd = Right::new(Factor::of(&head), products);
    let (bias, weights) = (bias.storage::<f32>(), weights.storage::<f32>());
    let wanted = if wants_hidden { n } else { 0 };
    let (mut nll, mut by_hidden, mut by_head) = (vec![[0.0; 2]; n], vec![0.0; wanted * d], vec![0.0; v * d]);
    let mut by_bias = vec![0.0; bias.len()];
    let mut logits = vec![0.0; chunk_rows([v, d]).min(n) * v];
    for (start, rows) in chunks(n, [v, d]) {
        let range = start..start + rows;
        let (logits, x) = (&mut logits[..rows * v], View::new(&xs[start * d..], rows, d, d));
        head_dv.multiply_into(logits, x, bias);
        softmax_chunk(
            &mut nll[range.clone()],
            logits,
            &targets[range.clone()],
            &weights[range],
        );
        if !bias.is_empty() {
            add_rows(&mut by_bias, logits);
        }
        let by_logits = View::new(logits, rows, v, v);
        if wants_hidden {
            head_vd.multiply_into(&mut by_hidden[start * d..(start + rows) * d], by_logits, &[]);
        }
        let x = Right::new(Factor::F32(x), products);
        x.multiply_add(&mut by_head, by_logits.transposed());
    }
    let tensor = |values, shape: [usize; 2]| flex::tensor(values, Shape::new(shape));
    (
        flex::tensor(nll.iter().map(|[nll, _]| *nll).collect(), Shape::new([n])),
        tensor(by_hidden, [wanted, d]),
        tensor(by_head, [v, d]),
        flex::tensor(by_bias, Shape::new([bias.len()])),
    )
}

/// What [`softmax_rows`] gives of a chunk's rows; the logits become the weighted sum's gradient by them.
fn softmax_chunk(nll: &mut [[f32; 2]], logits: &mut [f32], targets: &[usize], weights: &[f32]) {
    let v = logits.len() / nll.len();
    let rows = task_rows(v);
    nll.par_chunks_mut(rows)
        .zip(logits.par_chunks_mut(rows * v))
        .zip(targets.par_chunks(rows).zip(weights.par_chunks(rows)))
        .for_each(|((nll, logits), (targets, weights))| {
            softmax_rows(nll, logits, targets, Some(weights));
        });
}

vectorised! {
    /// Negative log-likelihoods of some rows' targets, and of their likeliest tokens; with weights, the logits become the
    /// loss's gradient by them.
    fn softmax_rows<FMA>(nll: &mut [[f32; 2]], logits: &mut [f32], targets: &[usize], weights: Option<&[f32]>) {
        let v = logits.len() / nll.len();
        for (i, row) in logits.chunks_exact_mut(v).enumerate() {
            let target = row[targets[i]];
            let (max, sum) = exponentials::<FMA>(row);
            nll[i] = [(max - target) + sum.ln(), sum.ln()];
            if let Some(weights) = weights {
                let scale = weights[i] / sum;
                for value in row.iter_mut() {
                    *value *= scale;
                }
                row[targets[i]] -= weights[i];
            }
        }
    }
}

#[cfg(test)]
mod tests;
