//! Model artifacts: Hugging Face's layout (config.json, weights, tokenizer.json and what goes with them) with our header.

use super::config::ModelConfig;
use super::decoder::Decoder;
use super::folder::{self, COMPANIONS, CONFIG};
use super::stored::Weights;
use super::tensors::write_tensors;
use crate::artifact::{Source, TOKENIZER_FILE, write_header};
use crate::lineage::Charge;
use crate::{Artifact, Error, Kind, Precision, Result, disk};
use burn::module::Module;
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    /// FLOPs of earlier steps that the budget of the last training was charged for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub charged: BTreeMap<Charge, f64>,
    /// Optimizer steps of the last training.
    pub steps: u64,
    /// What it was last trained on, if that was here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Source>,
    /// Why training ended, if it was trained here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

impl ModelDetails {
    /// Of a model that was not trained here, and of the bytes of its tokenizer.json.
    pub(crate) fn untrained(config: &ModelConfig, tokenizer: &[u8]) -> Self {
        Self {
            parameters: config.parameters() as u64,
            vocab_size: config.vocab_size,
            context: config.max_position_embeddings,
            tokenizer: blake3::hash(tokenizer).to_hex().to_string(),
            tokens_trained: 0,
            flops: 0.0,
            charged: BTreeMap::new(),
            steps: 0,
            data: None,
            stopped: None,
        }
    }
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

/// Reads a model artifact onto a device, to be trained or asked.
///
/// # Errors
/// Those of [`ModelConfig::from_json`]; `bad_safetensors`, `missing_tensor` or `bad_shape`, naming the file.
pub fn load(artifact: &Artifact, device: &Device, precision: Precision) -> Result<Loaded> {
    read(artifact, |config, weights| {
        Decoder::from_stored(config, weights, precision, device)
    })
}

/// Reads a model artifact that will only be asked: in bf16 its matrices are held in bf16.
///
/// # Errors
/// As [`load`].
pub fn load_frozen(artifact: &Artifact, device: &Device, precision: Precision) -> Result<Loaded> {
    read(artifact, |config, weights| {
        Decoder::frozen(config, weights, precision, device)
    })
}

/// Reads a folder in Hugging Face's layout that is no artifact, to be asked.
///
/// # Errors
/// As [`load`]; `no_config`, `no_tokenizer`, `no_weights`, `pickled_weights`, `missing_shard`, `leaves_folder`.
pub fn load_folder(folder: &Path, device: &Device, precision: Precision) -> Result<Loaded> {
    let config = folder::config(folder)?;
    let (_, tokenizer) = folder::tokenizer(folder)?;
    let weights = Weights::open(folder)?;
    let decoder =
        Decoder::frozen(&config, &weights, precision, device).map_err(|error| weights.blame(error))?;
    let details = ModelDetails::untrained(&config, &tokenizer);
    Ok(Loaded {
        config,
        decoder,
        details,
    })
}

fn read(artifact: &Artifact, make: impl FnOnce(&ModelConfig, &Weights) -> Result<Decoder>) -> Result<Loaded> {
    let details: ModelDetails = artifact.details()?;
    let config = folder::config(&artifact.path)?;
    if config.vocab_size != details.vocab_size {
        let (found, expected) = (config.vocab_size, details.vocab_size);
        let what = format!("`vocab_size` is {found}; the artifact's header says {expected}");
        return Err(Error::data("bad_config", what).in_file(artifact.path.join(CONFIG)));
    }
    let weights = Weights::open(&artifact.path)?;
    let decoder = make(&config, &weights).map_err(|error| weights.blame(error))?;
    Ok(Loaded {
        config,
        decoder,
        details,
    })
}

/// Writes a model artifact into `folder`, with the tokenizer of the folder `tokenizer` and what goes with it there.
pub fn save(
    folder: &Path,
    decoder: &Decoder,
    config: &ModelConfig,
    details: &ModelDetails,
    tokenizer: &Path,
) -> Result<()> {
    let decoder = decoder.clone().valid();
    let mut config = config.clone();
    config.set_dtype(match decoder.embedding.val().dtype() {
        DType::F64 => "float64",
        DType::BF16 => "bfloat16",
        _ => "float32",
    });
    let weights = folder.join("model.safetensors");
    write_tensors(&weights, &decoder.to_named(&config))?;
    finish(folder, &config, &[weights], details, tokenizer)
}

/// Writes what stands beside the weights of a model artifact, and its header.
pub(crate) fn finish(
    folder: &Path,
    config: &ModelConfig,
    weights: &[PathBuf],
    details: &ModelDetails,
    tokenizer: &Path,
) -> Result<()> {
    let file = folder.join(CONFIG);
    let text = serde_json::to_vec_pretty(config).expect("a configuration is plain data");
    disk::write(&file, text).map_err(Error::io("cannot write", &file))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_file(&file)?;
    for file in weights {
        hasher.update_file(file)?;
    }
    let there = |name: &&str| tokenizer.join(name).exists();
    for name in [TOKENIZER_FILE]
        .into_iter()
        .chain(COMPANIONS.into_iter().filter(there))
    {
        let (from, to) = (tokenizer.join(name), folder.join(name));
        disk::copy(&from, &to).map_err(Error::io("cannot copy to", &to))?;
        hasher.update_file(&to)?;
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
