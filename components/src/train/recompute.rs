//! A pass that keeps only what each layer reads, and works out again what is inside a layer when its gradients are taken
//! (Chen et al. 2016, one segment a layer).

use crate::model::Decoder;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is worked out again for the gradients instead of being kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing.
    #[default]
    None,
    /// All that is inside a layer: what each layer reads is kept.
    Block,
}

/// The value of `loss`, a function of the final hidden states at the positions `wanted`, `[n, d]`, and its gradients. Values
/// and gradients have the bytes of one graph over all layers: each layer runs the same operations on the same numbers, twice,
/// and what adds up adds up in the same order.
pub(super) fn gradients(
    decoder: &Decoder,
    inputs_bt: Tensor<2, Int>,
    wanted: Option<Tensor<1, Int>>,
    loss: impl FnOnce(Tensor<2>) -> Tensor<1>,
) -> (Tensor<1>, GradientsParams) {
    let sizes = inputs_bt.dims();
    let place = decoder.at_start(sizes[1], wanted);
    // Without gradients, but on the device that tracks them: outside it burn composes some operations in other ways.
    let still = decoder.clone().no_grad();
    let mut x_nd = still.embed(inputs_bt.clone(), &place).without_autodiff();
    let mut inputs = Vec::with_capacity(decoder.layers.len());
    for i in 0..decoder.layers.len() {
        let y_nd = still.layer(i, x_nd.clone().autodiff(), sizes, &place, None);
        inputs.push(std::mem::replace(&mut x_nd, y_nd.without_autodiff()));
    }
    drop(still);

    let mut gradients = GradientsParams::new();
    let last_nd = leaf(x_nd);
    let loss = loss(decoder.normed(last_nd.clone()));
    let value = loss.clone().without_autodiff();
    let mut found = loss.backward();
    collect(decoder, &mut found, &mut gradients);
    let mut by_output = last_nd.grad_remove(&mut found);
    drop((last_nd, found));
    for (i, input_nd) in inputs.into_iter().enumerate().rev() {
        let Some(by_output_nd) = by_output.take() else {
            break;
        };
        let input_nd = leaf(input_nd);
        let output_nd = decoder.layer(i, input_nd.clone(), sizes, &place, None);
        let mut found = backward(output_nd, by_output_nd);
        collect(&decoder.layers[i], &mut found, &mut gradients);
        by_output = input_nd.grad_remove(&mut found);
    }
    if let Some(by_output_nd) = by_output {
        let mut found = backward(decoder.embed(inputs_bt, &place), by_output_nd);
        // A tied head has its share already.
        collect(decoder, &mut found, &mut gradients);
    }
    (value, gradients)
}

/// The beginning of a graph.
fn leaf(x_nd: Tensor<2>) -> Tensor<2> {
    x_nd.autodiff().require_grad()
}

/// The gradients of something whose gradient by `y_nd` is `by_y_nd`: those of `⟨y, ∂y⟩`.
fn backward(y_nd: Tensor<2>, by_y_nd: Tensor<2>) -> Gradients {
    (y_nd * by_y_nd.autodiff()).sum().backward()
}

/// Adds the gradients of a module's parameters to those there are.
fn collect<M: Module>(module: &M, found: &mut Gradients, gradients: &mut GradientsParams) {
    module.visit(&mut Collect { found, gradients });
}

struct Collect<'a> {
    found: &'a mut Gradients,
    gradients: &'a mut GradientsParams,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(new) = param.val().grad_remove(self.found) else {
            return;
        };
        let sum = match self.gradients.remove::<D>(param.id) {
            Some(before) => before + new,
            None => new,
        };
        self.gradients.register(param.id, sum);
    }
}
