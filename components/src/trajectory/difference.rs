//! Products with second derivatives and with the gradients of single examples, by central differences: for engines
//! without second order or forward mode (PDS, sheet 7).

use super::number::{add_scaled, norm};
use super::{ExampleLosses, Number, Training};
use crate::{Precision, Result};

/// How far parameters are moved along a direction v to take a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    /// By r (1 + ‖θ‖).
    Relative(f64),
    /// By this Euclidean length.
    Length(f64),
}

impl Difference {
    /// By `rel_step`; where it is left out by 3e-7 in f64 and 1e-4 in f32.
    pub fn relative(rel_step: Option<f64>, precision: Precision) -> Self {
        Self::Relative(rel_step.unwrap_or(match precision {
            Precision::F64 => 3e-7,
            Precision::F32 | Precision::Bf16 => 1e-4,
        }))
    }

    /// The same, three times shorter: what a result is compared with to know whether it can be trusted.
    #[must_use]
    pub fn third(self) -> Self {
        match self {
            Self::Relative(r) => Self::Relative(r / 3.0),
            Self::Length(length) => Self::Length(length / 3.0),
        }
    }

    /// ε, so that θ ± ε v lie as far from θ as is wanted; none where v is zero.
    fn epsilon<N: Number>(self, theta: &[N], v: &[N]) -> Option<f64> {
        let length = norm(v);
        let wanted = match self {
            Self::Relative(r) => r * (1.0 + norm(theta)),
            Self::Length(length) => length,
        };
        (length > 0.0).then(|| wanted / length)
    }

    /// ∇²L_t(θ) v ≈ (∇L_t(θ + εv) − ∇L_t(θ − εv)) / 2ε.
    pub fn hessian<T: Training>(
        self,
        training: &mut T,
        step: usize,
        theta: &[T::Number],
        v: &[T::Number],
        product: &mut [T::Number],
    ) -> Result<()> {
        let Some(epsilon) = self.epsilon(theta, v) else {
            product.fill(T::Number::default());
            return Ok(());
        };
        let mut moved = theta.to_vec();
        add_scaled(&mut moved, epsilon, v);
        training.loss(step, &moved, product)?;
        moved.copy_from_slice(theta);
        add_scaled(&mut moved, -epsilon, v);
        let mut other = vec![T::Number::default(); theta.len()];
        training.loss(step, &moved, &mut other)?;
        let scale = 0.5 / epsilon;
        for (product, other) in product.iter_mut().zip(&other) {
            *product = T::Number::of((product.wide() - other.wide()) * scale);
        }
        Ok(())
    }

    /// ⟨v, ∇l_n(θ)⟩ ≈ (l_n(θ + εv) − l_n(θ − εv)) / 2ε for all examples at once: two forward passes.
    pub fn products<T: ExampleLosses>(
        self,
        training: &mut T,
        theta: &[T::Number],
        v: &[T::Number],
        products: &mut [f64],
    ) -> Result<()> {
        let Some(epsilon) = self.epsilon(theta, v) else {
            products.fill(0.0);
            return Ok(());
        };
        let mut moved = theta.to_vec();
        add_scaled(&mut moved, epsilon, v);
        training.losses(&moved, products)?;
        moved.copy_from_slice(theta);
        add_scaled(&mut moved, -epsilon, v);
        let mut other = vec![0.0; products.len()];
        training.losses(&moved, &mut other)?;
        let scale = 0.5 / epsilon;
        for (product, other) in products.iter_mut().zip(other) {
            *product = (*product - other) * scale;
        }
        Ok(())
    }
}
