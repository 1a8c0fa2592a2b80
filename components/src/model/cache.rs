//! Keys and values of tokens that were read before, so that going on costs only the new tokens.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};
use lyceum_kernels::{Row, append};

/// Keys and values of several sequences, each in a row of its own. All room is taken at once.
#[derive(Debug)]
pub struct Cache {
    pub(crate) layers: Vec<KeysValues>,
    /// Cosine and sine of every position there is room for, if positions are rotations.
    pub(crate) angles: Option<[Tensor<2>; 2]>,
    lengths: Vec<usize>,
    capacity: usize,
}

/// One layer's keys and values, each `[rows, capacity, g, d]`.
#[derive(Debug)]
pub(crate) struct KeysValues(Option<[Tensor<4>; 2]>);

impl KeysValues {
    /// Changes keys and values with what is new, and gives them. While `change` runs nothing else holds them, so that they
    /// are changed in place.
    pub(crate) fn update(
        &mut self,
        new: [Tensor<4>; 2],
        change: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
    ) -> [Tensor<4>; 2] {
        let [keys, values] = self.0.take().expect("they are put back below");
        let [new_keys, new_values] = new;
        let both = [change(keys, new_keys), change(values, new_values)];
        self.0 = Some(both.clone());
        both
    }
}

impl Cache {
    pub(crate) fn new(
        layers: usize,
        shape: [usize; 4],
        dtype: DType,
        device: &Device,
        angles: Option<[Tensor<2>; 2]>,
    ) -> Self {
        let zeros = || {
            Tensor::zeros(
                shape,
                TensorCreationOptions::new(device.clone()).with_dtype(dtype),
            )
        };
        Self {
            layers: (0..layers)
                .map(|_| KeysValues(Some([zeros(), zeros()])))
                .collect(),
            angles,
            lengths: vec![0; shape[0]],
            capacity: shape[1],
        }
    }

    /// Tokens that a row holds.
    pub fn len(&self, row: usize) -> usize {
        self.lengths[row]
    }

    /// Whether a row holds nothing.
    pub fn is_empty(&self, row: usize) -> bool {
        self.lengths[row] == 0
    }

    /// Tokens that a row has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets what a row holds beyond its first `len` tokens.
    pub fn truncate(&mut self, row: usize, len: usize) {
        self.lengths[row] = self.lengths[row].min(len);
    }

    /// Makes row `to` hold what row `from` holds.
    pub fn copy(&mut self, from: usize, to: usize) {
        let len = self.lengths[from];
        self.lengths[to] = len;
        if from == to || len == 0 {
            return;
        }
        let rows = [Row {
            row: to,
            first: 0,
            past: 0,
        }];
        for layer in &mut self.layers {
            let [keys, values] = layer.0.as_ref().expect("no change is under way");
            // The parts are copies of their own, not views, or the whole could not be changed in place.
            let part = |whole: &Tensor<4>| {
                let [_, _, groups, width] = whole.dims();
                let part = whole.clone().slice([from..from + 1, 0..len, 0..groups, 0..width]);
                Tensor::from_data(part.into_data(), (&whole.device(), whole.dtype()))
            };
            let new = [part(keys), part(values)];
            layer.update(new, |whole, new| append(whole, new, &rows));
        }
    }

    /// Counts `t` tokens more in each of `rows`.
    pub(crate) fn advance(&mut self, rows: &[usize], t: usize) {
        for &row in rows {
            self.lengths[row] += t;
            assert!(self.lengths[row] <= self.capacity, "the cache has room");
        }
    }
}
