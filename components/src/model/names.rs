//! Between the decoder's fused weights and the names and orientation of Hugging Face's llama files.

use super::config::ModelConfig;
use super::decoder::{Decoder, Layer};
use crate::{Error, Precision, Result};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorCreationOptions, TensorData};
use std::collections::BTreeMap;

/// The parts of a fused weight: their names in the file and how many outputs each has.
type Parts<'a> = Vec<(&'a str, usize)>;

/// A fused matrix of a layer and its parts.
type Fused<'a> = (&'a Param<Tensor<2>>, Parts<'static>);

/// The fused matrices of a layer: their inputs and their parts.
fn layer_parts(config: &ModelConfig) -> [(usize, Parts<'static>); 4] {
    let (d, inner, head) = (config.hidden_size, config.intermediate_size, config.head_dim());
    let (queries, keys) = (
        config.num_attention_heads * head,
        config.num_key_value_heads * head,
    );
    [
        (
            d,
            vec![
                ("self_attn.q_proj", queries),
                ("self_attn.k_proj", keys),
                ("self_attn.v_proj", keys),
            ],
        ),
        (d, vec![("self_attn.o_proj", d)]),
        (d, vec![("mlp.gate_proj", inner), ("mlp.up_proj", inner)]),
        (inner, vec![("mlp.down_proj", d)]),
    ]
}

fn layer_matrices<'a>(layer: &'a Layer, config: &ModelConfig) -> Vec<Fused<'a>> {
    let params = [&layer.qkv, &layer.output, &layer.gate_up, &layer.down];
    let parts = layer_parts(config).map(|(_, parts)| parts);
    params.into_iter().zip(parts).collect()
}

const NORMS: [&str; 2] = ["input_layernorm", "post_attention_layernorm"];

/// Refuses tensors that are not those of the configuration, before room is made for any. `missing_tensor`, `bad_shape`.
fn check_shapes(config: &ModelConfig, named: &BTreeMap<String, TensorData>) -> Result<()> {
    let check = |name: &str, shape: &[usize]| {
        let data = named.get(name);
        let data = data.ok_or_else(|| {
            Error::data("missing_tensor", format!("there is no tensor `{name}`")).hint(REPLACE)
        })?;
        let found = data.shape().as_slice();
        if found == shape {
            return Ok(());
        }
        let message = format!("tensor `{name}` is {found:?}; the configuration says {shape:?}");
        Err(Error::data("bad_shape", message).hint(REPLACE))
    };
    let (v, d) = (config.vocab_size, config.hidden_size);
    check("model.embed_tokens.weight", &[v, d])?;
    check("model.norm.weight", &[d])?;
    if !config.tie_word_embeddings {
        check("lm_head.weight", &[v, d])?;
    }
    for i in 0..config.num_hidden_layers {
        for (inputs, parts) in layer_parts(config) {
            for (name, outputs) in parts {
                check(&format!("model.layers.{i}.{name}.weight"), &[outputs, inputs])?;
            }
        }
        for name in NORMS {
            check(&format!("model.layers.{i}.{name}.weight"), &[d])?;
        }
    }
    Ok(())
}

const REPLACE: &str = "config.json and model.safetensors are not of one model: fetch both again, or delete the \
                       artifact's folder, and the next run makes it again";

fn layer_norms(layer: &Layer) -> [(&Param<Tensor<1>>, &'static str); 2] {
    [
        (&layer.attention_norm, NORMS[0]),
        (&layer.feed_forward_norm, NORMS[1]),
    ]
}

impl Decoder {
    /// The weights under Hugging Face's names, each matrix `[outputs, inputs]`, in the type they are held in.
    pub fn to_named(&self, config: &ModelConfig) -> BTreeMap<String, TensorData> {
        let mut named = BTreeMap::new();
        named.insert(
            "model.embed_tokens.weight".to_owned(),
            self.embedding.val().into_data(),
        );
        named.insert("model.norm.weight".to_owned(), self.norm.val().into_data());
        if let Some(head) = &self.head {
            named.insert("lm_head.weight".to_owned(), head.val().into_data());
        }
        for (i, layer) in self.layers.iter().enumerate() {
            for (param, parts) in layer_matrices(layer, config) {
                let mut start = 0;
                for (name, outputs) in parts {
                    let part = param.val().narrow(1, start, outputs).transpose();
                    named.insert(format!("model.layers.{i}.{name}.weight"), part.into_data());
                    start += outputs;
                }
            }
            for (param, name) in layer_norms(layer) {
                named.insert(format!("model.layers.{i}.{name}.weight"), param.val().into_data());
            }
        }
        named
    }

    /// A decoder of the weights that stand under Hugging Face's names, each matrix `[outputs, inputs]`, in any float type.
    /// What the configuration has no place for is left out, as the head of a tied model.
    ///
    /// # Errors
    /// `bad_config`, `missing_tensor` and `bad_shape`, naming the key or tensor.
    pub fn from_named(
        config: &ModelConfig,
        mut named: BTreeMap<String, TensorData>,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        config.check()?;
        check_shapes(config, &named)?;
        let mut decoder = Self::zeros(config, precision, device);
        let mut take = |name: &str| named.remove(name).expect("every tensor was found");
        decoder.embedding = filled(decoder.embedding, take("model.embed_tokens.weight"));
        decoder.norm = filled(decoder.norm, take("model.norm.weight"));
        if let Some(head) = decoder.head.take() {
            decoder.head = Some(filled(head, take("lm_head.weight")));
        }
        for (i, layer) in decoder.layers.iter_mut().enumerate() {
            let mut matrices = Vec::new();
            for (param, parts) in layer_matrices(layer, config) {
                let mut columns = Vec::new();
                for (name, _) in parts {
                    let data = take(&format!("model.layers.{i}.{name}.weight"));
                    columns.push(like(&param.val(), data).transpose());
                }
                matrices.push(Tensor::cat(columns, 1));
            }
            let mut norms = Vec::new();
            for (param, name) in layer_norms(layer) {
                norms.push(like(
                    &param.val(),
                    take(&format!("model.layers.{i}.{name}.weight")),
                ));
            }
            let mut matrices = matrices.into_iter();
            for param in [
                &mut layer.qkv,
                &mut layer.output,
                &mut layer.gate_up,
                &mut layer.down,
            ] {
                *param = Param::from_tensor(matrices.next().expect("four matrices were read"));
            }
            let mut norms = norms.into_iter();
            for param in [&mut layer.attention_norm, &mut layer.feed_forward_norm] {
                *param = Param::from_tensor(norms.next().expect("two norms were read"));
            }
        }
        Ok(decoder)
    }
}

fn filled<const D: usize>(param: Param<Tensor<D>>, data: TensorData) -> Param<Tensor<D>> {
    Param::from_tensor(like(&param.val(), data))
}

/// The data as a tensor on the device and of the type of another, outside any graph.
fn like<const D: usize, const E: usize>(other: &Tensor<D>, data: TensorData) -> Tensor<E> {
    let options = TensorCreationOptions::new(other.device()).with_dtype(other.dtype());
    Tensor::from_data(data, options)
}
