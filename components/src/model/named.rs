//! A decoder taken apart into the tensors that Hugging Face's files hold.

use super::config::ModelConfig;
use super::decoder::Decoder;
use super::names::{Layout, Names, Piece};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeMap;

impl Decoder {
    /// The weights under Hugging Face's names and in its layout, in the type they are held in.
    pub fn to_named(&self, config: &ModelConfig) -> BTreeMap<String, TensorData> {
        let names: Names = (config.family.file().names)(config);
        let mut named = Named(BTreeMap::new());
        named.one(names.embedding, "weight", Some(&self.embedding));
        named.one(
            names.positions.unwrap_or_default(),
            "weight",
            self.positions.as_ref(),
        );
        let norm = names.embedding_norm.unwrap_or_default();
        named.one(norm, "weight", self.embedding_norm.as_ref());
        named.one(norm, "bias", self.embedding_norm_bias.as_ref());
        for (i, layer) in self.layers.iter().enumerate() {
            let prefix = names.of_layer(i, "");
            let norms = [
                (
                    names.attention_norm,
                    Some(&layer.attention_norm),
                    &layer.attention_norm_bias,
                ),
                (
                    names.feed_forward_norm,
                    layer.feed_forward_norm.as_ref(),
                    &layer.feed_forward_norm_bias,
                ),
                (names.q_norm, layer.q_norm.as_ref(), &None),
                (names.k_norm, layer.k_norm.as_ref(), &None),
            ];
            for (module, scale, shift) in norms {
                let module = format!("{prefix}{module}");
                named.one(&module, "weight", scale);
                named.one(&module, "bias", shift.as_ref());
            }
            named.pieces(&prefix, &names.qkv, &layer.qkv, layer.qkv_bias.as_ref());
            named.pieces(
                &prefix,
                &[names.output],
                &layer.output,
                layer.output_bias.as_ref(),
            );
            named.pieces(
                &prefix,
                &names.gate_up,
                &layer.gate_up,
                layer.gate_up_bias.as_ref(),
            );
            named.pieces(&prefix, &[names.down], &layer.down, layer.down_bias.as_ref());
        }
        named.one(names.norm, "weight", Some(&self.norm));
        named.one(names.norm, "bias", self.norm_bias.as_ref());
        named.one(names.head, "weight", self.head.as_ref());
        named.one(names.head, "bias", self.head_bias.as_ref());
        named.0
    }
}

/// Weights being collected under their names.
struct Named(BTreeMap<String, TensorData>);

impl Named {
    fn one<const D: usize>(&mut self, module: &str, what: &str, param: Option<&Param<Tensor<D>>>) {
        if let Some(param) = param {
            self.0.insert(format!("{module}.{what}"), param.val().into_data());
        }
    }

    /// Cuts a matrix and its bias into the pieces that are stored.
    fn pieces(
        &mut self,
        prefix: &str,
        pieces: &[Piece],
        matrix: &Param<Tensor<2>>,
        bias: Option<&Param<Tensor<1>>>,
    ) {
        let mut start = 0;
        for piece in pieces {
            let name = format!("{prefix}{}", piece.module);
            let mut part = matrix.val().narrow(1, start, piece.outputs);
            let mut shift = bias.map(|bias| bias.val().narrow(0, start, piece.outputs));
            if matches!(piece.layout, Layout::ByHead { .. }) {
                let order: Vec<i64> = (0..piece.outputs)
                    .map(|stored| piece.ours(stored) as i64)
                    .collect();
                let order = Tensor::from_data(TensorData::new(order, [piece.outputs]), &part.device());
                part = part.select(1, Tensor::clone(&order));
                shift = shift.map(|shift| shift.select(0, order));
            }
            if piece.layout != Layout::InputsFirst {
                part = part.transpose();
            }
            self.0.insert(format!("{name}.weight"), part.into_data());
            if let Some(shift) = shift {
                self.0.insert(format!("{name}.bias"), shift.into_data());
            }
            start += piece.outputs;
        }
    }
}
