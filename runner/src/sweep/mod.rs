//! Sweeps: one experiment at many settings and seeds.
//!
//! Every point is an experiment of its own, run by a process of its own through the same store, so that steps which points
//! share are done once. State lies in plain files, one folder a point; any number of processes may work on one sweep.

mod folder;
mod names;
mod plan;
mod plots;
mod points;
mod prepare;
mod report;
mod results;
mod run;
mod show;
mod summary;

pub use folder::{PointFolder, PointRecord, SweepFolder};
pub use plan::Overview;
pub use points::{Point, points};
pub use prepare::{PrepareError, Prepared, Ready};
pub use report::write;
pub use run::{How, Keys, keys, run};
pub use show::Show;
