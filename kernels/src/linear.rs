//! Products with weights, which may be held in bfloat16 beside f32 inputs.

use burn::backend::Dispatch;
use burn::tensor::{DType, Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable, Operation, Plain};
use crate::matrix::View;
use crate::panels;
use crate::product::{Factor, Products, Right, takes};
use crate::row_linear::Orientation;
use crate::simd::vectorised;

/// Columns of one task of a sum over rows.
const STRIPE: usize = 128;

/// `x · w + b`, or `x · wᵀ + b` for outputs first. Weights in bfloat16 beside wider inputs count as constants of the graph
/// and are read as they are; sums are taken in the inputs' type. With weights in panels, which only models that are asked
/// have, the result lies outside the graph.
///
/// # Shapes
/// `x_nk`: `[n, k]`, `w`: `[k, v]` or `[v, k]`, `bias_v`: `[v]`; the result is `[n, v]`.
pub fn linear(
    x_nk: Tensor<2>,
    w: Tensor<2>,
    orientation: Orientation,
    bias_v: Option<Tensor<1>>,
    products: Products,
) -> Tensor<2> {
    let [k, v] = orientation.sizes(w.dims());
    assert_eq!(x_nk.dims()[1], k, "one row of weights for each input");
    if let Some(bias_v) = &bias_v {
        assert_eq!(bias_v.dims()[0], v, "one bias for each output");
    }
    if orientation == Orientation::Panels && flex::is_fused(&x_nk) {
        return in_panels(x_nk.without_autodiff(), w, bias_v);
    }
    let constant = w.dtype() == DType::F32 || !w.is_require_grad();
    if !flex::is_fused(&x_nk) || !takes(w.dtype()) || !constant {
        return reference(x_nk, w, orientation, bias_v, products);
    }
    let bias_v = bias_v.map(|bias_v| widened(bias_v, DType::F32));
    let bias_v = flex::or_empty(bias_v, &x_nk);
    Tensor::from_dispatch(Dispatch::fused_linear(
        x_nk.into_dispatch(),
        w.into_dispatch(),
        bias_v.into_dispatch(),
        Linear {
            orientation,
            products,
        },
    ))
}

/// The operation for weights in panels.
fn in_panels(x_nk: Tensor<2>, w_kv: Tensor<2>, bias_v: Option<Tensor<1>>) -> Tensor<2> {
    let bias_v = bias_v.map(|bias_v| widened(bias_v.without_autodiff(), DType::F32));
    Tensor::from_dispatch(Dispatch::fused_panels(
        x_nk.clone().into_dispatch(),
        w_kv.without_autodiff().into_dispatch(),
        flex::or_empty(bias_v, &x_nk).into_dispatch(),
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference(
    x_nk: Tensor<2>,
    w: Tensor<2>,
    orientation: Orientation,
    bias_v: Option<Tensor<1>>,
    products: Products,
) -> Tensor<2> {
    let dtype = x_nk.dtype();
    let w_kv = match orientation {
        Orientation::InputsFirst => w,
        Orientation::OutputsFirst => w.transpose(),
        Orientation::Panels => panels::in_rows(w),
    };
    let product_nv = match products {
        Products::Full => product(x_nk, w_kv),
        Products::Bf16 => product(x_nk.cast(DType::BF16), w_kv).cast(dtype),
    };
    match bias_v {
        #[cfg(feature = "cube")]
        Some(bias_v) if cube::takes(&product_nv) => cube::bias(product_nv, widened(bias_v, DType::F32)),
        Some(bias_v) => product_nv + widened(bias_v, dtype).unsqueeze(),
        None => product_nv,
    }
}

/// `[…, m, k] · […, k, n]` in the type of `a`, which `b` is taken in.
pub(crate) fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if cube::takes(&a) {
        // What is to be narrowed is so inside the operation, whose gradient then has the type of the weights.
        let b = if a.dtype() == DType::BF16 {
            b
        } else {
            widened(b, a.dtype())
        };
        return cube::product(a, b);
    }
    let b = widened(b, a.dtype());
    a.matmul(b)
}

/// A tensor in the type of what it is combined with.
pub(crate) fn widened<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype {
        tensor
    } else {
        tensor.cast(dtype)
    }
}

/// The fused body.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) orientation: Orientation,
    pub(crate) products: Products,
}

impl Linear {
    /// The weights `[k, v]`.
    fn weights<'a>(&self, w: &'a FlexTensor) -> Factor<'a> {
        match self.orientation {
            Orientation::OutputsFirst => Factor::of(w).transposed(),
            // Panels have a body of their own.
            Orientation::InputsFirst | Orientation::Panels => Factor::of(w),
        }
    }
}

/// An f32 matrix.
fn matrix(tensor: &FlexTensor) -> View<'_> {
    let [rows, columns] = flex::dims(tensor);
    View::new(tensor.storage(), rows, columns, columns)
}

impl Operation<3> for Linear {
    const NAMES: [&'static str; 2] = ["linear", "linear, backward"];

    fn forward(&self, [x, w, bias]: [&FlexTensor; 3]) -> FlexTensor {
        let weights = Right::new(self.weights(w), self.products);
        let values = weights.multiply(matrix(x), bias.storage());
        let v = self.orientation.sizes(flex::dims(w))[1];
        flex::tensor(values, Shape::new([flex::dims::<2>(x)[0], v]))
    }

    fn backward(
        &self,
        [x, w, bias]: [&FlexTensor; 3],
        gradient: &FlexTensor,
        wanted: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let shape = |tensor: &FlexTensor| tensor.layout().shape().clone();
        let by_x = || {
            let weights = Right::new(self.weights(w).transposed(), self.products);
            flex::tensor(weights.multiply(matrix(gradient), &[]), shape(x))
        };
        let by_w = || {
            let (left, right) = match self.orientation {
                Orientation::OutputsFirst => (gradient, x),
                Orientation::InputsFirst | Orientation::Panels => (x, gradient),
            };
            let right = Right::new(Factor::of(right), self.products);
            flex::tensor(right.multiply(matrix(left).transposed(), &[]), shape(w))
        };
        let by_bias = || {
            let mut sums = vec![0.0; bias.layout().num_elements()];
            add_rows(&mut sums, gradient.storage());
            flex::tensor(sums, shape(bias))
        };
        [
            wanted[0].then(by_x),
            wanted[1].then(by_w),
            wanted[2].then(by_bias),
        ]
    }
}

/// Adds every row to `sums`, in order.
pub(crate) fn add_rows(sums: &mut [f32], rows: &[f32]) {
    let columns = sums.len();
    sums.par_chunks_mut(STRIPE).enumerate().for_each(|(i, sums)| {
        add_stripe(sums, rows, columns, i * STRIPE);
    });
}

vectorised! {
    /// Adds every row's columns from `first` on.
    fn add_stripe<FMA>(sums: &mut [f32], rows: &[f32], columns: usize, first: usize) {
        for row in rows.chunks_exact(columns) {
            for (sum, value) in sums.iter_mut().zip(&row[first..]) {
                *sum += value;
            }
        }
    }
}

#[cfg(test)]
mod tests;
