//! `model.load`: a model made elsewhere.

use super::assemble::check_stored;
use super::files::{ModelDetails, finish};
use super::folder;
use super::stored::Weights;
use crate::artifact::vocab_size;
use crate::component::{Estimate, Output, Size, Sizes, main_output};
use crate::reference::FolderPath;
use crate::{Component, Context, Error, Kind, Result, disk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Loads a model.
#[derive(Debug)]
pub enum Load {}

/// Parameters of `model.load`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadParams {
    /// The folder, as transformers' `save_pretrained` leaves it: config.json, weights in safetensors (one file or several
    /// with an index), tokenizer.json.
    #[schemars(example = &"models/gpt2")]
    pub folder: FolderPath,
}

impl Component for Load {
    type Params = LoadParams;
    const NAME: &'static str = "model.load";
    const SUMMARY: &'static str = "loads a model made elsewhere, from a folder in Hugging Face's layout";
    const EXAMPLE: &'static str = r#"use = "model.load"
folder = "models/gpt2"
"#;

    fn outputs(_: &LoadParams) -> Vec<Output> {
        main_output(Kind::Model)
    }

    fn estimate(params: &LoadParams, sizes: &Sizes) -> Estimate {
        let bytes = sizes.of(&params.folder.0).bytes;
        let size = Size {
            items: 1.0,
            bytes,
            // Most files hold bf16 or f32; the header says which once it is there.
            parameters: bytes / 4.0,
            flops_per_token: bytes / 2.0,
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            ..Estimate::default()
        }
    }

    fn run(params: LoadParams, context: &Context) -> Result<()> {
        let from = context.folder(&params.folder)?;
        let config = folder::config(&from)?;
        let (tokenizer, json) = folder::tokenizer(&from)?;
        let (rows, ids) = (config.vocab_size, vocab_size(&tokenizer) as usize);
        if ids > rows {
            let message = format!("the tokenizer has {ids} ids; the model knows {rows} tokens");
            return Err(Error::data("vocab_mismatch", message).in_file(&from));
        }
        let weights = Weights::open(&from)?;
        check_stored(&config, &weights).map_err(|error| weights.blame(error))?;
        let to = context.output("")?;
        let mut copied = Vec::new();
        for file in weights.all_files() {
            context.check_cancelled()?;
            let target = to.join(file.file_name().unwrap_or_default());
            copy(&file, &target)?;
            copied.push(target);
        }
        let details = ModelDetails::untrained(&config, &json);
        finish(&to, &config, &copied, &details, &from)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    disk::copy(from, to).map_err(Error::io("cannot copy to", to))?;
    Ok(())
}
