//! How texts and rankings are compared.

mod calibration;
mod distinct;
mod exact;
mod exposure;
mod porter;
mod rouge;
mod spearman;

pub use calibration::{Bin, Calibration};
pub use distinct::distinct;
pub use exact::{exact_match, normalised};
pub use exposure::{Errors, Reduction, accumulated, excess};
pub use porter::stem;
pub use rouge::{Rouge, Score, Variant};
pub use spearman::spearman;
