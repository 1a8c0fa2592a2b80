//! What the whole-program tests share.

pub mod fuzz;
mod golden;
mod lab;
mod noting;
mod sha256;

pub use golden::{Golden, Node, assert_close};
pub use lab::{Ended, Lab, files_under, list};
pub use noting::Noting;
pub use sha256::sha256;
