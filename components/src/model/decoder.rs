//! The decoder. Shape letters: `b` batch, `t` positions, `n` rows (`b·t`), `h` heads, `g` key/value heads, `d` width,
//! `v` vocabulary. Weights are `[inputs, outputs]`; products that share an input are fused into one.

use super::cache::Cache;
use super::config::Positions;
use super::layer::Place;
use super::settings::Settings;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use lyceum_kernels::{Orientation, Products, Row, in_panels, is_on_processor, row_linear};

/// A decoder language model.
#[derive(Module, Debug)]
pub struct Decoder {
    pub(crate) embedding: Param<Tensor<2>>,
    pub(crate) positions: Option<Param<Tensor<2>>>,
    pub(crate) embedding_norm: Option<Param<Tensor<1>>>,
    pub(crate) embedding_norm_bias: Option<Param<Tensor<1>>>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Param<Tensor<1>>,
    pub(crate) norm_bias: Option<Param<Tensor<1>>>,
    pub(crate) head: Option<Param<Tensor<2>>>,
    pub(crate) head_bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub(crate) config: Settings,
}

/// One layer: attention and feed-forward, each behind a norm and added to the residual stream.
#[derive(Module, Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Param<Tensor<1>>,
    pub(crate) attention_norm_bias: Option<Param<Tensor<1>>>,
    pub(crate) qkv: Param<Tensor<2>>,
    pub(crate) qkv_bias: Option<Param<Tensor<1>>>,
    pub(crate) q_norm: Option<Param<Tensor<1>>>,
    pub(crate) k_norm: Option<Param<Tensor<1>>>,
    pub(crate) output: Param<Tensor<2>>,
    pub(crate) output_bias: Option<Param<Tensor<1>>>,
    pub(crate) feed_forward_norm: Option<Param<Tensor<1>>>,
    pub(crate) feed_forward_norm_bias: Option<Param<Tensor<1>>>,
    pub(crate) gate_up: Param<Tensor<2>>,
    pub(crate) gate_up_bias: Option<Param<Tensor<1>>>,
    pub(crate) down: Param<Tensor<2>>,
    pub(crate) down_bias: Option<Param<Tensor<1>>>,
}

impl Decoder {
    /// The final normed hidden states, `[b, t, d]`, of token ids `[b, t]` from position 0 on; padding stands on the right.
    pub fn hidden(&self, inputs_bt: Tensor<2, Int>) -> Tensor<3> {
        let [b, t] = inputs_bt.dims();
        in_rows(self.hidden_at(inputs_bt, None), [b, t])
    }

    /// The same at the positions `wanted` of all `b·t`, ascending, `[n, d]`; none: at all. What only the others would need is
    /// not worked out.
    ///
    /// # Panics
    /// Where positions are beyond the last, or out of order.
    pub fn hidden_at(&self, inputs_bt: Tensor<2, Int>, wanted: Option<&[usize]>) -> Tensor<2> {
        if self.norm.val().device().is_autodiff() {
            // In one graph.
            check(inputs_bt.dims(), wanted);
            let wanted = wanted.map(|wanted| self.positions(wanted));
            let place = self.at_start(inputs_bt.dims()[1], wanted);
            return self.forward(inputs_bt, &place, None);
        }
        self.forward_in_bands(inputs_bt, wanted)
    }

    /// Numbers of positions as a tensor.
    fn positions(&self, places: &[usize]) -> Tensor<1, Int> {
        integers(places.iter().map(|&place| place as i64).collect(), &self.device())
    }

    /// Where `t` tokens from position 0 on stand, and which of all positions are wanted.
    pub(crate) fn at_start(&self, t: usize, wanted: Option<Tensor<1, Int>>) -> Place {
        Place {
            angles: self.angles(t),
            places: (0..t as i64).collect(),
            rows: None,
            few: false,
            wanted,
        }
    }

