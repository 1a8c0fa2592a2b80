//! A decoder put together from its parts.

use super::config::{ModelConfig, Norm};
use super::decoder::{Decoder, Layer};
use super::fill::Held;
use super::parts::{Check, Files, Parts, Random};
use super::settings::Settings;
use super::stored::Stored;
use crate::random::Stream;
use crate::{Precision, Result};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use half::bf16;
use std::collections::BTreeMap;
use std::marker::PhantomData;

fn assemble(config: &ModelConfig, settings: Settings, parts: &mut dyn Parts) -> Result<Decoder> {
    fn param<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
        Param::from_tensor(tensor)
    }
    fn only<T>(there: bool, make: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        there.then(make).transpose()
    }
    let names = (config.family.file().names)(config);
    let (d, inner, head_dim) = (config.hidden_size, config.intermediate_size, config.head_dim);
    let shifted = config.norm == Norm::Layer;
    let biases = config.biases;
    let embedding = param(parts.table(names.embedding, config.vocab_size, d)?);
    let positions = match (names.positions, config.position_rows()) {
        (Some(module), Some(rows)) => Some(param(parts.table(module, rows, d)?)),
        _ => None,
    };
    let embedding_norm = names.embedding_norm.unwrap_or_default();
    let mut layers = Vec::new();
    for i in 0..config.num_hidden_layers {
        let prefix = names.of_layer(i, "");
        let module = |name: &str| format!("{prefix}{name}");
        let (attention, feed_forward) = (module(names.attention_norm), module(names.feed_forward_norm));
        let own_norm = !config.shared_norm;
        layers.push(Layer {
            attention_norm: param(parts.scale(&attention, d)?),
            attention_norm_bias: only(shifted, || Ok(param(parts.shift(&attention, d)?)))?,
            qkv: param(parts.matrix(&prefix, &names.qkv, d)?),
            qkv_bias: only(biases.qkv, || Ok(param(parts.bias(&prefix, &names.qkv)?)))?,
            q_norm: only(config.qk_norm, || {
                Ok(param(parts.scale(&module(names.q_norm), head_dim)?))
            })?,
            k_norm: only(config.qk_norm, || {
                Ok(param(parts.scale(&module(names.k_norm), head_dim)?))
            })?,
            output: param(parts.matrix(&prefix, &[names.output], config.queries_size())?),
            output_bias: only(biases.output, || Ok(param(parts.bias(&prefix, &[names.output])?)))?,
            feed_forward_norm: only(own_norm, || Ok(param(parts.scale(&feed_forward, d)?)))?,
            feed_forward_norm_bias: only(own_norm && shifted, || Ok(param(parts.shift(&feed_forward, d)?)))?,
            gate_up: param(parts.matrix(&prefix, &names.gate_up, d)?),
            gate_up_bias: only(biases.feed_forward, || {
                Ok(param(parts.bias(&prefix, &names.gate_up)?))
            })?,
            down: param(parts.matrix(&prefix, &[names.down], inner)?),
            down_bias: only(biases.feed_forward, || {
                Ok(param(parts.bias(&prefix, &[names.down])?))
            })?,
        });
    }
    let untied = !config.tie_word_embeddings;
    Ok(Decoder {
        embedding,
        positions,
        embedding_norm: only(config.embedding_norm, || {
            Ok(param(parts.scale(embedding_norm, d)?))
        })?,
        embedding_norm_bias: only(config.embedding_norm && shifted, || {
            Ok(param(parts.shift(embedding_norm, d)?))
        })?,
        layers,
        norm: param(parts.scale(names.norm, d)?),
        norm_bias: only(shifted, || Ok(param(parts.shift(names.norm, d)?)))?,
        head: only(untied, || {
            Ok(param(parts.table(names.head, config.vocab_size, d)?))
        })?,
        head_bias: only(biases.head, || {
            Ok(param(parts.shift(names.head, config.vocab_size)?))
        })?,
        config: settings,
    })
}

/// Refuses weights that are not those of the configuration, without reading them. `bad_config`, `missing_tensor`,
/// `bad_shape`.
pub(crate) fn check_stored(config: &ModelConfig, stored: &dyn Stored) -> Result<()> {
    config.check()?;
    assemble(config, Settings::of(config, Precision::F32), &mut Check(stored)).map(|_| ())
}

/// A decoder of stored weights, its matrices held as `M` and its vectors as `V`.
fn of_files<M: Held, V: Held>(
    config: &ModelConfig,
    settings: Settings,
    stored: &dyn Stored,
    device: &Device,
) -> Result<Decoder> {
    let held = PhantomData::<(M, V)>;
    assemble(config, settings, &mut Files { stored, device, held })
}

impl Decoder {
    /// A decoder with normal weights of standard deviation `initializer_range`, norms of one and biases of zero.
    pub fn init(config: &ModelConfig, precision: Precision, stream: &Stream, device: &Device) -> Self {
        let mut parts = Random {
            stream,
            range: config.initializer_range,
            dtype: precision.dtype().into(),
            device,
            made: 0,
        };
        assemble(config, Settings::of(config, precision), &mut parts).expect("random parts never fail")
    }

    /// A decoder of the weights that stand under Hugging Face's names, in any float type, to be trained or asked. What the
    /// configuration has no place for is left out, as the head of a tied model.
    ///
    /// # Errors
    /// `bad_config`, `missing_tensor` and `bad_shape`, naming the key or tensor.
    pub fn from_named(
        config: &ModelConfig,
        named: &BTreeMap<String, TensorData>,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        Self::from_stored(config, named, precision, device)
    }

    /// As [`from_named`](Self::from_named), from files.
    pub(crate) fn from_stored(
        config: &ModelConfig,
        stored: &dyn Stored,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        config.check()?;
        let settings = Settings::of(config, precision);
        match precision {
            Precision::F64 => of_files::<f64, f64>(config, settings, stored, device),
            Precision::F32 | Precision::Bf16 => of_files::<f32, f32>(config, settings, stored, device),
        }
    }

    /// A decoder that will not be trained: in bf16 its matrices are held in bf16.
    pub(crate) fn frozen(
        config: &ModelConfig,
        stored: &dyn Stored,
        precision: Precision,
        device: &Device,
    ) -> Result<Self> {
        if precision != Precision::Bf16 {
            return Self::from_stored(config, stored, precision, device);
        }
        config.check()?;
        // The stored weights are exact in bf16: only they are narrow, activations stay as they are.
        let settings = Settings::of(config, Precision::F32);
        of_files::<bf16, f32>(config, settings, stored, device)
    }
}
