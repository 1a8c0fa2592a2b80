//! Causal softmax attention with grouped key/value heads (Ainslie et al. 2023), a window, ALiBi and a cache of keys.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData, activation::softmax};

use crate::flex::{self, Differentiable};

mod decode;
mod fused;
mod mask;
#[cfg(test)]
mod tests;

pub(crate) use fused::Attention;
pub use mask::{Mask, Row};

/// `softmax(scale · q kᵀ + bias) v` over the keys that `mask` shows to each query; by default query `i` of `t` sees keys
/// `0 ..= s - t + i` (bottom-right aligned, so that a query shorter than its keys continues them). A query that sees no
/// key gives zeros. Keys that no query sees are not read: the work goes with the keys seen, not with `s`.
///
/// # Shapes
/// `q_bthd`: `[b, t, h, d]`, `k_csgd` and `v_csgd`: `[c, s, g, d]`, `g` divides `h`; query head `i` reads key head `i·g/h`.
/// Without `mask.rows`, `c` is `b`. The result is `[b, t, h, d]`.
pub fn attention(
    q_bthd: Tensor<4>,
    k_csgd: Tensor<4>,
    v_csgd: Tensor<4>,
    scale: f64,
    mask: &Mask,
) -> Tensor<4> {
    let ([b, t, h, d], [c, s, g, kd]) = (q_bthd.dims(), k_csgd.dims());
    assert_eq!(k_csgd.dims(), v_csgd.dims(), "keys and values have one shape");
    assert_eq!(d, kd, "queries and keys agree in width");
    assert!(h % g == 0, "key/value heads divide the heads");
    assert!(mask.window != Some(0), "a query sees its own key");
    if let Some(slopes) = &mask.slopes {
        assert_eq!(slopes.len(), h, "one slope for each query head");
    }
    let rows = mask.rows([b, t], [c, s]);
    if !flex::is_fused(&q_bthd) {
        return reference(q_bthd, k_csgd, v_csgd, scale, mask, &rows);
    }
    Tensor::from_dispatch(Dispatch::fused_attention(
        q_bthd.into_dispatch(),
        k_csgd.into_dispatch(),
        v_csgd.into_dispatch(),
        Attention {
            scale,
            mask: mask.clone(),
            rows,
        },
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference(
    q_bthd: Tensor<4>,
    k_csgd: Tensor<4>,
    v_csgd: Tensor<4>,
    scale: f64,
    mask: &Mask,
    rows: &[Row],
) -> Tensor<4> {
    let [_, t, h, _] = q_bthd.dims();
    let device = q_bthd.device().without_autodiff();
    let options = TensorCreationOptions::new(device.clone()).with_dtype(q_bthd.dtype());
    let q_bhtd = q_bthd.swap_dims(1, 2);
    let s = rows.iter().map(|row| row.past + t).max().unwrap_or(0);
    let [k_bhsd, v_bhsd] = [k_csgd, v_csgd].map(|x_csgd| {
        let mut x_bsgd = x_csgd.narrow(1, 0, s);
        if mask.rows.is_some() {
            let indices: Vec<i64> = rows.iter().map(|row| row.row as i64).collect();
            let count = indices.len();
            let indices_b = Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &device);
            x_bsgd = x_bsgd.select(0, indices_b);
        }
        repeat_heads(x_bsgd.swap_dims(1, 2), h)
    });
    let mut scores_bhts = q_bhtd.matmul(k_bhsd.swap_dims(2, 3)) * scale;
    if let Some(slopes) = &mask.slopes {
        let distances_b1ts = Tensor::<4>::from_data(mask::distances(rows, [t, s]), options.clone());
        let slopes_1h11 = Tensor::<4>::from_data(TensorData::new(slopes.to_vec(), [1, h, 1, 1]), options);
        scores_bhts = scores_bhts + distances_b1ts * slopes_1h11;
    }
    let scores_bhts = scores_bhts.mask_fill(mask.hidden(rows, [t, s], &device), f32::NEG_INFINITY);
    let mut values_bhtd = softmax(scores_bhts, 3).matmul(v_bhsd);
    if let Some(blind_b1t1) = mask.blind(rows, t, &device) {
        values_bhtd = values_bhtd.mask_fill(blind_b1t1, 0.0);
    }
    values_bhtd.swap_dims(1, 2)
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
