//! One layer's forward pass.

use super::cache::KeysValues;
use super::config::Activation;
use super::decoder::Layer;
use super::settings::Settings;
use burn::module::Param;
use burn::tensor::{Int, Tensor, activation};
use lyceum_kernels::{Mask, Rotation, Row, append, attention, gelu, self_attention, swiglu, table_rows};
use std::sync::Arc;

/// Where the tokens of a pass stand.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Cosine and sine: one row a position, shared by all sequences, or one a sequence and position.
    pub(crate) angles: Option<[Tensor<2>; 2]>,
    /// The positions: of one sequence for all, or of every sequence.
    pub(crate) places: Vec<i64>,
    /// Which keys each sequence sees, where it is not all up to its own.
    pub(crate) rows: Option<Arc<[Row]>>,
    /// Rows are few, and none's bytes may depend on the others.
    pub(crate) few: bool,
    /// The rows that the last layer gives, of all `b·t`; none: all. Behind its attention nothing is worked out for the others.
    pub(crate) wanted: Option<Tensor<1, Int>>,
}

impl Place {
    /// How heads are rotated by their positions, if they are.
    fn rotation(&self, settings: &Settings) -> Option<Rotation> {
        let [cos_pr, sin_pr] = self.angles.clone()?;
        let pairing = settings.rotary()?.pairing;
        Some(Rotation {
            cos_pr,
            sin_pr,
            pairing,
        })
    }
}

impl Layer {
    /// Layer `i` of the model, for the tokens of `[b, t]` positions: what it reads and gives is `[n, d]`, of the last layer at the
    /// positions that are wanted.
    pub(crate) fn forward(
        &self,
        x_nd: Tensor<2>,
        sizes: [usize; 2],
        settings: &Settings,
        i: usize,
        place: &Place,
        cache: Option<&mut KeysValues>,
    ) -> Tensor<2> {
        let normed_nd = settings.norm(
            x_nd.clone(),
            &self.attention_norm,
            self.attention_norm_bias.as_ref(),
        );
        // The stream keeps its type, and a cache's keys and values theirs; what goes from product to product may be narrower.
        let (dtype, cached) = (x_nd.dtype(), cache.is_some());
        let between = |x_nd| {
            if cached {
                x_nd
            } else {
                settings.products.between(x_nd)
            }
        };
        let normed_nd = between(normed_nd);
        let window = settings.windows[i];
        let mixed_nd = self.attention(normed_nd.clone(), sizes, settings, window, place, cache);
        let wanted = place.wanted.as_ref().filter(|_| i + 1 == settings.windows.len());
        let of_wanted = |x_nd: Tensor<2>| match wanted {
            Some(rows) => table_rows(x_nd, rows.clone()),
            None => x_nd,
        };
        let bias = self.output_bias.as_ref();
        let output_nd = settings.product(of_wanted(mixed_nd), &self.output, bias, place.few);
        let x_nd = of_wanted(x_nd);
        let attended_nd = x_nd.clone() + output_nd.cast(dtype);
        // In a parallel layer both parts read the stream as it came in.
        let source_nd = if settings.parallel {
            x_nd
        } else {
            attended_nd.clone()
        };
        let normed_nd = match &self.feed_forward_norm {
            Some(scale) => {
                let shift = self.feed_forward_norm_bias.as_ref();
                between(settings.norm(source_nd, scale, shift))
            }
            None => of_wanted(normed_nd),
        };
        attended_nd + self.feed_forward(normed_nd, settings, place.few).cast(dtype)
    }

    /// What the heads make of the values, side by side.
    fn attention(
        &self,
        normed_nd: Tensor<2>,
        [b, t]: [usize; 2],
        settings: &Settings,
        window: Option<usize>,
        place: &Place,
        cache: Option<&mut KeysValues>,
    ) -> Tensor<2> {
        let Settings {
            heads,
            groups,
            head_dim,
            ..
        } = *settings;
        let qkv = settings.product(normed_nd, &self.qkv, self.qkv_bias.as_ref(), place.few);
        let rotation = place.rotation(settings);
        let mask = Mask {
            window,
            slopes: settings.slopes.clone(),
            rows: place.rows.clone(),
            ..Mask::default()
        };
        let scale = (head_dim as f64).powf(-0.5);
        let mixed_bthd = if cache.is_none() && self.q_norm.is_none() && self.k_norm.is_none() {
            let qkv_bthd = qkv.reshape([b, t, heads + 2 * groups, head_dim]);
            self_attention(qkv_bthd, groups, rotation, scale, &mask)
        } else {
            let part = |first: usize, count: usize| {
                qkv.clone()
                    .narrow(1, first * head_dim, count * head_dim)
                    .reshape([b, t, count, head_dim])
            };
            let normed = |x_bthd: Tensor<4>, scale: Option<&Param<Tensor<1>>>| match scale {
                Some(scale) => settings.norm(x_bthd, scale, None),
                None => x_bthd,
            };
            let turned = |x_bthd: Tensor<4>| match rotation.clone() {
                Some(rotation) => rotation.apply(x_bthd),
                None => x_bthd,
            };
            let q_bthd = turned(normed(part(0, heads), self.q_norm.as_ref()));
            let k_btgd = turned(normed(part(heads, groups), self.k_norm.as_ref()));
            let v_btgd = part(heads + groups, groups);
            match (cache, &place.rows) {
                (Some(cache), Some(rows)) => {
                    let [k_csgd, v_csgd] =
                        cache.update([k_btgd, v_btgd], |whole, new| append(whole, new, rows));
                    attention(q_bthd, k_csgd, v_csgd, scale, &mask)
                }
                _ => attention(q_bthd, k_btgd, v_btgd, scale, &mask),
            }
        };
        mixed_bthd.reshape([b * t, heads * head_dim])
    }

    fn feed_forward(&self, normed_nd: Tensor<2>, settings: &Settings, few: bool) -> Tensor<2> {
        let up = settings.product(normed_nd, &self.gate_up, self.gate_up_bias.as_ref(), few);
        let active = match settings.activation {
            Activation::SwiGlu => swiglu(up),
            Activation::Gelu(kind) => gelu(up, kind),
            Activation::Relu => activation::relu(up),
        };
        settings.product(active, &self.down, self.down_bias.as_ref(), few)
    }
}
