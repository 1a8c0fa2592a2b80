//! Running a plan: steps one after the other, each published whole or not at all, with a record beside.

pub mod child;
mod clock;
mod expected;
pub mod index;
mod interrupt;
mod memory;
mod needs;
mod progress;
pub mod prune;
pub mod record;
mod run;
pub mod runs;
mod services;
mod shards;
mod step;

pub use expected::UNEXPECTED;
pub(crate) use interrupt::cancel_on_signal;
pub use needs::Needs;
#[cfg(feature = "hub")]
pub(crate) use progress::bar;
pub use record::{RunFolder, RunRecord, Status, StepRecord};
pub use run::{Ended, run};