    /// As [`hidden`](Self::hidden), where row `b` begins at column `first[b]` and padding stands before it.
    pub fn hidden_padded(&self, inputs_bt: Tensor<2, Int>, first: &[usize]) -> Tensor<3> {
        let [b, t] = inputs_bt.dims();
        let place = |column: usize, first: usize| column.saturating_sub(first) as i64;
        let places: Vec<i64> = first
            .iter()
            .flat_map(|&first| (0..t).map(move |column| place(column, first)))
            .collect();
        let row = |(row, &first)| Row { row, first, past: 0 };
        let place = Place {
            angles: self.angles(t).map(|angles| select(angles, &places)),
            places,
            rows: Some(first.iter().enumerate().map(row).collect()),
            few: false,
            wanted: None,
        };
        in_rows(self.forward(inputs_bt, &place, None), [b, t])
    }

    /// The final normed hidden states, `[b, t, d]`, of token ids that go on from what the cache holds: row `b` from cache row
    /// `rows[b]`. With one position a row, a row's bytes depend on no other row.
    pub fn extend(&self, inputs_bt: Tensor<2, Int>, rows: &[usize], cache: &mut Cache) -> Tensor<3> {
        let [b, t] = inputs_bt.dims();
        in_rows(self.extend_at(inputs_bt, rows, cache, None), [b, t])
    }

    /// The same at the positions `wanted`, as in [`hidden_at`](Self::hidden_at).
    pub fn extend_at(
        &self,
        inputs_bt: Tensor<2, Int>,
        rows: &[usize],
        cache: &mut Cache,
        wanted: Option<&[usize]>,
    ) -> Tensor<2> {
        let t = inputs_bt.dims()[1];
        let wanted = wanted.map(|wanted| self.positions(wanted));
        let past: Vec<usize> = rows.iter().map(|&row| cache.len(row)).collect();
        let places: Vec<i64> = past
            .iter()
            .flat_map(|&past| (past..past + t).map(|place| place as i64))
            .collect();
        let row = |(&row, &past)| Row { row, first: 0, past };
        let place = Place {
            angles: cache.angles.clone().map(|angles| select(angles, &places)),
            places,
            rows: Some(rows.iter().zip(&past).map(row).collect()),
            few: t == 1,
            wanted,
        };
        let hidden_nd = self.forward(inputs_bt, &place, Some(cache));
        cache.advance(rows, t);
        hidden_nd
    }

    /// The same model, to be asked only: its matrices lie in the order in which a token at a time reads them, where the
    /// device has a body for that.
    #[must_use]
    pub fn in_panels(mut self) -> Self {
        let matrices = self.layers.iter_mut().flat_map(|layer| {
            [
                &mut layer.qkv,
                &mut layer.output,
                &mut layer.gate_up,
                &mut layer.down,
            ]
        });
        for matrix in matrices {
            // All matrices are of one type, on one device: the first says whether there are panels.
            if let Some(panels) = in_panels(matrix.val()) {
                *matrix = Param::from_tensor(panels);
                self.config.orientation = Orientation::Panels;
            }
        }
        self
    }

    /// A cache for `rows` sequences of at most `capacity` tokens.
    pub fn cache(&self, rows: usize, capacity: usize) -> Cache {
        let (dtype, device) = (self.norm.val().dtype(), self.device());
        let Settings { groups, head_dim, .. } = self.config;
        let shape = [rows, capacity, groups, head_dim];
        Cache::new(self.layers.len(), shape, dtype, &device, self.angles(capacity))
    }

    /// What the output head makes of hidden states, `[n, v]`; a row's bytes depend on no other row.
    pub fn logits(&self, hidden_nd: Tensor<2>) -> Tensor<2> {
        row_linear(
            hidden_nd,
            self.head(),
            Orientation::OutputsFirst,
            self.head_bias(),
        )
    }

