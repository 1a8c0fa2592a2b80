//! What the whole-program tests share.

mod golden;
mod sha256;

pub use golden::{Golden, Node, assert_close};
pub use sha256::sha256;
