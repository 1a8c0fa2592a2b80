//! Softmax attention with grouped key/value heads (Ainslie et al. 2023), a cache of keys, and what a [`Mask`] says: causal or
//! full, windows, packed sequences, biases by key and by distance.

use burn::backend::Dispatch;
#[cfg(feature = "cube")]
use burn::tensor::Int;
use burn::tensor::{DType, Tensor};

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable};
use crate::linear::widened;
use crate::rope::Pairing;

mod bias;
mod decode;
mod fused;
mod mask;
mod operands;
mod panels;
mod reference;
mod room;
mod rotary;
mod sight;
mod softmax;
#[cfg(test)]
mod tests;
mod tiles;
mod training;

use bias::Distance;
pub(crate) use fused::{Attention, SelfAttention};
use mask::Buckets;
pub use mask::{Mask, Relative, Row, Segments};
pub use rotary::Rotation;
use rotary::Turned;
use sight::Sight;

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
    let attention = Attention::new(mask, scale, [b, t, h], [c, s, g]);
    #[cfg(feature = "cube")]
    if let Some(ranges) = on_gpu(&q_bthd, mask, &attention.sight) {
        let qkv_bthd = Tensor::cat(vec![q_bthd, k_csgd, v_csgd], 2);
        return cube::self_attention(qkv_bthd, ranges, scale, g);
    }
    if !flex::is_fused(&q_bthd) {
        return reference::reference(q_bthd, k_csgd, v_csgd, scale, mask, &attention.sight);
    }
    let table = table(mask, &q_bthd);
    Tensor::from_dispatch(Dispatch::fused_attention(
        q_bthd.into_dispatch(),
        k_csgd.into_dispatch(),
        v_csgd.into_dispatch(),
        table.into_dispatch(),
        attention,
    ))
}

/// [`attention`] of sequences over themselves, whose queries, keys and values lie in one tensor as they leave their one product:
/// nothing is cut out and copied, and the gradient goes back as one. Queries and keys are rotated first where a rotation is
/// given; `mask.rows` have nothing past.
///
/// # Shapes
/// `qkv_bthd`: `[b, t, h + 2·groups, d]`, first the heads of queries, then of keys, then of values; the result is
/// `[b, t, h, d]`.
pub fn self_attention(
    qkv_bthd: Tensor<4>,
    groups: usize,
    rotation: Option<Rotation>,
    scale: f64,
    mask: &Mask,
) -> Tensor<4> {
    let [b, t, heads, d] = qkv_bthd.dims();
    assert!(heads > 2 * groups, "there are heads of queries, keys and values");
    let h = heads - 2 * groups;
    if !flex::is_fused(&qkv_bthd) {
        let part = |first: usize, count: usize| qkv_bthd.clone().narrow(2, first, count);
        let turned = |x_bthd: Tensor<4>| match rotation.clone() {
            Some(rotation) => rotation.apply(x_bthd),
            None => x_bthd,
        };
        #[cfg(feature = "cube")]
        if rotation.is_none() {
            let sight = Sight::new(mask, [b, t], [b, t]);
            if let Some(ranges) = on_gpu(&qkv_bthd, mask, &sight) {
                return cube::self_attention(qkv_bthd, ranges, scale, groups);
            }
        }
        let (q_bthd, k_btgd) = (turned(part(0, h)), turned(part(h, groups)));
        return attention(q_bthd, k_btgd, part(h + groups, groups), scale, mask);
    }
    let turned = Turned {
        pairs: rotation.as_ref().map_or(0, |rotation| rotation.pairs([b, t, d])),
        pairing: rotation
            .as_ref()
            .map_or(Pairing::Halves, |rotation| rotation.pairing),
    };
    let table = table(mask, &qkv_bthd);
    let [cos, sin] = match rotation {
        Some(rotation) => [rotation.cos_pr, rotation.sin_pr].map(|x_pr| Some(x_pr.flatten::<1>(0, 1))),
        None => [None, None],
    }
    .map(|angles| flex::or_empty(angles, &qkv_bthd));
    Tensor::from_dispatch(Dispatch::fused_self_attention(
        qkv_bthd.into_dispatch(),
        table.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        SelfAttention {
            attention: Attention::new(mask, scale, [b, t, h], [b, t, groups]),
            groups,
            turned,
        },
    ))
}

/// Which keys every query sees, where a GPU's own body takes the call: bf16, which tensor cores multiply.
#[cfg(feature = "cube")]
fn on_gpu(x_bthd: &Tensor<4>, mask: &Mask, sight: &Sight) -> Option<Tensor<3, Int>> {
    let plain = mask.slopes.is_none() && mask.relative.is_none() && x_bthd.shape().num_elements() > 0;
    let taken = plain && cube::takes(x_bthd) && x_bthd.dtype() == DType::BF16 && cube::fits(x_bthd.dims()[3]);
    if taken {
        sight.ranges(&x_bthd.device())
    } else {
        None
    }
}

/// The table of learned biases in one line; none is an empty one.
fn table(mask: &Mask, x: &Tensor<4>) -> Tensor<1> {
    let relative = mask.relative.as_ref();
    let table = relative.map(|relative| widened(relative.table_hn.clone(), DType::F32).flatten(0, 1));
    flex::or_empty(table, x)
}

impl Attention {
    /// That of `b` sequences of `t` queries with `h` heads over `c` of `s` keys with `g`.
    fn new(mask: &Mask, scale: f64, [b, t, h]: [usize; 3], [c, s, g]: [usize; 3]) -> Self {
        assert!(g > 0 && h % g == 0, "key/value heads divide the heads");
        if let Some(slopes) = &mask.slopes {
            assert_eq!(slopes.len(), h, "one slope for each query head");
        }
        if let Some(relative) = &mask.relative {
            assert_eq!(
                relative.table_hn.dims()[0],
                h,
                "one row of biases for each query head"
            );
        }
        let distance = Distance {
            slopes: mask.slopes.clone().unwrap_or_default(),
            buckets: Buckets::of(mask),
        };
        Self {
            scale,
            sight: Sight::new(mask, [b, t], [c, s]),
            distance,
            cached: mask.rows.is_some(),
        }
    }
}
