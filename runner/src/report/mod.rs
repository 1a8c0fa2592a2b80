//! Reports: tables, plots and Markdown from what a run left behind.

/// Names of the built-in templates.
pub const TEMPLATES: &[&str] = &["comparison"];
