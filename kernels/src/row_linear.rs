//! Products of few rows with a matrix of weights, as decoding needs them.

use burn::backend::Dispatch;
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{self, Plain};
use crate::linear;
use crate::product::Products;
use crate::weights::{Weight, Weights};

mod inputs_first;
mod outputs_first;
#[cfg(test)]
mod tests;

use inputs_first::Layout;
pub(crate) use outputs_first::in_lanes;

/// Outputs of one task of outputs first.
const TILE: usize = 64;

/// Multiply-adds from which the product is worth several threads.
const PARALLEL: usize = 1 << 18;

/// Which axis of a matrix of weights comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// `[k, v]`: a row holds the weights of one input.
    InputsFirst,
    /// `[v, k]`: a row holds the weights of one output.
    OutputsFirst,
    /// `[k, v]`, laid out by [`in_panels`](crate::in_panels); such weights are constants.
    Panels,
}

impl Orientation {
    /// Inputs and outputs of weights of these dimensions.
    pub(crate) fn sizes(self, dims: [usize; 2]) -> [usize; 2] {
        match (self, dims) {
            (Self::InputsFirst | Self::Panels, [k, v]) | (Self::OutputsFirst, [v, k]) => [k, v],
        }
    }
}

/// `x · w + b`, or `x · wᵀ + b` for outputs first. Each row's bytes are the same whatever the number of rows and threads:
/// an output is always added up in the same order. The weights are f32 or bfloat16. The result lies outside the graph.
///
/// # Shapes
/// `x_nk`: `[n, k]`, `w`: `[k, v]` or `[v, k]` by its orientation, `bias_v`: `[v]`; the result is `[n, v]`.
pub fn row_linear(
    x_nk: Tensor<2>,
    w: Tensor<2>,
    orientation: Orientation,
    bias_v: Option<Tensor<1>>,
) -> Tensor<2> {
    let (x_nk, w) = (x_nk.without_autodiff(), w.without_autodiff());
    let dtype = x_nk.dtype();
    let bias_v = bias_v.map(|bias_v| linear::widened(bias_v.without_autodiff(), dtype));
    let [k, v] = orientation.sizes(w.dims());
    assert_eq!(x_nk.dims()[1], k, "one weight for each input");
    if let Some(bias_v) = &bias_v {
        assert_eq!(bias_v.dims()[0], v, "one bias for each output");
    }
    if !flex::is_fused(&x_nk) || !Weights::take(w.dtype()) {
        return linear::reference(x_nk, w, orientation, bias_v, Products::Full);
    }
    Tensor::from_dispatch(Dispatch::fused_row_linear(
        x_nk.clone().into_dispatch(),
        w.into_dispatch(),
        flex::or_empty(bias_v, &x_nk).into_dispatch(),
        orientation,
    ))
}

/// The operands of a fused product.
#[derive(Clone, Copy)]
struct Product<'a, W> {
    x: &'a [f32],
    w: &'a [W],
    /// Empty where there is none.
    bias: &'a [f32],
    /// Rows.
    n: usize,
    /// Inputs.
    k: usize,
    /// Outputs.
    v: usize,
}

impl<W> Product<'_, W> {
    /// Whether it is worth several threads.
    fn is_large(&self) -> bool {
        self.n * self.k * self.v >= PARALLEL
    }
}

/// The fused body.
pub(crate) fn flex_row_linear(
    x: &FlexTensor,
    w: &FlexTensor,
    bias: &FlexTensor,
    orientation: Orientation,
) -> FlexTensor {
    let (x, w, bias) = (x.to_contiguous(), w.to_contiguous(), bias.to_contiguous());
    let ([n, k], [rows, columns]) = (flex::dims(&x), flex::dims(&w));
    let v = match orientation {
        Orientation::InputsFirst | Orientation::Panels => columns,
        Orientation::OutputsFirst => rows,
    };
    let mut values = vec![0.0; n * v];
    let (x, bias) = (x.storage(), bias.storage());
    match Weights::of(&w) {
        Weights::F32(w) => multiply(&mut values, Product { x, w, bias, n, k, v }, orientation),
        Weights::Bf16(w) => multiply(&mut values, Product { x, w, bias, n, k, v }, orientation),
    }
    flex::tensor(values, Shape::new([n, v]))
}

/// Fills `values`, `[n, v]`, which are zeros.
fn multiply<W: Weight>(values: &mut [f32], product: Product<W>, orientation: Orientation) {
    match orientation {
        Orientation::InputsFirst => inputs_first::multiply(values, product, Layout::Rows),
        Orientation::Panels => inputs_first::multiply(values, product, Layout::Panels),
        Orientation::OutputsFirst => outputs_first::multiply(values, product),
    }
}

/// Runs tasks `0..count`, on all threads where they are worth it.
fn run(count: usize, parallel: bool, task: impl Fn(usize) + Send + Sync) {
    if parallel {
        (0..count).into_par_iter().for_each(task);
    } else {
        (0..count).for_each(task);
    }
}
