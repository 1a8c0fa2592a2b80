//! `model.init`: a model of random weights.

use super::config::ModelConfig;
use super::decoder::Decoder;
use super::files::{ModelDetails, save};
use super::spec::ModelSpec;
use crate::component::{Estimate, Output, Problem, Size, Sizes, main_output};
use crate::flops::Convention;
use crate::reference::{self, Ref};
use crate::tokenizer::Encoder;
use crate::{Component, Context, Kind, Result, Seeding};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes a model.
#[derive(Debug)]
pub enum Init {}

/// Parameters of `model.init`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitParams {
    /// The model.
    pub model: ModelSpec,
    /// Its tokenizer.
    pub tokenizer: Ref<reference::Tokenizer>,
}

impl Component for Init {
    type Params = InitParams;
    const NAME: &'static str = "model.init";
    const SUMMARY: &'static str = "makes a model of random weights";
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "model.init"
tokenizer = "@bpe"
model = { family = "llama", hidden_size = 64, num_hidden_layers = 2, num_attention_heads = 4 }
"#;

    fn outputs(_: &InitParams) -> Vec<Output> {
        main_output(Kind::Model)
    }

    fn check(params: &InitParams) -> Vec<Problem> {
        params.model.check("model")
    }

    fn estimate(params: &InitParams, sizes: &Sizes) -> Estimate {
        let vocab_size = sizes.of(params.tokenizer.as_str()).vocab_size;
        let size = size(&params.model.config(vocab_size as usize), sizes.convention);
        Estimate {
            outputs: [(String::new(), size)].into(),
            memory: 2.0 * size.bytes,
            ..Estimate::default()
        }
    }

    fn run(params: InitParams, context: &Context) -> Result<()> {
        let artifact = context.open(&params.tokenizer)?;
        let encoder = Encoder::open(&artifact)?;
        let mut config = params.model.config(encoder.details().vocab_size as usize);
        config.set_eos(encoder.details().eos_id);
        let stream = context.stream("weights");
        let decoder = Decoder::init(&config, context.precision, &stream, &context.device);
        let details = ModelDetails::untrained(&config, encoder.json());
        save(&context.output("")?, &decoder, &config, &details, &artifact.path)
    }
}

/// How large a model of this configuration is.
fn size(config: &ModelConfig, convention: Convention) -> Size {
    let parameters = config.parameters() as f64;
    let context = config.max_position_embeddings;
    Size {
        items: 1.0,
        bytes: 4.0 * parameters,
        parameters,
        vocab_size: config.vocab_size as f64,
        flops_per_token: convention.forward(config, context) / context as f64,
        layers_flops_per_token: convention.trunk(config, context) / context as f64,
        ..Size::default()
    }
}
