//! The bridge to burn's CPU backend: which tensors take a fused body, and how its backward pass joins the graph.

use std::fmt::Debug;

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, DispatchDevice, Flex, backend_extension};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::adamw::AdamW;
use crate::attention::{Attention, Row};
use crate::divergence::Settings;
use crate::gelu::Gelu;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::product::Products;
use crate::profile::timed;
use crate::rms_norm::RmsNorm;
use crate::rope::Rope;
use crate::row_linear::Orientation;
use crate::swiglu::SwiGlu;

/// Whether a tensor takes the fused bodies: f32 on Flex.
pub(crate) fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_flex(tensor)
}

/// Whether a tensor lies on Flex.
pub(crate) fn is_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device: Device = tensor.device().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// An optional operand beside `x`; none is an empty one, since operations of a backend take no options.
pub(crate) fn or_empty<const D: usize>(operand: Option<Tensor<1>>, x: &Tensor<D>) -> Tensor<1> {
    operand.unwrap_or_else(|| Tensor::zeros([0], (&x.device(), x.dtype())))
}

/// A contiguous tensor of these values.
pub(crate) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The tensor itself where it is contiguous, else a contiguous copy; a clone would make the update copy it.
pub(crate) fn owned(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// A tensor's dimensions; their number is known to the caller.
pub(crate) fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.layout().shape().dims()
}

/// A differentiable operation on `N` contiguous f32 tensors.
pub(crate) trait Operation<const N: usize>: Clone + Debug + Send + 'static {
    /// Its names in profiles: forward and backward.
    const NAMES: [&'static str; 2];

    /// The operation's value.
    fn forward(&self, inputs: [&FlexTensor; N]) -> FlexTensor;

    /// The gradients of the inputs that are `wanted`, from the inputs and the gradient of the value.
    fn backward(
        &self,
        inputs: [&FlexTensor; N],
        gradient: &FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];
}

/// Runs an operation outside any graph.
fn run<O: Operation<N>, const N: usize>(operation: &O, inputs: [FlexTensor; N]) -> FlexTensor {
    timed(O::NAMES[0], || {
        operation.forward(inputs.map(|input| input.to_contiguous()).each_ref())
    })
}

/// The step that [`track`] adds to the graph.
#[derive(Debug)]
struct Step<O>(std::marker::PhantomData<fn() -> O>);

impl<const N: usize, O: Operation<N>> Backward<Flex, N> for Step<O> {
    type State = (O, [NodeId; N]);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (operation, nodes) = ops.state;
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let inputs = nodes.map(|node| {
            checkpointer
                .retrieve_node_output::<FlexTensor>(node)
                .to_contiguous()
        });
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = timed(O::NAMES[1], || {
            operation.backward(inputs.each_ref(), &gradient, wanted)
        });
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Runs an operation in the graph; only its inputs are kept for the backward pass.
fn track<C: CheckpointStrategy, O: Operation<N>, const N: usize>(
    operation: O,
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
) -> FloatTensor<Autodiff<Flex, C>> {
    let value = run(
        &operation,
        inputs.each_ref().map(|input| input.primitive().clone()),
    );
    let step = Step::<O>(std::marker::PhantomData);
    match step
        .prepare::<C>(inputs.each_ref().map(<FloatTensor<Autodiff<Flex, C>>>::node))
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prepared) => {
            let nodes = inputs.each_ref().map(|input| prepared.checkpoint(input));
            prepared.finish((operation, nodes), value)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(value),
    }
}

/// The step of a number whose gradients by its inputs were worked out beside it.
#[derive(Debug)]
struct Given;

