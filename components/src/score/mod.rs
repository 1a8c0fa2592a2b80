//! One number an item, for choosing by. In every column called `score`, higher is kept.

mod common;
mod difference;
mod documents;
mod logprobs;
mod miniplm;
mod nll;
mod parts;
mod perplexity;
mod random;
#[cfg(test)]
mod tests;

pub use common::Reduction;
pub use difference::score_difference;
pub use logprobs::Logprobs;
pub use miniplm::MiniPlm;
pub use parts::masked_sum;
pub use perplexity::Perplexity;
pub use random::Random;

pub(crate) use common::batch_size;
pub(crate) use nll::Work;
pub(crate) use parts::Part;
