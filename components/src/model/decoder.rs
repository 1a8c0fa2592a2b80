//! The decoder. Shape letters: `b` batch, `t` positions, `n` rows (`b·t`), `h` heads, `g` key/value heads, `d` width,
//! `v` vocabulary. Weights are `[inputs, outputs]`; products that share an input are fused into one.

use super::config::ModelConfig;
use super::rotary::angles;
use crate::Precision;
use crate::random::Stream;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::{Mask, Pairing, attention, rms_norm, rope, swiglu};

/// A decoder language model.
#[derive(Module, Debug)]
pub struct Decoder {
    pub(crate) embedding: Param<Tensor<2>>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Param<Tensor<1>>,
    pub(crate) head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    pub(crate) config: Settings,
}

/// One layer: attention and feed-forward, each behind a norm and added to the residual stream.
#[derive(Module, Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Param<Tensor<1>>,
    pub(crate) qkv: Param<Tensor<2>>,
    pub(crate) output: Param<Tensor<2>>,
    pub(crate) feed_forward_norm: Param<Tensor<1>>,
    pub(crate) gate_up: Param<Tensor<2>>,
    pub(crate) down: Param<Tensor<2>>,
}

/// What the forward pass needs to know besides the weights.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    heads: usize,
    groups: usize,
    head_dim: usize,
    theta: f64,
    eps: f64,
    /// Whether matrix products are taken in bfloat16.
    bf16: bool,
}

impl Settings {
    fn of(config: &ModelConfig, precision: Precision) -> Self {
        Self {
            heads: config.num_attention_heads,
            groups: config.num_key_value_heads,
            head_dim: config.head_dim(),
            theta: config.rope_theta,
            eps: config.rms_norm_eps,
            bf16: precision == Precision::Bf16,
        }
    }

    /// `x · w`, in the precision that products are taken in.
    fn product(&self, x_nd: Tensor<2>, w: &Param<Tensor<2>>) -> Tensor<2> {
        if self.bf16 {
            let dtype = x_nd.dtype();
            return x_nd
                .cast(DType::BF16)
                .matmul(w.val().cast(DType::BF16))
                .cast(dtype);
        }
        x_nd.matmul(w.val())
    }
}

impl Decoder {
    /// A decoder with normal weights of standard deviation `initializer_range` and norms of one. Every tensor draws from
    /// its own stream, so that none depends on the order in which they are made.
    pub fn init(config: &ModelConfig, precision: Precision, stream: &Stream, device: &Device) -> Self {
        let mut number = 0;
        let mut matrix = |rows: usize, columns: usize| {
            number += 1;
            let mut stream = stream.at(number);
            (0..rows * columns)
                .map(|_| stream.normal() * config.initializer_range)
                .collect()
        };
        Self::build(config, precision, device, &mut matrix, &mut |size| {
            vec![1.0; size]
        })
    }

    /// A decoder whose matrices and norms are given one by one, in the order of the fields.
    fn build(
        config: &ModelConfig,
        precision: Precision,
        device: &Device,
        matrix: &mut dyn FnMut(usize, usize) -> Vec<f64>,
        vector: &mut dyn FnMut(usize) -> Vec<f64>,
    ) -> Self {
        let options = || TensorCreationOptions::new(device.clone()).with_dtype(precision.dtype().into());
        let mut weight = |rows, columns| {
            let data = TensorData::new(matrix(rows, columns), [rows, columns]);
            Param::from_tensor(Tensor::<2>::from_data(data, options()))
        };
        let mut scale = |size| {
            Param::from_tensor(Tensor::<1>::from_data(
                TensorData::new(vector(size), [size]),
                options(),
            ))
        };
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        let embedding = weight(config.vocab_size, d);
        let layers = (0..config.num_hidden_layers)
            .map(|_| Layer {
                attention_norm: scale(d),
                qkv: weight(d, config.qkv_size()),
                output: weight(d, d),
                feed_forward_norm: scale(d),
                gate_up: weight(d, 2 * inner),
                down: weight(inner, d),
            })
            .collect();
        let head = (!config.tie_word_embeddings).then(|| weight(config.vocab_size, d));
        Self {
            embedding,
            layers,
            norm: scale(d),
            head,
            config: Settings::of(config, precision),
        }
    }

    /// An all-zero decoder, to be filled from files.
    pub(crate) fn zeros(config: &ModelConfig, precision: Precision, device: &Device) -> Self {
        Self::build(
            config,
            precision,
            device,
            &mut |rows, columns| vec![0.0; rows * columns],
            &mut |size| vec![0.0; size],
        )
    }

    /// The final normed hidden states, `[b, t, d]`, of token ids `[b, t]`.
    pub fn hidden(&self, inputs_bt: Tensor<2, Int>) -> Tensor<3> {
        let [b, t] = inputs_bt.dims();
        let settings = &self.config;
        let mut x_nd = self.embedding.val().select(0, inputs_bt.reshape([b * t]));
        let d = x_nd.dims()[1];
        // Constants outside the graph.
        let device = x_nd.device().without_autodiff();
        let [cos_td, sin_td] = angles(t, settings.head_dim, settings.theta, x_nd.dtype(), &device);
        for layer in &self.layers {
            x_nd = layer.forward(x_nd, [b, t], &cos_td, &sin_td, settings);
        }
        rms_norm(x_nd, self.norm.val(), settings.eps).reshape([b, t, d])
    }

    /// The output head, `[v, d]`.
    pub fn head(&self) -> Tensor<2> {
        self.head.as_ref().unwrap_or(&self.embedding).val()
    }
}

impl Layer {
    fn forward(
        &self,
        x_nd: Tensor<2>,
        [b, t]: [usize; 2],
        cos_td: &Tensor<2>,
        sin_td: &Tensor<2>,
        settings: &Settings,
    ) -> Tensor<2> {
        let Settings {
            heads,
            groups,
            head_dim,
            eps,
            ..
        } = *settings;
        let [n, d] = x_nd.dims();
        let normed_nd = rms_norm(x_nd.clone(), self.attention_norm.val(), eps);
        let qkv = settings.product(normed_nd, &self.qkv);
        let part = |first: usize, count: usize| {
            qkv.clone()
                .narrow(1, first * head_dim, count * head_dim)
                .reshape([b, t, count, head_dim])
        };
        let q_bthd = rope(part(0, heads), cos_td.clone(), sin_td.clone(), Pairing::Halves);
        let k_btgd = rope(
            part(heads, groups),
            cos_td.clone(),
            sin_td.clone(),
            Pairing::Halves,
        );
        let v_btgd = part(heads + groups, groups);
        let scale = (head_dim as f64).powf(-0.5);
        let mixed_nd = attention(q_bthd, k_btgd, v_btgd, scale, &Mask::default()).reshape([n, d]);
        let x_nd = x_nd + settings.product(mixed_nd, &self.output);

        let normed_nd = rms_norm(x_nd.clone(), self.feed_forward_norm.val(), eps);
        let both = settings.product(normed_nd, &self.gate_up);
        let inner = both.dims()[1] / 2;
        let active = swiglu(both.clone().narrow(1, 0, inner), both.narrow(1, inner, inner));
        x_nd + settings.product(active, &self.down)
    }
}
