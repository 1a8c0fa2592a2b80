//! The one trainer, on burn-train.
//!
//! A training is composed of three small parts: a [`sources`] of batches, [`terms`] of the objective, and a [`weighting`]
//! of their tokens. The loop ([`strategy`]) owns evaluation, checkpoints and early stopping, all counted in optimizer steps.

mod adapter;
mod backward;
mod budget;
mod checkpoint;
mod compose;
mod curve;
mod estimate;
mod evaluation;
mod following;
mod lm;
mod memory;
mod optim_params;
mod optimizer;
mod params;
mod perceptron;
mod recompute;
mod rehearsal;
mod reweighting;
mod schedule;
mod sources;
mod start;
mod step;
mod strategy;
mod teacher;
mod terms;
#[cfg(test)]
mod tests;
mod weighting;

pub(crate) use checkpoint::{collect, fill, sizes};
#[cfg(test)]
pub(crate) use curve::write as write_curve;
pub use curve::{Point, read as read_curve};
pub(crate) use estimate::estimate;
pub use lm::Lm;
pub(crate) use lm::run;
pub use memory::peak_memory;
pub use optim_params::{Budget, OptimParams};
pub use optimizer::{AdamWSettings, Optimizer};
pub(crate) use params::checkpoint_every;
pub use params::{EarlyStopping, Evaluation, LmParams, ModelChoice};
pub use perceptron::{PerceptronDescent, PerceptronEvaluation, PerceptronParams, TrainPerceptron};
pub use recompute::Recompute;
pub use rehearsal::{Rehearsal, training_rate};
pub use schedule::{Schedule, ScheduleKind};
pub use sources::{Chosen, Drawing, Preferences, Responses, Rollouts, SourceParams};
pub use teacher::VocabularyPolicy;
pub use terms::{
    CrossEntropyTerm, DivergenceKind, DivergenceTerm, PolicyGradientTerm, PreferenceTerm, Reduction,
    TermParams,
};
