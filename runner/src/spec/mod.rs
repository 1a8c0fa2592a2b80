//! Experiment files: from what is written to what can be planned.

mod resolved;

pub use resolved::{
    Claim, Draw, Experiment, FileUse, RandomSweep, Reference, Report, Resolved, Runtime, Step, Sweep,
};
