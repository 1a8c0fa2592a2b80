//! Operations with a backward pass.

use burn::backend::autodiff::{
    checkpoint::strategy::CheckpointStrategy,
    ops::{Backward, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn_flex::FlexTensor;

use super::graph::{Given, Tap, run, track};
use crate::attention::{Attention, SelfAttention};
use crate::gelu::Gelu;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::rms_norm::RmsNorm;
use crate::rope::{Pairing, Rope};
use crate::swiglu::SwiGlu;

/// Operations with a backward pass.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Differentiable: Backend {
    fn fused_swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self>;
    fn fused_gelu(x: FloatTensor<Self>, kind: Gelu) -> FloatTensor<Self>;
    fn fused_rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        pairing: Pairing,
        heads: usize,
    ) -> FloatTensor<Self>;
    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        table: FloatTensor<Self>,
        attention: Attention,
    ) -> FloatTensor<Self>;
    fn fused_self_attention(
        qkv: FloatTensor<Self>,
        table: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        attention: SelfAttention,
    ) -> FloatTensor<Self>;
    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        linear: Linear,
    ) -> FloatTensor<Self>;
    /// The first tensor, whose gradient goes to both.
    fn fused_tap(x: FloatTensor<Self>, leaf: FloatTensor<Self>) -> FloatTensor<Self>;
    /// A number, with its gradients by three tensors.
    fn fused_given(
        value: FloatTensor<Self>,
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by_x: FloatTensor<Self>,
        by_w: FloatTensor<Self>,
        by_bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl Differentiable for Flex {
    fn fused_swiglu(gate_up: FlexTensor) -> FlexTensor {
        run(&SwiGlu, [gate_up])
    }

    fn fused_rms_norm(x: FlexTensor, weight: FlexTensor, eps: f64) -> FlexTensor {
        run(&RmsNorm { eps }, [x, weight])
    }

    fn fused_layer_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, eps: f64) -> FlexTensor {
        run(&LayerNorm { eps }, [x, weight, bias])
    }

    fn fused_gelu(x: FlexTensor, kind: Gelu) -> FlexTensor {
        run(&kind, [x])
    }

    fn fused_rope(
        x: FlexTensor,
        cos: FlexTensor,
        sin: FlexTensor,
        pairing: Pairing,
        heads: usize,
    ) -> FlexTensor {
        run(&Rope::new(&cos, &sin, pairing, heads), [x])
    }

    fn fused_attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        table: FlexTensor,
        attention: Attention,
    ) -> FlexTensor {
        run(&attention, [q, k, v, table])
    }

    fn fused_self_attention(
        qkv: FlexTensor,
        table: FlexTensor,
        cos: FlexTensor,
        sin: FlexTensor,
        attention: SelfAttention,
    ) -> FlexTensor {
        run(&attention.with(&cos, &sin), [qkv, table])
    }

    fn fused_linear(x: FlexTensor, w: FlexTensor, bias: FlexTensor, linear: Linear) -> FlexTensor {
        run(&linear, [x, w, bias])
    }

    fn fused_tap(x: FlexTensor, _leaf: FlexTensor) -> FlexTensor {
        x
    }

    fn fused_given(
        value: FlexTensor,
        _x: FlexTensor,
        _w: FlexTensor,
        _bias: FlexTensor,
        _by_x: FlexTensor,
        _by_w: FlexTensor,
        _by_bias: FlexTensor,
    ) -> FlexTensor {
        value
    }
}

impl<C: CheckpointStrategy> Differentiable for Autodiff<Flex, C> {
    fn fused_swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        track::<C, _, _>(SwiGlu, [gate_up])
    }

    fn fused_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        track::<C, _, _>(RmsNorm { eps }, [x, weight])
    }

    fn fused_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        track::<C, _, _>(LayerNorm { eps }, [x, weight, bias])
    }

    fn fused_gelu(x: FloatTensor<Self>, kind: Gelu) -> FloatTensor<Self> {
        track::<C, _, _>(kind, [x])
    }

    fn fused_rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        pairing: Pairing,
        heads: usize,
    ) -> FloatTensor<Self> {
        let rope = Rope::new(cos.primitive(), sin.primitive(), pairing, heads);
        track::<C, _, _>(rope, [x])
    }

    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        table: FloatTensor<Self>,
        attention: Attention,
    ) -> FloatTensor<Self> {
        track::<C, _, _>(attention, [q, k, v, table])
    }

    fn fused_self_attention(
        qkv: FloatTensor<Self>,
        table: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        attention: SelfAttention,
    ) -> FloatTensor<Self> {
        let attention = attention.with(cos.primitive(), sin.primitive());
        track::<C, _, _>(attention, [qkv, table])
    }

    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        linear: Linear,
    ) -> FloatTensor<Self> {
        track::<C, _, _>(linear, [x, w, bias])
    }

    fn fused_tap(x: FloatTensor<Self>, leaf: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = Tap.prepare::<C>([x.node(), leaf.node()]);
        prepared.compute_bound().stateless(x.into_primitive())
    }

    fn fused_given(
        value: FloatTensor<Self>,
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by_x: FloatTensor<Self>,
        by_w: FloatTensor<Self>,
        by_bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let value = value.into_primitive();
        let prepared = Given.prepare::<C>([x.node(), w.node(), bias.node()]);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let gradients = [by_x, by_w, by_bias].map(<FloatTensor<Self>>::into_primitive);
                prepared.finish(gradients, value)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(value),
        }
    }
}
