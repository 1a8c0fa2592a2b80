//! Measurements: tables of figures with their standard errors.

mod auc;
mod calibration;
mod divergence;
mod exposure_bias;
mod generation;
mod lm_loss;
mod questions;
mod selection;
mod tasks;

pub use auc::auc;
pub use calibration::Calibration;
pub use divergence::Divergence;
pub use exposure_bias::ExposureBias;
pub use generation::{Generation, Metric};
pub use lm_loss::LmLoss;
pub use selection::SelectionQuality;
pub use tasks::Tasks;
