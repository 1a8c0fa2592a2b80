//! Vectors of texts, as nearest-neighbour methods and clustering take them.

mod text;

pub use text::{Text, TextParams};
