//! What the fuzz targets do with bytes: nothing that is read may panic.

mod files;

pub use files::{artifact, config, ipc, jsonl, parquet, safetensors, tokenizer};

/// Bytes of an experiment file.
pub fn experiment(_data: &[u8]) {}
