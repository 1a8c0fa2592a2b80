//! The gradient that examples are held against.

use crate::gradients::Vector;
use crate::model::Decoder;
use crate::tokens::Batch;
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::linear_cross_entropy;

/// The gradient of Σ weight · nll over the tokens of a batch; `weights` are row-major `[rows, width]`. The decoder lies on a device
/// with automatic differentiation.
pub(crate) fn gradient(model: &Decoder, batch: &Batch, weights: Vec<f64>) -> Vector {
    let (rows, width) = (batch.rows, batch.width);
    let device = model.device().without_autodiff();
    let inputs_bt =
        Tensor::<2, Int>::from_data(TensorData::new(batch.inputs.clone(), [rows, width]), &device);
    let labels_n =
        Tensor::<1, Int>::from_data(TensorData::new(batch.labels.clone(), [rows * width]), &device);
    let hidden_btd = model.hidden(inputs_bt);
    let d = hidden_btd.dims()[2];
    let options = TensorCreationOptions::new(device).with_dtype(hidden_btd.dtype());
    let weights_n = Tensor::<1>::from_data(TensorData::new(weights, [rows * width]), options);
    let entropy = linear_cross_entropy(
        hidden_btd.reshape([rows * width, d]),
        model.head(),
        model.head_bias(),
        labels_n,
        weights_n,
        model.products(),
    );
    let gradients = GradientsParams::from_grads(entropy.loss.backward(), model);
    Vector::gradient(model, &gradients)
}
