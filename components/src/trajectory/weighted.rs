//! Trainings of decoders whose examples have weights of their own at every step.

use super::{Difference, Number, RowModel, Sequences, Training, Weighted, dot, norm};
use crate::Result;

/// Full-batch gradient descent of a decoder under weights γ_t of the training sequences at every step t. Products with the
/// examples' gradients are exact, products with Hessians are central differences of gradients.
pub struct WeightedDecoder<'a, N> {
    /// The decoder.
    pub model: RowModel<'a, N>,
    /// What is trained on, and whose weights are asked.
    pub examples: Box<dyn Sequences + 'a>,
    /// What the training is judged by: the mean loss over these.
    pub target: Box<dyn Sequences + 'a>,
    /// Of the same law as the target; nothing is decided by it.
    pub test: Box<dyn Sequences + 'a>,
    /// How differences are taken.
    pub difference: Difference,
    /// γ, `[steps, examples]`, each row on the simplex.
    pub policy: Vec<N>,
}

impl<N: Number> WeightedDecoder<'_, N> {
    /// How far products with the Hessian can be trusted: ‖difference‖ / ‖product‖ of those with the target's gradient at
    /// `theta`, by differences of the length set and of a third of it.
    pub fn curvature_error(&mut self, theta: &[N]) -> Result<f64> {
        let zeros = || vec![N::default(); theta.len()];
        let (mut v, mut product, mut nearer) = (zeros(), zeros(), zeros());
        self.target(0, theta, &mut v)?;
        let difference = self.difference;
        difference.hessian(self, 0, theta, &v, &mut product)?;
        difference.third().hessian(self, 0, theta, &v, &mut nearer)?;
        let apart: Vec<N> = product.iter().zip(&nearer).map(|(a, b)| *a - *b).collect();
        Ok(norm(&apart) / dot(&nearer, &nearer).sqrt())
    }
}

impl<N: Number> Training for WeightedDecoder<'_, N> {
    type Number = N;

    fn parameters(&self) -> usize {
        self.model.parameters()
    }

    fn examples(&self) -> usize {
        self.examples.len()
    }

    fn loss(&mut self, step: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        let weights = self.weights(step).iter().map(|weight| weight.wide());
        let chosen: Vec<_> = weights.enumerate().collect();
        self.model.gradient(theta, &*self.examples, &chosen, gradient)
    }

    fn target(&mut self, _: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        mean(&self.model, &*self.target, theta, gradient)
    }

    fn hessian(&mut self, step: usize, theta: &[N], v: &[N], product: &mut [N]) -> Result<()> {
        self.difference.hessian(self, step, theta, v, product)
    }

    fn products(&mut self, _: usize, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        self.model.products(theta, v, &*self.examples, products)
    }
}

impl<N: Number> Weighted for WeightedDecoder<'_, N> {
    fn policy(&self) -> &[N] {
        &self.policy
    }

    fn policy_mut(&mut self) -> &mut [N] {
        &mut self.policy
    }

    fn test(&mut self, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        mean(&self.model, &*self.test, theta, gradient)
    }

    fn contributions(&mut self, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        self.products(0, theta, v, products)
    }
}

/// The mean loss over sequences, with its gradient in `gradient`.
fn mean<N: Number>(
    model: &RowModel<N>,
    sequences: &dyn Sequences,
    theta: &[N],
    gradient: &mut [N],
) -> Result<f64> {
    let share = 1.0 / sequences.len() as f64;
    let chosen: Vec<_> = (0..sequences.len()).map(|i| (i, share)).collect();
    model.gradient(theta, sequences, &chosen, gradient)
}
