//! Regression: experiments are run, and what they measure, claim and cost is held against baselines that are committed
//! beside them.
//!
//! A baseline is a small TOML file, `NAME.baseline.toml` beside `NAME.toml`. What falls short is said with the line of
//! the entry in that file, for people, for programs, as JUnit XML, and as annotations that a CI shows at the line.

pub mod annotations;
mod baseline;
mod case;
mod files;
mod judge;
mod junit;
mod machine;
mod problems;
mod read;
mod run;
mod text;
mod tolerance;
mod update;

pub use baseline::{Baseline, baseline_schema};
pub use case::{Case, Checked, Place, Problem, Result, State, Subject};
pub use files::{Found, find};
pub use junit::junit;
pub use run::{Options, check};
