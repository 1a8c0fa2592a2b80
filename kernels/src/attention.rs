//! Causal softmax attention with grouped key/value heads (Ainslie et al. 2023).

use burn::tensor::{Bool, Int, Tensor, activation::softmax};

/// `softmax(scale · q kᵀ + mask) v`, where query `i` of `t` sees keys `0 ..= s - t + i` (bottom-right aligned, so that a
/// query shorter than its keys continues them).
///
/// # Shapes
/// `q_bthd`: `[b, t, h, d]`, `k_bsgd` and `v_bsgd`: `[b, s, g, d]`, `g` divides `h`; query head `i` reads key head `i·g/h`.
/// The result is `[b, t, h, d]`.
pub fn causal_attention(q_bthd: Tensor<4>, k_bsgd: Tensor<4>, v_bsgd: Tensor<4>, scale: f64) -> Tensor<4> {
    let [_, t, h, _] = q_bthd.dims();
    let s = k_bsgd.dims()[1];
    let q_bhtd = q_bthd.swap_dims(1, 2);
    let k_bhsd = repeat_heads(k_bsgd.swap_dims(1, 2), h);
    let v_bhsd = repeat_heads(v_bsgd.swap_dims(1, 2), h);
    let scores_bhts = q_bhtd.matmul(k_bhsd.swap_dims(2, 3)) * scale;
    let hidden_ts = future_mask(t, s, &scores_bhts.device());
    let scores_bhts = scores_bhts.mask_fill(hidden_ts.unsqueeze(), f32::NEG_INFINITY);
    softmax(scores_bhts, 3).matmul(v_bhsd).swap_dims(1, 2)
}

/// True where key `j` lies in the future of query `i`.
fn future_mask(t: usize, s: usize, device: &burn::tensor::Device) -> Tensor<2, Bool> {
    let query_t1 = Tensor::<1, Int>::arange((s - t) as i64..s as i64, device).unsqueeze_dim::<2>(1);
    let key_1s = Tensor::<1, Int>::arange(0..s as i64, device).unsqueeze_dim::<2>(0);
    key_1s.repeat_dim(0, t).greater(query_t1.repeat_dim(1, s))
}

/// `[b, g, s, d]` with every head repeated so that there are `h`.
fn repeat_heads(x_bgsd: Tensor<4>, h: usize) -> Tensor<4> {
    let [b, g, s, d] = x_bgsd.dims();
    if g == h {
        return x_bgsd;
    }
    x_bgsd
        .reshape([b, g, 1, s, d])
        .repeat_dim(2, h / g)
        .reshape([b, h, s, d])
}
