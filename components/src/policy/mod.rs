//! Weights of every example at every step, found by going backward through a training.

mod artifact;
mod data;
mod law;
mod learning_law;
mod report;
#[cfg(test)]
mod tests;

pub use artifact::PolicyDetails;
pub use data::{PerceptronData, Split, perceptron_data};
pub use law::{LawEpoch, LawStep, improve};
pub use learning_law::{LawData, LawParams, LawScale, LawSchedule, LearningLaw};
pub use report::{LawReport, acceleration, observe};
