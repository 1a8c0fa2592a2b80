//! What can be asked of any model: to go on with a text, to score it, to embed it.

mod embed;
mod model;
mod score;
mod texts;
pub(crate) mod windows;

pub use embed::{Pooling, embed};
pub use model::LanguageModel;
pub use score::{Pair, PairScore, score_pairs};
pub(crate) use texts::Texts;
