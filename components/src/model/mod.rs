//! Decoder language models: one decoder made of choices, read from and written to Hugging Face's layout.

mod assemble;
mod cache;
mod config;
mod decoder;
mod export;
mod families;
mod files;
mod fill;
pub(crate) mod folder;
mod info;
mod init;
mod layer;
mod load;
mod named;
mod names;
mod nll;
mod parts;
mod rotary;
mod spec;
mod stored;
mod tensors;

pub use cache::Cache;
pub use config::{Activation, Biases, Family, ModelConfig, Norm, Positions};
pub use decoder::Decoder;
pub use export::Export;
pub(crate) use files::finish;
pub use files::{Loaded, ModelDetails, Stopped, load, load_folder, load_frozen, save};
pub use info::Info;
pub use init::Init;
pub use load::Load;
pub use nll::token_nll;
pub use rotary::Rotary;
pub use spec::ModelSpec;
pub(crate) use tensors::{read_tensors, write_tensors};
