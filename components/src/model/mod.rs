//! Decoder language models: one decoder made of choices, read from and written to Hugging Face's layout.

mod config;
mod decoder;
mod files;
mod names;
mod nll;
mod rotary;
mod tensors;

pub use config::{Family, ModelConfig, ModelSpec};
pub use decoder::Decoder;
pub use files::{Loaded, ModelDetails, Stopped, load, save};
pub use nll::token_nll;
pub(crate) use tensors::{read_tensors, write_tensors};
