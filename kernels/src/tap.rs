//! Gradients that are looked at on their way back, and gradients that are known and handed to a graph.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::flex::{self, Differentiable};

/// `x` as it is, now in the graph, and a leaf: what a backward pass leaves there is the gradient of `x`.
///
/// # Shapes
/// `x`: `[b, m]`, and so is the gradient; on the CPU the leaf itself is empty, since nothing ever reads it.
pub fn tap(x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let x = x.autodiff();
    if !flex::is_on_processor(&x) {
        return reference(x);
    }
    let leaf = empty(&x).require_grad();
    let value = Dispatch::fused_tap(x.into_dispatch(), leaf.clone().into_dispatch());
    (Tensor::from_dispatch(value), leaf)
}

/// The operation composed of burn's: zeros are added, and their gradient is that of the sum.
fn reference(x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let leaf = x.zeros_like().detach().require_grad();
    (x + leaf.clone(), leaf)
}

/// `value`, of shape `[1]`, whose gradient with respect to `x` is `gradient`. Where no operation of ours can hand it over,
/// the graph gets a linear function that has it, and whose own value is subtracted again.
pub fn with_gradient(value: Tensor<1>, x: Tensor<2>, gradient: Tensor<2>) -> Tensor<1> {
    let (value, x, gradient) = (value.autodiff(), x.autodiff(), gradient.autodiff());
    if !flex::is_fused(&x) {
        let linear = (x * gradient).sum();
        return linear.clone() - linear.detach() + value;
    }
    let (nothing, no_bias) = (empty(&x), flex::or_empty(None, &x));
    Tensor::from_dispatch(Dispatch::fused_given(
        value.into_dispatch(),
        x.into_dispatch(),
        nothing.clone().into_dispatch(),
        no_bias.clone().into_dispatch(),
        gradient.into_dispatch(),
        nothing.into_dispatch(),
        no_bias.into_dispatch(),
    ))
}

/// A tensor without elements beside `x`.
fn empty(x: &Tensor<2>) -> Tensor<2> {
    Tensor::zeros([0, 0], (&x.device(), x.dtype()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{host, tensor, values};
    use burn::tensor::DType;

    /// The gradients of `Σ tapped(x)³` at the tap and at `x`.
    fn gradients(
        dtype: DType,
        tracked: bool,
        tap: impl Fn(Tensor<2>) -> (Tensor<2>, Tensor<2>),
    ) -> [Option<Vec<f64>>; 2] {
        let x = tensor(&values(1, 12, 2.0), [3, 4], dtype, tracked);
        let (value, leaf) = tap(x.clone().autodiff());
        assert_eq!(
            host(value.clone().without_autodiff()),
            host(x.clone().without_autodiff())
        );
        let gradients = value.powi_scalar(3).sum().backward();
        [leaf, x].map(|leaf| leaf.grad(&gradients).map(host))
    }

    #[test]
    fn a_tap_shows_the_gradient_and_lets_it_pass() {
        let expected: Vec<f64> = values(1, 12, 2.0).iter().map(|x| 3.0 * x * x).collect();
        for dtype in [DType::F32, DType::F64] {
            for tracked in [false, true] {
                let [at_tap, at_x] = gradients(dtype, tracked, tap);
                let found = at_tap.expect("the leaf's gradient");
                crate::testing::assert_close("tap", &found, &expected, 1e-6);
                assert_eq!(at_x, tracked.then_some(found.clone()));
                assert_eq!(gradients(dtype, tracked, reference), [Some(found), at_x]);
            }
        }
    }

    #[test]
    fn a_known_gradient_arrives_and_leaves_the_value() {
        for dtype in [DType::F32, DType::F64] {
            let x = tensor(&values(1, 12, 2.0), [3, 4], dtype, true);
            let gradient = tensor(&values(2, 12, 1.0), [3, 4], dtype, false);
            let value = with_gradient(tensor(&[7.0], [1], dtype, false), x.clone(), gradient.clone());
            assert!((host(value.clone().without_autodiff())[0] - 7.0).abs() < 1e-5);
            let gradients = (value * 2.0).backward();
            let found = host(x.grad(&gradients).expect("a leaf's gradient"));
            assert_eq!(found, host(gradient * 2.0));
        }
    }
}
