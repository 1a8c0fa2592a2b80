//! `train.perceptron`: the perceptron of the learning law (sheet 2.7).

mod checkpoint;
mod params;
mod run;
#[cfg(test)]
mod tests;
mod weights;

pub use params::{PerceptronDescent, PerceptronEvaluation, PerceptronParams};
pub use run::TrainPerceptron;
