//! Writing texts with models.

mod text;

#[cfg(test)]
mod tests;

pub use text::{Mix, Params, Text};
