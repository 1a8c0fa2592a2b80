//! The Gaussian error linear unit (Hendrycks and Gimpel 2016).

use burn::tensor::Tensor;

/// Which of the two formulas of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// `x · Φ(x)`, with the normal distribution's own cumulative function.
    Erf,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    Tanh,
}

/// The factor of `x³` in the approximation.
pub(crate) const CUBIC: f64 = 0.044_715;

/// The unit, element by element; the result has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>, kind: Gelu) -> Tensor<D> {
    reference(x, kind)
}

/// The operation composed of burn's.
pub(crate) fn reference<const D: usize>(x: Tensor<D>, kind: Gelu) -> Tensor<D> {
    let inner = match kind {
        Gelu::Erf => (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf(),
        Gelu::Tanh => {
            let root = (2.0 * std::f64::consts::FRAC_1_PI).sqrt();
            ((x.clone().powi_scalar(3) * CUBIC + x.clone()) * root).tanh()
        }
    };
    x * 0.5 * (inner + 1.0)
}
