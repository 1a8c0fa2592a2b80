//! How an operation's backward pass joins the graph.

use std::fmt::Debug;

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn_flex::FlexTensor;

use crate::profile::timed;

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
pub(super) fn run<O: Operation<N>, const N: usize>(operation: &O, inputs: [FlexTensor; N]) -> FlexTensor {
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
pub(super) fn track<C: CheckpointStrategy, O: Operation<N>, const N: usize>(
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
pub(super) struct Given;

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

/// The step of a tensor whose gradient is looked at: it goes on, and to a leaf.
#[derive(Debug)]
pub(super) struct Tap;

impl Backward<Flex, 2> for Tap {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        for parent in ops.parents.into_iter().flatten() {
            grads.register::<Flex>(parent.id, gradient.clone());
        }
    }
}
