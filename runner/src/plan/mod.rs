//! The third stage: what would run, what is cached, which field made a step new, and what it would cost.

mod base;
mod estimate;
mod planner;
mod rates;
mod render;
mod request;
mod space;
mod why;

pub use base::{Plan, PlanError, Planned};
pub use planner::Planner;
pub use rates::Rates;
pub use render::{to_dot, to_json, to_text};
pub use space::{check_space, free_space, needed_space};
