//! What makes a score of hidden states. Shapes: `b` texts, `t` positions, `d` width.

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorCreationOptions, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScorerPooling {
    /// Their mean over all tokens.
    #[default]
    Mean,
    /// The one after the last token.
    Last,
    /// The one after the first token.
    First,
}

/// What follows the linear function of that vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScorerOutput {
    /// Nothing.
    #[default]
    Linear,
    /// The logistic function, for scores between 0 and 1.
    Sigmoid,
}

/// A scorer's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadShape {
    /// How hidden states become one vector.
    pub pooling: ScorerPooling,
    /// What follows the linear function.
    pub output: ScorerOutput,
}

/// `score = w · h̄ + b`, h̄ being pooled hidden states (PDS, sheet 2.3).
#[derive(Module, Debug)]
pub struct ScorerHead {
    /// `[d]`.
    pub weight: Param<Tensor<1>>,
    /// `[1]`, if there is one.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    shape: HeadShape,
}

impl ScorerHead {
    /// A head of these numbers, in the type and on the device of `like`.
    pub fn new(shape: HeadShape, weight: Vec<f64>, bias: Option<f64>, like: &Tensor<1>) -> Self {
        let device: Device = like.device();
        let param = |values: Vec<f64>| {
            let options = TensorCreationOptions::new(device.clone()).with_dtype(like.dtype());
            let length = values.len();
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [length]), options))
        };
        Self {
            weight: param(weight),
            bias: bias.map(|bias| param(vec![bias])),
            shape,
        }
    }

    /// Its shape.
    pub fn shape(&self) -> HeadShape {
        self.shape
    }

    /// The scores `[b]` of texts whose hidden states are `[b, t, d]`; padding stands behind a text's `lengths[b]` tokens.
    pub fn score(&self, hidden_btd: Tensor<3>, lengths: &[usize]) -> Tensor<1> {
        let [b, _, d] = hidden_btd.dims();
        let pooled_bd = pool(hidden_btd, lengths, self.shape.pooling);
        let weight_1d = self.weight.val().reshape([1, d]);
        let mut score_b = (pooled_bd * weight_1d).sum_dim(1).reshape([b]);
        if let Some(bias) = &self.bias {
            score_b = score_b + bias.val();
        }
        match self.shape.output {
            ScorerOutput::Linear => score_b,
            ScorerOutput::Sigmoid => sigmoid(score_b),
        }
    }
}

/// The hidden states of each text as one vector, `[b, d]`.
pub fn pool(hidden_btd: Tensor<3>, lengths: &[usize], pooling: ScorerPooling) -> Tensor<2> {
    let [b, t, d] = hidden_btd.dims();
    let share = |length: usize, at: usize| match pooling {
        ScorerPooling::Mean if at < length => 1.0 / length as f64,
        ScorerPooling::Last if at + 1 == length => 1.0,
        ScorerPooling::First if at == 0 => 1.0,
        _ => 0.0,
    };
    let shares: Vec<f64> = lengths
        .iter()
        .flat_map(|&length| (0..t).map(move |at| share(length, at)))
        .collect();
    let device = hidden_btd.device();
    let shares = TensorData::new(shares, [b, t, 1]);
    let shares_bt1 = Tensor::<3>::from_data(shares, (&device, hidden_btd.dtype()));
    (hidden_btd * shares_bt1).sum_dim(1).reshape([b, d])
}
