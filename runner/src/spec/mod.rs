//! From experiment files to what will run, in three stages: as written ([`layers`]), resolved ([`Resolved`]), and planned
//! (in [`crate::plan`]).
//!
//! All mistakes are collected and shown at once, each at its place in the user's own file.

mod branches;
mod claims;
mod codes;
mod confine;
mod diagnostics;
mod document;
mod files;
mod form;
mod grammar;
mod item;
mod layers;
mod link;
mod matrix;
mod profiles;
mod reader;
mod references;
mod resolve;
mod resolved;
mod schema_check;
mod simplify;
mod steps;
mod suggest;
mod sweep;
mod swept;
mod targets;
mod words;
mod write;

pub(crate) use claims::metric_parts;
pub use codes::CODES;
pub use confine::find_root;
pub(crate) use diagnostics::Source;
pub use diagnostics::{Diagnostic, Diagnostics};
pub use grammar::{Claim, Experiment, RandomSearch, Report, Runtime, Sweep, experiment_schema};
pub use layers::Options;
pub use resolve::{load, load_text};
pub use resolved::{FileUse, Reference, Resolved, Step};
pub use simplify::simplify;
pub use swept::{Setting, Swept};
pub use write::to_toml;
