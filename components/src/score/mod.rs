//! One number an item, for choosing by. In every column called `score`, higher is kept.

mod common;
mod difference;
mod documents;
mod logprobs;
mod miniplm;
mod nll;
mod pds;
mod perplexity;
mod random;
#[cfg(test)]
mod tests;

pub use common::Reduction;
pub use difference::score_difference;
pub use logprobs::Logprobs;
pub use miniplm::MiniPlm;
pub use nll::masked_sum;
pub use pds::{
    Descent, HeadShape, Keep, Method, Moments, Pds, PdsParams, PdsProxy, ProxyParams, ScorerHead,
    ScorerLabels, ScorerOutput, ScorerParams, ScorerPooling, TrainScorer, accuracy_and_f1, highest, pool,
    z_scores,
};
pub use perplexity::Perplexity;
pub use random::Random;

pub(crate) use common::batch_size;
pub(crate) use nll::{Part, Work};
