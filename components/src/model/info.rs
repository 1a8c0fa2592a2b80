//! `model.info`: how large models are, and what they cost.

use super::files::ModelDetails;
use super::folder;
use crate::artifact::{Place, Table};
use crate::component::{Output, main_output};
use crate::flops::{forward_flops, training_flops};
use crate::reference::{self, Refs};
use crate::{Component, Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Measures models without running them.
#[derive(Debug)]
pub enum Info {}

/// Parameters of `model.info`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InfoParams {
    /// The models.
    pub models: Refs<reference::Model>,
    /// Length of the sequence that costs are told for; the longest that the model reads where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_777_216), extend("x-unit" = "tokens"))]
    pub context: Option<usize>,
}

impl Component for Info {
    type Params = InfoParams;
    const NAME: &'static str = "model.info";
    const SUMMARY: &'static str = "parameters, FLOPs a token and memory of models";
    const EXAMPLE: &'static str = r#"use = "model.info"
models = "@model"
context = 1024
"#;

    fn outputs(_: &InfoParams) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn run(params: InfoParams, context: &Context) -> Result<()> {
        let mut table = Table::default();
        for artifact in context.open_all(&params.models)? {
            let details: ModelDetails = artifact.details()?;
            let config = folder::config(&artifact.path)?;
            let width = params.context.unwrap_or(details.context);
            let cache = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim;
            let parameters = config.parameters() as f64;
            let figures = [
                ("parameters", parameters),
                ("context", config.max_position_embeddings as f64),
                ("flops_per_token", forward_flops(&config, width) / width as f64),
                (
                    "training_flops_per_token",
                    training_flops(&config, width) / width as f64,
                ),
                ("weights_bytes_f32", 4.0 * parameters),
                ("weights_bytes_bf16", 2.0 * parameters),
                ("cache_bytes_per_token_f32", 4.0 * cache as f64),
                ("tokens_trained", details.tokens_trained as f64),
            ];
            for (metric, value) in figures {
                table.figure(Place::of(&artifact.label, metric), value, 1, None);
            }
        }
        table.write(&context.output("")?, ())
    }
}
