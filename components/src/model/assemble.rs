//! A decoder put together from its parts, and taken apart again.

use super::config::{ModelConfig, Norm};
use super::decoder::{Decoder, Layer, Settings};
use super::fill::{self, Held};
use super::names::{Layout, Names, Piece};
use super::stored::{Stored, View};
use crate::random::Stream;
use crate::{Error, Precision, Result};
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use half::bf16;
use std::collections::BTreeMap;

const REPLACE: &str = "config.json and the weights are not of one model: fetch both again, or delete the artifact's \
                       folder, and the next run makes it again";

/// Where the parts of a decoder come from.
trait Parts {
    /// A matrix `[inputs, outputs of all pieces]`.
    fn matrix(&mut self, prefix: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>>;
    /// The bias of such a matrix.
    fn bias(&mut self, prefix: &str, pieces: &[Piece]) -> Result<Tensor<1>>;
    /// A table that is looked up by row.
    fn table(&mut self, module: &str, rows: usize, width: usize) -> Result<Tensor<2>>;
    /// The scale of a norm.
    fn scale(&mut self, module: &str, size: usize) -> Result<Tensor<1>>;
    /// The shift of a norm, or a bias that stands alone.
    fn shift(&mut self, module: &str, size: usize) -> Result<Tensor<1>>;
}

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

/// Parts made at random: normal matrices, norms that change nothing, no biases.
struct Random<'a> {
    stream: &'a Stream,
    range: f64,
    dtype: DType,
    device: &'a Device,
    /// Matrices made; each draws from a stream of its own, so that none depends on the order in which they are made.
    made: u64,
}

impl Random<'_> {
    fn tensor<const D: usize>(&self, values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
        let options = TensorCreationOptions::new(self.device.clone()).with_dtype(self.dtype);
        Tensor::from_data(TensorData::new(values, shape), options)
    }

    fn normal(&mut self, rows: usize, columns: usize) -> Tensor<2> {
        self.made += 1;
        let mut stream = self.stream.at(self.made);
        let values = (0..rows * columns)
            .map(|_| stream.normal() * self.range)
            .collect();
        self.tensor(values, [rows, columns])
    }
}

impl Parts for Random<'_> {
    fn matrix(&mut self, _: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>> {
        Ok(self.normal(inputs, outputs(pieces)))
    }
    fn bias(&mut self, _: &str, pieces: &[Piece]) -> Result<Tensor<1>> {
        self.shift("", outputs(pieces))
    }
    fn table(&mut self, _: &str, rows: usize, width: usize) -> Result<Tensor<2>> {
        Ok(self.normal(rows, width))
    }
    fn scale(&mut self, _: &str, size: usize) -> Result<Tensor<1>> {
        Ok(self.tensor(vec![1.0; size], [size]))
    }
    fn shift(&mut self, _: &str, size: usize) -> Result<Tensor<1>> {
        Ok(self.tensor(vec![0.0; size], [size]))
    }
}

fn outputs(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.outputs).sum()
}

/// Takes a tensor, if it has the shape that the configuration says. Files of a model without its head call everything by
/// what comes after the first dot.
fn take<T>(stored: &dyn Stored, name: &str, shape: &[usize], go: impl FnOnce(View) -> T) -> Result<T> {
    let bare = name.split_once('.').map_or(name, |(_, bare)| bare);
    for name in [name, bare] {
        let Some(view) = stored.find(name)? else {
            continue;
        };
        if view.shape != shape {
            let found = view.shape;
            let message = format!("tensor `{name}` is {found:?}; the configuration says {shape:?}");
            return Err(Error::data("bad_shape", message).hint(REPLACE));
        }
        let value = go(view);
        stored.release(name);
        return Ok(value);
    }
    Err(Error::data("missing_tensor", format!("there is no tensor `{name}`")).hint(REPLACE))
}

/// Parts that are only looked for: everything has to be there in its shape, and nothing is read.
struct Check<'a>(&'a dyn Stored);

impl Check<'_> {
    fn nothing<const D: usize>() -> Tensor<D> {
        Tensor::zeros([0; D], &Device::flex())
    }
}

