//! `model.load`: a model made elsewhere.

use super::assemble::check_stored;
use super::files::{ModelDetails, finish};
use super::folder;
use super::stored::Weights;
use crate::artifact::vocab_size;
use crate::component::{Estimate, Output, Size, Sizes, main_output};
use crate::flops::Convention;
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
    /// What the model is said to be, so that a plan can be made without the folder. A run compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-runtime" = true))]
    pub expect: Option<ExpectModel>,
}

/// What a model is said to be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectModel {
    /// Number of parameters.
    #[schemars(range(min = 1))]
    pub parameters: u64,
    /// FLOPs of a token's forward pass, for plans alone; two a parameter where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-unit" = "FLOPs"))]
    pub flops_per_token: Option<f64>,
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
        let found = sizes.of(&params.folder.0).bytes;
        // Most files hold bf16 or f32; the header says which once it is there.
        let parameters = params
            .expect
            .as_ref()
            .map_or(found / 4.0, |expect| expect.parameters as f64);
        let told = params.expect.as_ref().and_then(|expect| expect.flops_per_token);
        let told = told.filter(|_| sizes.convention == Convention::Products);
        let size = Size {
            items: 1.0,
            bytes: if found > 0.0 { found } else { 4.0 * parameters },
            parameters,
            flops_per_token: told.unwrap_or(2.0 * parameters),
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