    /// The output head, `[v, d]`.
    pub fn head(&self) -> Tensor<2> {
        self.head_param().val()
    }

    /// The same as a parameter: the embedding where the two are one.
    pub(crate) fn head_param(&self) -> &Param<Tensor<2>> {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// The output head's bias, `[v]`, if the family has one.
    pub fn head_bias(&self) -> Option<Tensor<1>> {
        self.head_bias.as_ref().map(Param::val)
    }

    /// How the model's matrix products are formed.
    pub fn products(&self) -> Products {
        self.config.products
    }

    /// Whether the weights live on a processor.
    pub(crate) fn is_on_processor(&self) -> bool {
        is_on_processor(&self.norm.val())
    }

    /// Where the weights live, outside any graph.
    pub(crate) fn device(&self) -> Device {
        self.embedding.val().device().without_autodiff()
    }

    /// Cosine and sine of positions `0..t`, if positions are rotations.
    fn angles(&self, t: usize) -> Option<[Tensor<2>; 2]> {
        let dtype = self.norm.val().dtype();
        let rotary = self.config.rotary()?;
        Some(rotary.angles(t, dtype, &self.device()))
    }

    pub(super) fn forward(
        &self,
        inputs_bt: Tensor<2, Int>,
        place: &Place,
        mut cache: Option<&mut Cache>,
    ) -> Tensor<2> {
        let sizes = inputs_bt.dims();
        let mut x_nd = self.embed(inputs_bt, place);
        for (i, layer) in self.layers.iter().enumerate() {
            let keys_values = cache.as_deref_mut().map(|cache| &mut cache.layers[i]);
            x_nd = layer.forward(x_nd, sizes, &self.config, i, place, keys_values);
        }
        self.normed(x_nd)
    }

    /// What the first layer reads, `[n, d]`.
    pub(crate) fn embed(&self, inputs_bt: Tensor<2, Int>, place: &Place) -> Tensor<2> {
        let [b, t] = inputs_bt.dims();
        let settings = &self.config;
        let dtype = self.norm.val().dtype();
        let mut x_nd = settings.rows(&self.embedding, inputs_bt.reshape([b * t]), dtype);
        if let (Some(table), Positions::Learned { offset }) = (&self.positions, &settings.positions) {
            let places = place.places.iter().map(|place| place + *offset as i64);
            let places: Vec<i64> = places.cycle().take(b * t).collect();
            x_nd = x_nd + settings.rows(table, integers(places, &self.device()), dtype);
        }
        if let Some(scale) = &self.embedding_norm {
            x_nd = settings.norm(x_nd, scale, self.embedding_norm_bias.as_ref());
        }
        x_nd
    }

    /// The final hidden states, `[n, d]`, of what the last layer gives.
    pub(crate) fn normed(&self, x_nd: Tensor<2>) -> Tensor<2> {
        self.config.norm(x_nd, &self.norm, self.norm_bias.as_ref())
    }
}

/// Whole numbers as a tensor.
pub(crate) fn integers(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Positions that are wanted of `[b, t]` are in order, and there.
pub(super) fn check([b, t]: [usize; 2], wanted: Option<&[usize]>) {
    let there = |wanted: &[usize]| wanted.is_sorted() && wanted.last().is_none_or(|&last| last < b * t);
    assert!(
        wanted.is_none_or(there),
        "positions are wanted in order, of those there are"
    );
}

/// Hidden states of all positions, `[b, t, d]`.
fn in_rows(hidden_nd: Tensor<2>, [b, t]: [usize; 2]) -> Tensor<3> {
    let d = hidden_nd.dims()[1];
    hidden_nd.reshape([b, t, d])
}

/// The rows of cosine and sine tables at these places.
fn select(angles: [Tensor<2>; 2], places: &[i64]) -> [Tensor<2>; 2] {
    let places = integers(places.to_vec(), &angles[0].device());
    angles.map(|table| table.select(0, places.clone()))
}
