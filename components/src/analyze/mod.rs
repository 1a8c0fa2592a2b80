//! What measurements come to together: laws of the loss, and how much sooner a method reaches it.

mod acceleration;
mod curves;
mod fits;
mod huber;
mod law;
mod lbfgs;
mod learning_law;
mod line;
mod policies;
mod report;
mod scaling_law;

pub use acceleration::{Acceleration, Between, first_at};
pub use curves::Losses;
pub use huber::{fit_joint, fit_single};
pub use law::{Law, Point};
pub use learning_law::{LawAnalysis, LearningLaw};
pub use line::{Line, fit_line};
pub use scaling_law::ScalingLaw;
