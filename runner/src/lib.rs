//! The library behind the `lyceum` command: spec, plan, store, execution, claims and reports.

pub mod execute;
pub mod store;
