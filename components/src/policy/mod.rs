//! Weights of every example at every step, found by going backward through a training.

mod artifact;
mod copies;
mod data;
mod estimate;
mod inputs;
mod labelled;
mod law;
mod learning_law;
mod params;
mod report;
mod states;
mod tables;
#[cfg(test)]
mod tests;
mod work;

pub use artifact::{Policy, PolicyDetails};
pub(crate) use data::perceptron_start;
pub use data::{PerceptronData, Split, perceptron_data};
pub(crate) use labelled::{Labelled, write_labelled};
pub use law::{LawEpoch, LawStep, improve};
pub use learning_law::LearningLaw;
pub use params::{LawParams, LawScale, LawSchedule, LawStates};
pub use report::{LawReport, Traced, acceleration, observe};
pub(crate) use tables::{CONTRIBUTIONS, CURVES, EPOCHS, POLICIES};
