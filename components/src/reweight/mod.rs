//! Weighing the examples of every step by what they do for a target: the learning law in its practical form.

mod doubt;
mod params;
mod rules;

pub(crate) use doubt::Doubt;
pub(crate) use params::only_for_decoders;
pub use params::{Contribution, Precondition, Reweight};
pub use rules::{Rule, Weigh};
