//! Reports: tables, plots and Markdown from what a run left behind.
//!
//! A report is made of stored tables alone: rendering again gives the same bytes.

mod context;
mod data;
pub(crate) mod measurements;
mod plots;
mod render;
mod reported;
mod write;

pub(crate) use context::verdict;
pub use data::ReportError;
pub(crate) use plots::COLOURS;
pub use render::TEMPLATES;
pub(crate) use render::render;
pub use write::{write, write_several};
