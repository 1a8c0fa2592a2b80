//! One forward and backward pass, in burn-train's terms.

use super::recompute::{self, Recompute};
use super::source::HostBatch;
use super::terms::{Pass, Term};
use crate::model::{Decoder, token_nll};
use crate::tokens::Batch;
use burn::backend::ExecutionError;
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use std::sync::Arc;

/// What a training pass is given.
#[derive(Debug, Clone)]
pub struct TrainBatch {
    /// What is learnt from.
    pub(crate) batch: Arc<HostBatch>,
    /// Weights of the tokens, divided by the weight of the whole step.
    pub(crate) weights: Vec<f32>,
    /// The terms of the loss.
    pub(crate) terms: Arc<Vec<Box<dyn Term>>>,
    /// What is worked out again instead of being kept.
    pub(crate) recompute: Recompute,
}

/// What a pass leaves: its share of the step's loss; or, in evaluation, the summed loss and the number of tokens.
#[derive(Debug, Clone, Copy)]
pub struct PassOutput {
    pub(crate) loss: f64,
    pub(crate) tokens: f64,
}

impl ItemLazy for PassOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl TrainStep for Decoder {
    type Input = TrainBatch;
    type Output = PassOutput;

    fn step(&self, item: TrainBatch) -> TrainOutput<PassOutput> {
        let embedding = self.embedding.val();
        let (dtype, device) = (embedding.dtype(), embedding.device().without_autodiff());
        let batch = &item.batch.batch;
        let (rows, width) = (batch.rows, batch.width);
        let tokens = item.weights.iter().filter(|weight| **weight > 0.0).count() as f64;
        let inputs_bt =
            Tensor::<2, Int>::from_data(TensorData::new(batch.inputs.clone(), [rows, width]), &device);
        let labels_n =
            Tensor::<1, Int>::from_data(TensorData::new(batch.labels.clone(), [rows * width]), &device);
        let weights_n =
            Tensor::<1>::from_data(TensorData::new(item.weights, [rows * width]), &device).cast(dtype);
        let loss = |hidden_nd: Tensor<2>| {
            let pass = Pass {
                hidden_nd,
                head_vd: self.head(),
                head_bias_v: self.head_bias(),
                labels_n,
                weights_n,
                products: self.products(),
                batch: &item.batch,
            };
            let losses = item.terms.iter().map(|term| term.loss(&pass));
            losses
                .reduce(|sum, loss| sum + loss)
                .expect("the schema demands at least one term")
        };
        let (loss, grads) = match item.recompute {
            Recompute::None => {
                let hidden_btd = self.hidden(inputs_bt);
                let d = hidden_btd.dims()[2];
                let loss = loss(hidden_btd.reshape([rows * width, d]));
                let value = loss.clone().without_autodiff();
                (value, GradientsParams::from_grads(loss.backward(), self))
            }
            Recompute::Block => recompute::gradients(self, inputs_bt, loss),
        };
        let value = loss
            .into_data()
            .convert::<f64>()
            .try_into_vec::<f64>()
            .expect("converted to f64")[0];
        TrainOutput {
            grads,
            item: PassOutput { loss: value, tokens },
        }
    }
}

impl InferenceStep for Decoder {
    type Input = Batch;
    type Output = PassOutput;

    fn step(&self, batch: Batch) -> PassOutput {
        let device = self.embedding.val().device();
        let loss = token_nll(self, &batch, &device).iter().sum();
        PassOutput {
            loss,
            tokens: batch.mask.iter().map(|mask| f64::from(*mask)).sum(),
        }
    }
}
