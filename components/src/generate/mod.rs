//! Writing texts with models.

mod text;

pub use text::{Mix, Params, Text};
