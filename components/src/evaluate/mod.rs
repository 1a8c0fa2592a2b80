//! Measurements: tables of figures with their standard errors.

mod auc;
mod generation;
mod lm_loss;
mod selection;
mod tasks;

pub use auc::auc;
pub use generation::Generation;
pub use lm_loss::LmLoss;
pub use selection::SelectionQuality;
pub use tasks::Tasks;