impl Backward<Flex, 3> for Given {
    type State = [FlexTensor; 3];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let factor = grads.consume::<Flex>(&ops.node).to_contiguous().storage::<f32>()[0];
        for (parent, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, crate::simd::scaled(gradient, factor));
            }
        }
    }
}

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
    fn fused_rope(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        attention: Attention,
    ) -> FloatTensor<Self>;
    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        linear: Linear,
    ) -> FloatTensor<Self>;
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

    fn fused_rope(x: FlexTensor, cos: FlexTensor, sin: FlexTensor) -> FlexTensor {
        run(&Rope::new(&cos, &sin), [x])
    }

    fn fused_attention(q: FlexTensor, k: FlexTensor, v: FlexTensor, attention: Attention) -> FlexTensor {
        run(&attention, [q, k, v])
    }

    fn fused_linear(x: FlexTensor, w: FlexTensor, bias: FlexTensor, linear: Linear) -> FlexTensor {
        run(&linear, [x, w, bias])
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

    fn fused_rope(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        track::<C, _, _>(Rope::new(cos.primitive(), sin.primitive()), [x])
    }

    fn fused_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        attention: Attention,
    ) -> FloatTensor<Self> {
        track::<C, _, _>(attention, [q, k, v])
    }

    fn fused_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        linear: Linear,
    ) -> FloatTensor<Self> {
        track::<C, _, _>(linear, [x, w, bias])
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

/// Operations outside the graph.
#[backend_extension(Flex)]
pub(crate) trait Plain: Backend {
    fn fused_nll(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
        products: Products,
    ) -> FloatTensor<Self>;
    /// The negative log-likelihoods and the gradients of hidden states, head and bias.
    fn fused_nll_gradients(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: IntTensor<Self>,
        weights: FloatTensor<Self>,
        products: Products,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
    /// The divergences from a teacher's head and the gradients of the student's hidden states, head and bias.
    #[allow(clippy::too_many_arguments)] // A backend's operations take tensors, not what holds them.
    fn fused_divergence(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        teacher_hidden: FloatTensor<Self>,
        teacher_head: FloatTensor<Self>,
        teacher_bias: FloatTensor<Self>,
        settings: Settings,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
    /// The same from a teacher's likeliest tokens.
    #[allow(clippy::too_many_arguments)] // As above.
    fn fused_divergence_top_k(
        hidden: FloatTensor<Self>,
        head: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        ids: IntTensor<Self>,
        log_p: FloatTensor<Self>,
        log_tail: FloatTensor<Self>,
        settings: Settings,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
    fn fused_append(cache: FloatTensor<Self>, new: FloatTensor<Self>, rows: Vec<Row>) -> FloatTensor<Self>;
    fn fused_row_linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        orientation: Orientation,
    ) -> FloatTensor<Self>;
    fn fused_squared_norm(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        settings: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl Plain for Flex {
    fn fused_nll(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        targets: FlexTensor,
        products: Products,
    ) -> FlexTensor {
        timed("linear_nll", || {
            crate::cross_entropy::flex_nll(&hidden, &head, &bias, &targets, products)
        })
    }

    fn fused_nll_gradients(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        targets: FlexTensor,
        weights: FlexTensor,
        products: Products,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        timed("linear_cross_entropy", || {
            crate::cross_entropy::flex_nll_gradients(&hidden, &head, &bias, &targets, &weights, products)
        })
    }

    fn fused_divergence(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        weights: FlexTensor,
        teacher_hidden: FlexTensor,
        teacher_head: FlexTensor,
        teacher_bias: FlexTensor,
        settings: Settings,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let teacher = [&teacher_hidden, &teacher_head, &teacher_bias];
        timed("linear_divergence", || {
            crate::divergence::flex_dense([&hidden, &head, &bias], &weights, teacher, settings)
        })
    }

    fn fused_divergence_top_k(
        hidden: FlexTensor,
        head: FlexTensor,
        bias: FlexTensor,
        weights: FlexTensor,
        ids: FlexTensor,
        log_p: FlexTensor,
        log_tail: FlexTensor,
        settings: Settings,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let student = [&hidden, &head, &bias];
        timed("linear_divergence", || {
            crate::divergence::flex_top_k(student, &weights, &ids, [&log_p, &log_tail], settings)
        })
    }

    fn fused_append(cache: FlexTensor, new: FlexTensor, rows: Vec<Row>) -> FlexTensor {
        timed("append", || crate::append::flex_append(cache, &new, &rows))
    }

    fn fused_row_linear(
        x: FlexTensor,
        w: FlexTensor,
        bias: FlexTensor,
        orientation: Orientation,
    ) -> FlexTensor {
        timed("row_linear", || {
            crate::row_linear::flex_row_linear(&x, &w, &bias, orientation)
        })
    }

    fn fused_squared_norm(x: FlexTensor) -> FlexTensor {
        timed("squared_norm", || crate::squared_norm::flex_squared_norm(&x))
    }

    fn fused_adamw(
        parameter: FlexTensor,
        gradient: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
        settings: AdamW,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        timed("adamw_step", || {
            crate::adamw::flex_step(parameter, &gradient, first, second, settings)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tensor;

    #[test]
    fn only_f32_is_fused_in_the_graph_and_outside() {
        for tracked in [false, true] {
            assert!(is_fused(&tensor(&[1.0], [1], DType::F32, tracked)));
            assert!(!is_fused(&tensor(&[1.0], [1], DType::F64, tracked)));
        }
    }
}
