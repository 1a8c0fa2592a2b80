//! Cross-entropy through the output head, in chunks of rows: logits of all rows are never held at once.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// Logits held at once, in elements (4 MiB in f32).
const CHUNK_ELEMENTS: usize = 1 << 20;

/// What [`linear_cross_entropy`] gives.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// `Σ_n weight_n · nll_n`, differentiable, of shape `[1]`.
    pub loss: Tensor<1>,
    /// Negative log-likelihood of every target, in nats, outside the graph.
    pub nll_n: Tensor<1>,
}

/// Weighted cross-entropy of `targets_n` under `softmax(hidden · headᵀ)`.
///
/// Gradients reach `hidden_nd` and `head_vd`; the weights are constants. The backward pass is worked out together with the
/// forward one, chunk by chunk (`∂loss/∂logits = weight · (softmax − onehot)`), and handed to the graph as the gradient of
/// a linear function, so no logits outlive their chunk.
///
/// # Shapes
/// `hidden_nd`: `[n, d]`, `head_vd`: `[v, d]`, `targets_n` and `weights_n`: `[n]`.
pub fn linear_cross_entropy(
    hidden_nd: Tensor<2>,
    head_vd: Tensor<2>,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
) -> CrossEntropy {
    if !hidden_nd.device().is_autodiff() {
        let nll_n = linear_nll(hidden_nd, head_vd, targets_n);
        return CrossEntropy {
            loss: (nll_n.clone() * weights_n).sum(),
            nll_n,
        };
    }
    let (x_nd, w_vd) = (
        hidden_nd.clone().without_autodiff(),
        head_vd.clone().without_autodiff(),
    );
    let (targets_n, weights_n) = (targets_n.without_autodiff(), weights_n.without_autodiff());
    let mut nll = Vec::new();
    let mut hidden_gradients = Vec::new();
    let mut head_gradient_vd = w_vd.zeros_like();
    for (start, rows) in chunks(x_nd.dims()[0], w_vd.dims()[0]) {
        let x_cd = x_nd.clone().narrow(0, start, rows);
        let target_c1 = targets_n.clone().narrow(0, start, rows).unsqueeze_dim::<2>(1);
        let weight_c1 = weights_n.clone().narrow(0, start, rows).unsqueeze_dim::<2>(1);
        let log_p_cv = log_softmax(x_cd.clone().matmul(w_vd.clone().transpose()), 1);
        nll.push(
            log_p_cv
                .clone()
                .gather(1, target_c1.clone())
                .neg()
                .squeeze_dim::<1>(1),
        );
        let gradient_cv = (log_p_cv.exp() * weight_c1.clone()).scatter(
            1,
            target_c1,
            weight_c1.neg(),
            burn::tensor::IndexingUpdateOp::Add,
        );
        hidden_gradients.push(gradient_cv.clone().matmul(w_vd.clone()));
        head_gradient_vd = head_gradient_vd + gradient_cv.transpose().matmul(x_cd);
    }
    let nll_n = Tensor::cat(nll, 0);
    let value = (nll_n.clone() * weights_n).sum().autodiff();
    let linear = (hidden_nd * Tensor::cat(hidden_gradients, 0).autodiff()).sum()
        + (head_vd * head_gradient_vd.autodiff()).sum();
    // The linear function's own value is subtracted again: only its gradient is wanted.
    let loss = linear.clone() - linear.detach() + value;
    CrossEntropy { loss, nll_n }
}

/// Negative log-likelihood in nats of `targets_n` under `softmax(hidden · headᵀ)`, without gradients.
///
/// # Shapes
/// As in [`linear_cross_entropy`]; the result is `[n]`.
pub fn linear_nll(hidden_nd: Tensor<2>, head_vd: Tensor<2>, targets_n: Tensor<1, Int>) -> Tensor<1> {
    let parts = chunks(hidden_nd.dims()[0], head_vd.dims()[0]).map(|(start, rows)| {
        let x_cd = hidden_nd.clone().narrow(0, start, rows);
        let target_c1 = targets_n.clone().narrow(0, start, rows).unsqueeze_dim::<2>(1);
        log_softmax(x_cd.matmul(head_vd.clone().transpose()), 1)
            .gather(1, target_c1)
            .neg()
            .squeeze_dim::<1>(1)
    });
    Tensor::cat(parts.collect(), 0)
}

/// Ranges `(start, rows)` that tile `n` rows so that a chunk's logits stay within [`CHUNK_ELEMENTS`].
fn chunks(n: usize, v: usize) -> impl Iterator<Item = (usize, usize)> {
    let rows = (CHUNK_ELEMENTS / v).max(1);
    (0..n)
        .step_by(rows)
        .map(move |start| (start, rows.min(n - start)))
}
