//! How texts and rankings are compared.

mod exact;
mod porter;
mod rouge;
mod spearman;

pub use exact::{exact_match, normalised};
pub use porter::stem;
pub use rouge::{Rouge, Score, Variant};
pub use spearman::spearman;
