//! What can be asked of any model: to go on with a text, to score it, to embed it.

mod chat;
mod divergence;
mod embed;
mod generate;
mod model;
mod rules;
mod sample;
mod score;
mod settings;
mod stops;
#[cfg(test)]
pub(crate) mod tests;
mod texts;
mod voice;
pub(crate) mod windows;
mod writing;

pub use chat::{Chat, Message};
pub(crate) use divergence::{Compared, divergences};
pub use embed::{Pooling, embed};
pub use generate::{Alone, Finish, Generated, Generator, Prompt};
pub use model::LanguageModel;
pub use sample::Distribution;
pub use score::{Pair, PairScore, score_pairs};
pub use settings::Sampling;
pub(crate) use texts::Texts;
