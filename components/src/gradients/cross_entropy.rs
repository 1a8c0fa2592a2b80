//! The gradient of weighted cross-entropy by one forward and one backward pass.

use super::Vector;
use crate::model::Decoder;
use crate::tokens::Batch;
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::linear_cross_entropy;

/// What a forward and a backward pass over a batch leave.
pub(crate) struct CrossEntropy {
    /// Negative log-likelihoods of the labels in nats, row-major `[rows · width]`, outside any graph.
    pub(crate) nll_n: Tensor<1>,
    /// The gradients of `Σ weight · nll` by the model's parameters.
    pub(crate) gradients: GradientsParams,
}

/// The gradient of `Σ_t weight_t · nll_t` over the tokens of a batch, whose products are formed as the model has it. The weights of
/// the model lie in a graph.
///
/// `weights`: of tokens, row-major `[rows, width]`; zero where nothing is predicted.
pub fn gradient(model: &Decoder, batch: &Batch, weights: Vec<f64>) -> Vector {
    Vector::gradient(model, &cross_entropy(model, batch, weights).gradients)
}

/// The same before it is a vector, with the losses.
pub(crate) fn cross_entropy(model: &Decoder, batch: &Batch, weights: Vec<f64>) -> CrossEntropy {
    let (rows, width) = (batch.rows, batch.width);
    let n = rows * width;
    let device = model.device().without_autodiff();
    let ids = |values: &[i64]| Tensor::<1, Int>::from_data(TensorData::new(values.to_vec(), [n]), &device);
    let (inputs_n, labels_n) = (ids(&batch.inputs), ids(&batch.labels));
    let hidden_btd = model.hidden(inputs_n.reshape([rows, width]));
    let d = hidden_btd.dims()[2];
    let options = TensorCreationOptions::new(device.clone()).with_dtype(hidden_btd.dtype());
    let weights_n = Tensor::<1>::from_data(TensorData::new(weights, [n]), options);
    let entropy = linear_cross_entropy(
        hidden_btd.reshape([n, d]),
        model.head(),
        model.head_bias(),
        labels_n,
        weights_n,
        model.products(),
    );
    CrossEntropy {
        nll_n: entropy.nll_n,
        gradients: GradientsParams::from_grads(entropy.loss.backward(), model),
    }
}
