//! What the whole-program tests share.

mod golden;

pub use golden::{Golden, Node, assert_close};
