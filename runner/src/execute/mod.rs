//! Running a plan: steps one after the other, each published whole or not at all, with a record beside.

pub mod record;

pub use record::{RunFolder, RunRecord, Status, StepRecord};
