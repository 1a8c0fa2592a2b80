//! Measurements: tables of figures with their standard errors.

mod auc;
mod lm_loss;
mod selection;

pub use auc::auc;
pub use lm_loss::LmLoss;
pub use selection::SelectionQuality;
