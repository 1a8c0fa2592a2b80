//! Tokenizers: training one, loading one, and encoding with it.

mod bpe;
mod encoder;
mod load;
mod train;
#[cfg(test)]
pub(crate) mod train_tests;

pub use encoder::Encoder;
pub(crate) use encoder::{encode, with_marks};
pub use load::{Load, LoadParams};
pub use train::{Train, TrainParams};
