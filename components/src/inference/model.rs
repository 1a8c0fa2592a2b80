//! A model and its tokenizer, ready to be asked.

use crate::model::folder::{self, special_ids};
use crate::model::{self, Loaded};
use crate::tokenizer::{encode, with_marks};
use crate::untrusted::quiet;
use crate::{Artifact, Error, Precision, Result};
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tokenizers::Tokenizer;

/// A model and its tokenizer, ready to be asked.
#[derive(Debug)]
pub struct LanguageModel {
    /// The model.
    pub loaded: Loaded,
    folder: PathBuf,
    tokenizer: Tokenizer,
    /// The same, but for texts in which special tokens are written out.
    marked: OnceLock<Tokenizer>,
    ends: Vec<u32>,
    bos: Option<u32>,
    device: Device,
}

impl LanguageModel {
    /// Opens a model artifact. In bf16 its matrices are held in bf16.
    ///
    /// # Errors
    /// As [`model::load`]; `no_tokenizer`, `bad_tokenizer`, `vocab_mismatch`.
    pub fn open(artifact: &Artifact, device: &Device, precision: Precision) -> Result<Self> {
        Self::of(
            &artifact.path,
            model::load_frozen(artifact, device, precision)?,
            device,
        )
    }

    /// Opens a folder in Hugging Face's layout.
    ///
    /// # Errors
    /// As [`open`](Self::open); `no_config`, `no_weights`, `pickled_weights`, `leaves_folder`.
    pub fn open_folder(folder: &Path, device: &Device, precision: Precision) -> Result<Self> {
        let loaded = model::load_folder(folder, device, precision)?;
        Self::of(folder, loaded, device)
    }

    /// A model in memory whose tokenizer lies in `folder`.
    ///
    /// # Errors
    /// `no_tokenizer`, `bad_tokenizer`, `vocab_mismatch`.
    pub(crate) fn of(folder: &Path, loaded: Loaded, device: &Device) -> Result<Self> {
        let (tokenizer, _) = folder::tokenizer(folder)?;
        let ends = special_ids(folder, &loaded.config, &tokenizer, "eos")?;
        let bos = special_ids(folder, &loaded.config, &tokenizer, "bos")?
            .first()
            .copied();
        Ok(Self {
            loaded,
            folder: folder.to_path_buf(),
            tokenizer,
            marked: OnceLock::new(),
            ends,
            bos,
            device: device.clone(),
        })
    }

    /// The same, laid out for going on with texts: a token at a time is read faster, many at once a little slower.
    #[must_use]
    pub fn for_writing(mut self) -> Self {
        self.loaded.decoder = self.loaded.decoder.in_panels();
        self
    }

    /// The ids of a text; `special`: with what the tokenizer itself puts around it, as a token of beginning.
    ///
    /// # Errors
    /// `cannot_encode`; `vocab_mismatch`: an id that the model has no row for.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        self.known(encode(&self.tokenizer, text, special))
    }

    /// The ids of a text in which special tokens are written out, as [`Chat`](super::Chat) gives it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_marked(&self, text: &str) -> Result<Vec<u32>> {
        let marked = self.marked.get_or_init(|| with_marks(&self.tokenizer));
        self.known(encode(marked, text, false))
    }

    /// Refuses ids that the model has no row for.
    fn known(&self, ids: Result<Vec<u32>>) -> Result<Vec<u32>> {
        let ids = ids.map_err(|error| error.in_file(&self.folder))?;
        let rows = self.loaded.config.vocab_size;
        match ids.iter().find(|&&id| id as usize >= rows) {
            None => Ok(ids),
            Some(id) => {
                let message = format!("the tokenizer gives the id {id}; the model knows {rows} tokens");
                Err(Error::data("vocab_mismatch", message).in_file(&self.folder))
            }
        }
    }

    /// The text of ids; special tokens are left out.
    ///
    /// # Errors
    /// `cannot_decode`.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        quiet(|| self.tokenizer.decode(ids, true).ok())
            .flatten()
            .ok_or_else(|| Error::data("cannot_decode", "the tokenizer failed on ids").in_file(&self.folder))
    }

    /// Ids that end a text: of generation_config.json, else config.json, else tokenizer_config.json.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The id that a text begins with, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Longest sequence, in tokens.
    pub fn context(&self) -> usize {
        self.loaded.config.max_position_embeddings
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Where its weights live.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
