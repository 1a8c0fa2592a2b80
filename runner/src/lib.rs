//! The library behind the `lyceum` command: spec, plan, store, execution, claims and reports.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests lay out files as users do")
)]

pub mod check;
pub mod claims;
pub mod cli;
pub mod compare;
pub mod device;
pub mod execute;
pub mod exit;
pub mod export;
pub mod hub;
pub mod plan;
pub mod report;
pub mod schema;
pub mod spec;
pub mod store;
pub mod sweep;
pub mod tensorboard;

mod units;

pub use exit::Exit;
