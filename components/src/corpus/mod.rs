//! Corpora: reading documents from files, mixing and splitting them, and reading them back.

mod documents;
mod fractions;
mod jsonl;
mod lines;
mod source;

pub use documents::Documents;
pub use fractions::{Fractions, Sampler};
pub use jsonl::{Jsonl, JsonlParams};
pub use source::{Expect, OnBadLine};

pub(crate) use source::existing as existing_file;
