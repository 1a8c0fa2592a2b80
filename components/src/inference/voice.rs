//! A model with what it has read.

use super::LanguageModel;
use crate::model::Cache;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A model and a cache with a row for every text that it goes on with.
#[derive(Debug)]
pub(super) struct Voice<'a> {
    model: &'a LanguageModel,
    cache: Cache,
    device: Device,
}

impl<'a> Voice<'a> {
    pub(super) fn new(model: &'a LanguageModel, rows: usize, capacity: usize, device: &Device) -> Self {
        Self {
            model,
            cache: model.loaded.decoder.cache(rows, capacity),
            device: device.clone(),
        }
    }

    /// Reads `ids` into an emptied row. The logits of what follows, `[v]`.
    pub(super) fn read(&mut self, ids: &[u32], row: usize) -> Vec<f32> {
        self.cache.truncate(row, 0);
        self.extend(ids, &[row])
    }

    /// Makes row `to` one that has read what row `from` has.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        self.cache.copy(from, to);
    }

    /// Reads one token in each of `rows`. The logits of what follows, `[n, v]`.
    pub(super) fn step(&mut self, ids: &[u32], rows: &[usize]) -> Vec<f32> {
        self.extend(ids, rows)
    }

    fn extend(&mut self, ids: &[u32], rows: &[usize]) -> Vec<f32> {
        let (n, t) = (rows.len(), ids.len() / rows.len());
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let inputs_nt = Tensor::<2, Int>::from_data(TensorData::new(ids, [n, t]), &self.device);
        let decoder = &self.model.loaded.decoder;
        let last: Vec<usize> = (1..=n).map(|read| read * t - 1).collect();
        let last_nd = decoder.extend_at(inputs_nt, rows, &mut self.cache, (t > 1).then_some(&last));
        let logits = decoder.logits(last_nd).into_data().convert::<f32>();
        logits.try_into_vec().expect("converted to f32 above")
    }
}
