//! PDS: data selection by Pontryagin's maximum principle (Gu et al. 2025). A solver scores a few blocks by what they are
//! worth to a short training; a scorer learns these scores from text and scores everything.

mod descent;
mod drawn;
mod fit;
mod head;
mod infer;
mod labels;
mod params;
mod proxy;
mod scorer;
#[cfg(test)]
mod scorer_tests;
mod solve;
#[cfg(test)]
mod tests;
mod train;

pub use descent::{Descent, Method};
pub use head::{HeadShape, ScorerHead, ScorerOutput, ScorerPooling, pool};
pub use infer::{Pds, PdsParams};
pub use labels::{Moments, accuracy_and_f1, highest, z_scores};
pub use params::{Keep, ProxyParams};
pub use proxy::PdsProxy;
pub use train::{ScorerLabels, ScorerParams, TrainScorer};
