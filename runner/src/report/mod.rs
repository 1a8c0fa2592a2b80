//! Reports: tables, plots and Markdown from what a run left behind.
//!
//! A report is made of stored tables alone: rendering again gives the same bytes. The page for browsers is made from the
//! Markdown, so that both say the same.

mod context;
mod data;
pub(crate) mod figure;
mod heat;
mod html;
pub(crate) mod measurements;
mod plots;
mod render;
mod reported;
mod seeds;
mod tables;
mod write;

pub(crate) use context::verdict;
pub use data::ReportError;
pub use html::write_page;
pub(crate) use render::render;
pub use render::{TEMPLATES, is_own_template};
pub(crate) use seeds::plots_over_seeds;
pub use write::{write, write_several};
