//! One number an item, for choosing by. In every column called `score`, higher is kept.

mod bags;
#[cfg(test)]
mod baseline_tests;
mod classifier;
mod common;
mod difference;
mod documents;
mod dsir;
mod gradients;
mod influence;
mod items;
mod logistic;
mod logprobs;
mod miniplm;
mod ngrams;
mod nll;
mod parts;
mod pds;
mod perplexity;
mod random;
mod rho_loss;
#[cfg(test)]
mod tests;

pub use classifier::{Classifier, normalised};
pub use common::Reduction;
pub use difference::score_difference;
pub use dsir::{Dsir, log_ratios};
pub use gradients::{Similarity, similarity};
pub use influence::Influence;
pub use logistic::{Examples, Logistic};
pub use logprobs::Logprobs;
pub use miniplm::MiniPlm;
pub use ngrams::NGrams;
pub use parts::masked_sum;
pub use pds::{
    Descent, HeadShape, Keep, Method, Moments, Pds, PdsParams, PdsProxy, ProxyParams, ScorerHead,
    ScorerLabels, ScorerOutput, ScorerParams, ScorerPooling, TrainScorer, accuracy_and_f1, highest, pool,
    z_scores,
};
pub use perplexity::Perplexity;
pub use random::Random;
pub use rho_loss::RhoLoss;

pub(crate) use common::batch_size;
pub(crate) use nll::{Work, check_model};
pub(crate) use parts::Part;
