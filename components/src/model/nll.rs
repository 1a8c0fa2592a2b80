//! Scoring: what each token costs a model.

use super::decoder::Decoder;
use crate::tokens::Batch;
use burn::tensor::{Device, Int, Tensor, TensorData};
use lyceum_kernels::linear_nll;

/// Negative log-likelihood in nats of every label of a batch, row-major `[rows, width]`; masked positions are 0.
///
/// The output head is applied in chunks of rows, so that rows × vocabulary is never held.
pub fn token_nll(decoder: &Decoder, batch: &Batch, device: &Device) -> Vec<f64> {
    let (rows, width) = (batch.rows, batch.width);
    let inputs_bt = Tensor::<2, Int>::from_data(TensorData::new(batch.inputs.clone(), [rows, width]), device);
    let labels_n = Tensor::<1, Int>::from_data(TensorData::new(batch.labels.clone(), [rows * width]), device);
    let hidden_btd = decoder.hidden(inputs_bt);
    let d = hidden_btd.dims()[2];
    let nll_n = linear_nll(
        hidden_btd.reshape([rows * width, d]),
        decoder.head(),
        decoder.head_bias(),
        labels_n,
        decoder.products(),
    );
    let values = nll_n
        .into_data()
        .convert::<f64>()
        .try_into_vec::<f64>()
        .expect("converted to f64 above");
    values
        .into_iter()
        .zip(&batch.mask)
        .map(|(nll, mask)| if *mask > 0.0 { nll } else { 0.0 })
        .collect()
}
