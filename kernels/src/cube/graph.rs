//! How the backward passes of operations on a GPU join the graph.

use std::fmt::Debug;

use burn::backend::Autodiff;
use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::{Backwards, Forwards, attention, given, norm, product, rope, sums, swiglu, table};
use crate::gelu::Gelu;

/// The backward pass of an operation on `N` tensors.
pub(super) trait Differentiable<B: Backwards, const N: usize>: Clone + Debug + Send + 'static {
    /// The gradients of the inputs, from the inputs and the gradient of the value.
    fn backward(&self, inputs: [FloatTensor<B>; N], gradient: FloatTensor<B>) -> [FloatTensor<B>; N];
}

/// The step that [`track`] adds to the graph.
#[derive(Debug)]
struct Step<O>(std::marker::PhantomData<fn() -> O>);

impl<B: Backwards, const N: usize, O: Differentiable<B, N>> Backward<B, N> for Step<O> {
    type State = (O, [NodeId; N]);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (operation, nodes) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let inputs = nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let gradients = operation.backward(inputs, gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// Puts an operation's value into the graph; only its inputs are kept for the backward pass.
fn track<B: Backwards, C: CheckpointStrategy, O: Differentiable<B, N>, const N: usize>(
    operation: O,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    value: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let step = Step::<O>(std::marker::PhantomData);
    match Backward::<B, N>::prepare::<C>(step, inputs.each_ref().map(<FloatTensor<Autodiff<B, C>>>::node))
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

impl<B: Forwards + Backwards, C: CheckpointStrategy> Forwards for Autodiff<B, C> {
    fn cube_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let value = B::cube_swiglu(gate.primitive().clone(), up.primitive().clone());
        track::<B, C, _, _>(swiglu::SwiGlu, [gate, up], value)
    }

    fn cube_gelu(x: FloatTensor<Self>, kind: Gelu) -> FloatTensor<Self> {
        let value = B::cube_gelu(x.primitive().clone(), kind);
        track::<B, C, _, _>(kind, [x], value)
    }

    fn cube_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
        centred: bool,
    ) -> FloatTensor<Self> {
        let [x1, weight1, bias1] = [&x, &weight, &bias].map(|input| input.primitive().clone());
        let value = B::cube_norm(x1, weight1, bias1, eps, centred);
        track::<B, C, _, _>(norm::Norm { eps, centred }, [x, weight, bias], value)
    }

    fn cube_rope(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        let [x1, cos, sin] = [&x, &cos, &sin].map(|input| input.primitive().clone());
        let value = B::cube_rope(x1, cos.clone(), sin.clone());
        track::<B, C, _, _>(rope::Rope::<B> { cos, sin }, [x], value)
    }

    fn cube_bias(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let value = B::cube_bias(x.primitive().clone(), bias.primitive().clone());
        track::<B, C, _, _>(sums::Bias, [x, bias], value)
    }

    fn cube_rows(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let value = B::cube_rows(table.primitive().clone(), ids.clone());
        track::<B, C, _, _>(table::Rows::<B> { ids }, [table], value)
    }

    fn cube_given(
        value: FloatTensor<Self>,
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        by_x: FloatTensor<Self>,
        by_y: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let by = [by_x.primitive().clone(), by_y.primitive().clone()];
        track::<B, C, _, _>(given::Given::<B> { by }, [x, y], value.primitive().clone())
    }

    fn cube_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let value = B::cube_product(a.primitive().clone(), b.primitive().clone());
        track::<B, C, _, _>(product::Product, [a, b], value)
    }

    fn cube_attention(
        qkv: FloatTensor<Self>,
        ranges: IntTensor<Self>,
        scale: f64,
        groups: usize,
    ) -> FloatTensor<Self> {
        let whole = qkv.primitive().clone();
        let sums = B::cube_attention_sums(whole.clone(), ranges.clone(), scale, groups);
        let values = B::cube_attention_values(whole, ranges.clone(), sums.clone(), scale, groups);
        let backward = attention::Attention::<B> {
            ranges,
            sums,
            values: values.clone(),
            scale,
            groups,
        };
        track::<B, C, _, _>(backward, [qkv], values)
    }
}
