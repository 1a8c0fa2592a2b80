//! Scoring: what each token costs a model.

use super::decoder::{Decoder, integers};
use crate::tokens::Batch;
use burn::tensor::{Device, Int, Tensor, TensorData};
use lyceum_kernels::linear_nll;

/// Negative log-likelihood in nats of every label of a batch, row-major `[rows, width]`; masked positions are 0.
///
/// The output head is applied in chunks of rows, so that rows × vocabulary is never held, and only where a label counts.
pub fn token_nll(decoder: &Decoder, batch: &Batch, device: &Device) -> Vec<f64> {
    let (rows, width) = (batch.rows, batch.width);
    let inputs_bt = Tensor::<2, Int>::from_data(TensorData::new(batch.inputs.clone(), [rows, width]), device);
    let counted: Vec<usize> = (0..rows * width).filter(|&i| batch.mask[i] > 0.0).collect();
    let mut all = vec![0.0; rows * width];
    if counted.is_empty() {
        return all;
    }
    let wanted = (counted.len() < all.len()).then_some(counted.as_slice());
    let labels = counted.iter().map(|&i| batch.labels[i]).collect();
    let nll_n = linear_nll(
        decoder.hidden_at(inputs_bt, wanted),
        decoder.head(),
        decoder.head_bias(),
        integers(labels, device),
        decoder.products(),
    );
    for (&i, nll) in counted.iter().zip(nll_n.into_data().iter::<f64>()) {
        all[i] = nll;
    }
    all
}