impl Parts for Check<'_> {
    fn matrix(&mut self, prefix: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>> {
        for piece in pieces {
            let name = format!("{prefix}{}.weight", piece.module);
            take(self.0, &name, &piece.shape(inputs), |_| ())?;
        }
        Ok(Self::nothing())
    }
    fn bias(&mut self, prefix: &str, pieces: &[Piece]) -> Result<Tensor<1>> {
        for piece in pieces {
            self.shift(&format!("{prefix}{}", piece.module), piece.outputs)?;
        }
        Ok(Self::nothing())
    }
    fn table(&mut self, module: &str, rows: usize, width: usize) -> Result<Tensor<2>> {
        take(self.0, &format!("{module}.weight"), &[rows, width], |_| {
            Self::nothing()
        })
    }
    fn scale(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        take(self.0, &format!("{module}.weight"), &[size], |_| Self::nothing())
    }
    fn shift(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        take(self.0, &format!("{module}.bias"), &[size], |_| Self::nothing())
    }
}

/// Refuses weights that are not those of the configuration, without reading them. `bad_config`, `missing_tensor`,
/// `bad_shape`.
pub(crate) fn check_stored(config: &ModelConfig, stored: &dyn Stored) -> Result<()> {
    config.check()?;
    assemble(config, Settings::of(config, Precision::F32), &mut Check(stored)).map(|_| ())
}

/// Parts that are stored: matrices of `M`, vectors of `V`.
struct Files<'a, M, V> {
    stored: &'a dyn Stored,
    device: &'a Device,
    held: std::marker::PhantomData<(M, V)>,
}

impl<'a, M: Held, V: Held> Files<'a, M, V> {
    fn decoder(
        config: &ModelConfig,
        settings: Settings,
        stored: &'a dyn Stored,
        device: &'a Device,
    ) -> Result<Decoder> {
        let held = std::marker::PhantomData;
        assemble(config, settings, &mut Self { stored, device, held })
    }

    fn vector(&self, name: &str, size: usize) -> Result<Tensor<1>> {
        let values = take(self.stored, name, &[size], fill::copied::<V>)?;
        Ok(fill::tensor(values, [size], self.device))
    }
}

impl<M: Held, V: Held> Parts for Files<'_, M, V> {
    fn matrix(&mut self, prefix: &str, pieces: &[Piece], inputs: usize) -> Result<Tensor<2>> {
        let across = outputs(pieces);
        let mut values = Vec::new();
        let mut from = 0;
        for piece in pieces {
            let name = format!("{prefix}{}.weight", piece.module);
            take(self.stored, &name, &piece.shape(inputs), |view| {
                // Room is made only once the first stored shape was found to be right.
                if values.is_empty() {
                    values = vec![M::default(); inputs * across];
                }
                fill::place(&mut values, across, from, view, piece);
            })?;
            from += piece.outputs;
        }
        Ok(fill::tensor(values, [inputs, across], self.device))
    }

    fn bias(&mut self, prefix: &str, pieces: &[Piece]) -> Result<Tensor<1>> {
        let mut values = Vec::new();
        for piece in pieces {
            let name = format!("{prefix}{}.bias", piece.module);
            let from = values.len();
            take(self.stored, &name, &[piece.outputs], |view| {
                values.resize(from + piece.outputs, V::default());
                fill::place_bias(&mut values[from..], view, piece);
            })?;
        }
        let size = values.len();
        Ok(fill::tensor(values, [size], self.device))
    }

    fn table(&mut self, module: &str, rows: usize, width: usize) -> Result<Tensor<2>> {
        let values = take(
            self.stored,
            &format!("{module}.weight"),
            &[rows, width],
            fill::copied::<M>,
        )?;
        Ok(fill::tensor(values, [rows, width], self.device))
    }

    fn scale(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        self.vector(&format!("{module}.weight"), size)
    }

    fn shift(&mut self, module: &str, size: usize) -> Result<Tensor<1>> {
        self.vector(&format!("{module}.bias"), size)
    }
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
            Precision::F64 => Files::<f64, f64>::decoder(config, settings, stored, device),
            Precision::F32 | Precision::Bf16 => Files::<f32, f32>::decoder(config, settings, stored, device),
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
        let settings = Settings::of(config, Precision::F32);
        Files::<bf16, f32>::decoder(config, settings, stored, device)
    }

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
