//! Attention composed of burn's operations.

use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData, activation::softmax};

use super::mask::{Buckets, Mask};
use super::sight::Sight;
use crate::linear::{product, widened};

/// The operation composed of burn's.
pub(super) fn reference(
    q_bthd: Tensor<4>,
    k_csgd: Tensor<4>,
    v_csgd: Tensor<4>,
    scale: f64,
    mask: &Mask,
    sight: &Sight,
) -> Tensor<4> {
    let [b, t, h, _] = q_bthd.dims();
    if b == 0 {
        return q_bthd;
    }
    let dtype = q_bthd.dtype();
    let device = q_bthd.device().without_autodiff();
    let constant = |values: Vec<f64>, shape: [usize; 4]| {
        let options = TensorCreationOptions::new(device.clone()).with_dtype(dtype);
        Tensor::<4>::from_data(TensorData::new(values, shape), options)
    };
    let q_bhtd = q_bthd.swap_dims(1, 2);
    let s = sight.rows.iter().map(|row| row.past + t).max().unwrap_or(0);
    let [k_bhsd, v_bhsd] = [k_csgd, v_csgd].map(|x_csgd| {
        let mut x_bsgd = x_csgd.narrow(1, 0, s);
        if mask.rows.is_some() {
            let indices: Vec<i64> = sight.rows.iter().map(|row| row.row as i64).collect();
            let indices_b = Tensor::<1, Int>::from_data(TensorData::new(indices, [b]), &device);
            x_bsgd = x_bsgd.select(0, indices_b);
        }
        repeat_heads(x_bsgd.swap_dims(1, 2), h)
    });
    let mut scores_bhts = product(q_bhtd, k_bhsd.swap_dims(2, 3)) * scale;
    // Of one sequence or of all.
    let distances = if mask.slopes.is_some() || mask.relative.is_some() {
        sight.distances(s)
    } else {
        Vec::new()
    };
    let sequences = distances.len() / (t * s).max(1);
    if let Some(slopes) = &mask.slopes {
        let away = distances
            .iter()
            .map(|distance| -(distance.abs() as f64))
            .collect();
        let slopes_1h11 = constant(slopes.to_vec(), [1, h, 1, 1]);
        scores_bhts = scores_bhts + constant(away, [sequences, 1, t, s]) * slopes_1h11;
    }
    if let (Some(relative), Some(buckets)) = (&mask.relative, Buckets::of(mask)) {
        let indices: Vec<i64> = distances.iter().map(|d| buckets.index(*d) as i64).collect();
        let shape = [indices.len()];
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, shape), &device);
        let bias_hbts = widened(relative.table_hn.clone(), dtype)
            .select(1, indices)
            .reshape([h, sequences, t, s]);
        scores_bhts = scores_bhts + bias_hbts.swap_dims(0, 1);
    }
    if let Some(bias) = &sight.key_bias {
        // Keys that −∞ hides are hidden below.
        let finite = |value: f64| if value == f64::NEG_INFINITY { 0.0 } else { value };
        let rows = sight.rows.iter();
        let bias = rows.flat_map(|row| bias[row.row * sight.s..][..s].iter().map(|bias| finite(*bias)));
        scores_bhts = scores_bhts + constant(bias.collect(), [b, 1, 1, s]);
    }
    let scores_bhts = scores_bhts.mask_fill(sight.hidden(s, &device), f32::NEG_INFINITY);
    let mut values_bhtd = product(softmax(scores_bhts, 3), v_bhsd);
    if let Some(blind_b1t1) = sight.blind(&device) {
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
