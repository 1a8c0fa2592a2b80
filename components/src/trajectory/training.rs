//! What a trajectory is solved for.

use super::Number;
use crate::Result;

/// A short training by plain gradient descent, θ_{t+1} = θ_t − η ∇L_t(θ_t), the target J_t it is judged by, and the
/// examples whose worth is asked. Nothing else may happen in a step: momentum, clipping, decay and dropout all break the
/// recursion of the costate.
pub trait Training {
    /// What parameters are made of.
    type Number: Number;

    /// Number of parameters.
    fn parameters(&self) -> usize;

    /// Number of examples whose worth is asked.
    fn examples(&self) -> usize;

    /// L_t(θ), with ∇L_t(θ) in `gradient`.
    fn loss(&mut self, step: usize, theta: &[Self::Number], gradient: &mut [Self::Number]) -> Result<f64>;

    /// J_t(θ), with ∇J_t(θ) in `gradient`.
    fn target(&mut self, step: usize, theta: &[Self::Number], gradient: &mut [Self::Number]) -> Result<f64>;

    /// ∇²L_t(θ) v in `product`: exact where the model has it in closed form, else [`Difference::hessian`].
    ///
    /// [`Difference::hessian`]: super::Difference::hessian
    fn hessian(
        &mut self,
        step: usize,
        theta: &[Self::Number],
        v: &[Self::Number],
        product: &mut [Self::Number],
    ) -> Result<()>;

    /// ⟨v, ∇l_n(θ)⟩ of the first `products.len()` examples n, in `products`: exact where the model has it in closed form,
    /// else [`Difference::products`]. A way back asks for it right before the Hessian's product with the same vectors, so that a
    /// model may work both out together.
    ///
    /// [`Difference::products`]: super::Difference::products
    fn products(
        &mut self,
        step: usize,
        theta: &[Self::Number],
        v: &[Self::Number],
        products: &mut [f64],
    ) -> Result<()>;
}

/// A training whose examples' losses can be had one by one, so that products with their gradients can be had by
/// differences.
pub trait ExampleLosses: Training {
    /// l_n(θ) of the first `losses.len()` examples n, in `losses`.
    fn losses(&mut self, theta: &[Self::Number], losses: &mut [f64]) -> Result<()>;
}

/// A training whose examples have weights of their own at every step, γ_t on the simplex, and whose state is measured on test
/// examples too.
pub trait Weighted: Training {
    /// γ, `[steps, examples]`.
    fn policy(&self) -> &[Self::Number];

    /// γ, to be changed.
    fn policy_mut(&mut self) -> &mut [Self::Number];

    /// γ_t.
    fn weights(&self, step: usize) -> &[Self::Number] {
        let n = self.examples();
        &self.policy()[step * n..(step + 1) * n]
    }

    /// γ_t, to be changed.
    fn weights_mut(&mut self, step: usize) -> &mut [Self::Number] {
        let n = self.examples();
        &mut self.policy_mut()[step * n..(step + 1) * n]
    }

    /// The mean loss over the test examples, with its gradient in `gradient`.
    fn test(&mut self, theta: &[Self::Number], gradient: &mut [Self::Number]) -> Result<f64>;

    /// ⟨v, ∇l_n(θ)⟩ of every example, where no Hessian's product is asked for afterwards.
    fn contributions(
        &mut self,
        theta: &[Self::Number],
        v: &[Self::Number],
        products: &mut [f64],
    ) -> Result<()>;
}
