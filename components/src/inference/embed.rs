//! One vector a text.

use super::windows::padded;
use crate::model::Decoder;
use burn::tensor::{DType, Device, Tensor, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their mean over all tokens.
    #[default]
    Mean,
    /// The one after the last token.
    Last,
}

/// The final normed hidden states of texts of at least one token, pooled; padding takes no part. Each vector is as wide as
/// the model.
pub fn embed(decoder: &Decoder, texts: &[&[u32]], pooling: Pooling, device: &Device) -> Vec<Vec<f32>> {
    let (inputs_bt, t) = padded(texts, device);
    let pooled_bd: Tensor<2> = match pooling {
        Pooling::Last => {
            let last: Vec<usize> = texts
                .iter()
                .enumerate()
                .map(|(row, ids)| row * t + ids.len() - 1)
                .collect();
            decoder.hidden_at(inputs_bt, Some(&last))
        }
        Pooling::Mean => {
            let hidden_btd = decoder.hidden(inputs_bt);
            let [b, _, d] = hidden_btd.dims();
            let share = |ids: &[u32], at: usize| {
                if at < ids.len() {
                    1.0 / ids.len() as f64
                } else {
                    0.0
                }
            };
            let shares: Vec<f64> = texts
                .iter()
                .flat_map(|ids| (0..t).map(move |at| share(ids, at)))
                .collect();
            let dtype = hidden_btd.dtype();
            let shares = TensorData::new(shares, [b, t, 1]);
            let shares_bt1 = Tensor::<3>::from_data(shares, (device, dtype));
            (hidden_btd * shares_bt1).sum_dim(1).reshape([b, d])
        }
    };
    let d = pooled_bd.dims()[1];
    let data = pooled_bd.cast(DType::F32).into_data();
    let values = data.try_into_vec::<f32>().expect("cast to f32 above");
    values.chunks(d).map(<[f32]>::to_vec).collect()
}
