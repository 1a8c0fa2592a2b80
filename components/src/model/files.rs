//! Models on disk: Hugging Face's layout (config.json, model.safetensors, tokenizer.json) with our header.

use super::config::ModelConfig;
use super::decoder::Decoder;
use super::tensors::{read_tensors, write_tensors};
use crate::artifact::{Source, write_header};
use crate::{Artifact, Error, Kind, Precision, Result, disk};
use burn::module::Module;
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// The budget was spent.
    Budget,
    /// The validation loss stopped falling.
    Early,
}

/// What the header of a model says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDetails {
    /// Number of trainable parameters.
    pub parameters: u64,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub context: usize,
    /// Fingerprint of the tokenizer it was trained with.
    pub tokenizer: String,
    /// Tokens trained on, padding left out, earlier trainings of a continued model included.
    pub tokens_trained: u64,
    /// FLOPs of the training, earlier trainings included.
    pub flops: f64,
    /// Optimizer steps of the last training.
    pub steps: u64,
    /// What it was last trained on.
    pub data: Source,
    /// Why training ended.
    pub stopped: Stopped,
}

/// A model in memory.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its configuration.
    pub config: ModelConfig,
    /// Its weights.
    pub decoder: Decoder,
    /// Where it comes from.
    pub details: ModelDetails,
}

/// Reads a model artifact onto a device.
///
/// # Errors
/// `bad_config`, `bad_safetensors`, `missing_tensor` or `bad_shape`, naming the file.
pub fn load(artifact: &Artifact, device: &Device, precision: Precision) -> Result<Loaded> {
    let details: ModelDetails = artifact.details()?;
    let file = artifact.path.join("config.json");
    let text = std::fs::read(&file).map_err(Error::io("cannot read", &file))?;
    let config: ModelConfig = serde_json::from_slice(&text)
        .map_err(|error| Error::data("bad_config", error.to_string()).in_file(&file))?;
    config.check().map_err(|error| error.in_file(&file))?;
    if config.vocab_size != details.vocab_size {
        let (found, expected) = (config.vocab_size, details.vocab_size);
        let what = format!("`vocab_size` is {found}; the artifact's header says {expected}");
        return Err(Error::data("bad_config", what).in_file(&file));
    }
    let weights = artifact.path.join("model.safetensors");
    let decoder = Decoder::from_named(&config, read_tensors(&weights)?, precision, device)
        .map_err(|error| error.in_file(&weights))?;
    Ok(Loaded {
        config,
        decoder,
        details,
    })
}

/// Writes a model artifact into `folder`. `tokenizer` is the folder that holds its tokenizer.json.
pub fn save(
    folder: &Path,
    decoder: &Decoder,
    config: &ModelConfig,
    details: &ModelDetails,
    tokenizer: &Path,
) -> Result<()> {
    let decoder = decoder.clone().valid();
    let mut config = config.clone();
    let dtype = if decoder.embedding.val().dtype() == DType::F64 {
        "float64"
    } else {
        "float32"
    };
    dtype.clone_into(&mut config.torch_dtype);
    let file = folder.join("config.json");
    let text = serde_json::to_vec_pretty(&config).expect("a configuration is plain data");
    disk::write(&file, text).map_err(Error::io("cannot write", &file))?;
    let weights = folder.join("model.safetensors");
    write_tensors(&weights, &decoder.to_named(&config))?;
    let (from, to) = (tokenizer.join("tokenizer.json"), folder.join("tokenizer.json"));
    disk::copy(&from, &to).map_err(Error::io("cannot copy to", &to))?;
    let mut hasher = blake3::Hasher::new();
    for file in [&file, &weights, &to] {
        hasher.update_file(file)?;
    }
    write_header(
        folder,
        Kind::Model,
        hasher.finalize().to_hex().to_string(),
        None,
        details,
    )
}

/// Hashing of files, in the error type of components.
trait HashFile {
    fn update_file(&mut self, file: &Path) -> Result<()>;
}

impl HashFile for blake3::Hasher {
    fn update_file(&mut self, file: &Path) -> Result<()> {
        let opened = std::fs::File::open(file).map_err(Error::io("cannot open", file))?;
        self.update_reader(opened)
            .map_err(Error::io("cannot read", file))?;
        Ok(())
    }
}
