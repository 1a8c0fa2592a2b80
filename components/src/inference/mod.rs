//! What can be asked of any model: to go on with a text, to score it, to embed it.

mod model;

pub use model::LanguageModel;
