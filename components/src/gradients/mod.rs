//! Gradients as vectors, and products of every example's gradient with a vector.
//!
//! [`Vector`] is a point of parameter space: a gradient, a direction, parameters. [`gradient`] is that of a weighted loss.
//! [`per_example_dot`] gives `⟨∇ℓ_n, v⟩` for every example of a batch by one forward and one backward pass;
//! [`per_example_dot_and_gradient`] goes on from there to the gradient of the examples' losses weighted by what was found;
//! [`difference_dots`] needs nothing but losses.

mod cross_entropy;
mod differences;
mod dots;
mod own;
#[cfg(test)]
mod tests;
mod vector;

pub(crate) use cross_entropy::cross_entropy;
pub use cross_entropy::gradient;
pub use differences::{Displacement, difference_dots, forward_difference_dots};
pub use dots::{PerExample, example_losses, mean_weights, per_example_dot, per_example_dot_and_gradient};
pub use own::holds_own_gradients;
pub use vector::Vector;

use burn::tensor::Tensor;

/// A tensor's values on the host.
fn host(tensor: Tensor<1>) -> Vec<f64> {
    let data = tensor.into_data().convert::<f64>();
    data.try_into_vec().expect("converted to f64")
}
