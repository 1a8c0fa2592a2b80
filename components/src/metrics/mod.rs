//! How texts are compared.

mod exact;
mod porter;
mod rouge;

pub use exact::{exact_match, normalised};
pub use porter::stem;
pub use rouge::{Rouge, Score, Variant};
