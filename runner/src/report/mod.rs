//! Reports: tables, plots and Markdown from what a run left behind.
//!
//! A report is made of stored tables alone: rendering again gives the same bytes.

mod context;
mod data;
mod plots;
mod render;
mod reported;
mod write;

pub use data::ReportError;
pub use render::TEMPLATES;
pub use write::{write, write_several};
