//! Going backward through a short training: what PDS and the learning law solve with.
//!
//! A [`Training`] says what plain gradient descent does at each step and what it is judged by. A [`Trajectory`] takes the
//! steps and keeps the states as a [`Plan`] says: all of them, or every k-th with the rest computed again, in memory or on
//! disk, always with the same bits. [`backward`] runs the costate's recursion over it; an [`Observer`] takes the products
//! with the gradients of single examples on the way. Models without second derivatives take them by [`Difference`]s.
//!
//! Symbols are the sheets': θ parameters, η rate, L_t the training loss of step t, J the target loss, λ costate, γ weights.

mod adjoint;
mod decoder;
mod difference;
mod gains;
mod number;
mod perceptron;
mod plan;
mod rows;
mod simplex;
mod store;
#[cfg(test)]
mod tests;
mod training;
mod weighted;

pub use adjoint::{Costate, Observer, Passed, backward};
pub use decoder::{Agreement, DecoderTraining, Steps, Targets};
pub use difference::Difference;
pub use gains::{Gains, gains};
pub use number::{Number, add_scaled, dot, norm};
pub(crate) use number::{from_bytes, to_bytes};
pub use perceptron::{Examples, Perceptron};
pub use plan::Plan;
pub(crate) use rows::{BlocksAt, too_narrow};
pub use rows::{RowModel, Sequences, Tick};
pub use simplex::{project_rows, project_simplex};
pub use store::Trajectory;
pub use training::{ExampleLosses, Training, Weighted};
pub use weighted::WeightedDecoder;
