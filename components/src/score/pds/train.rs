//! `train.scorer`: a model that learns the scores of a few blocks, to score all others.

use super::fit::{BEST, Epoch, Fit, Lessons};
use super::head::{HeadShape, ScorerHead, ScorerOutput, ScorerPooling};
use super::labels::z_scores;
use super::scorer::{About, ScorerModel};
use crate::artifact::{Item, Scores};
use crate::component::{Component, Estimate, Output, Problem, Seeding, Size, Sizes, main_output};
use crate::model::{self, Decoder, ModelConfig, ModelDetails, Stopped};
use crate::reference::{self, Ref};
use crate::table::{frame, write_parquet};
use crate::tokens::Blocks;
use crate::train::ModelChoice;
use crate::{Context, Error, Kind, Precision, Result};
use burn::tensor::Device;
use polars::prelude::Column;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A decoder's trunk with a head that gives a text one number, taught to give the scores it is shown. Leaves a model, with
/// the head in `scorer.safetensors`, and in `validation.parquet` how well each epoch did on blocks it was not trained on.
#[derive(Debug, Clone, Copy)]
pub struct TrainScorer;

/// What of the scores is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScorerLabels {
    /// How many standard deviations they lie from their mean, cut at `clip`: a few very large ones would rule otherwise.
    #[default]
    Zscore,
    /// The scores themselves.
    Raw,
}

/// What `train.scorer` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScorerParams {
    /// Scores of blocks, to be learnt.
    pub scores: Ref<reference::Scores>,
    /// The column of the scores; without one, the scores' own first choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The trunk: a new model (`{ family = "llama", hidden_size = … }`), or a model to go on from (`"@step"`).
    pub model: ModelChoice,
    /// What of the scores is learnt.
    #[serde(default)]
    pub labels: ScorerLabels,
    /// Standard deviations at which labels are cut.
    #[serde(default = "clip")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip: f64,
    /// How hidden states become one vector.
    #[serde(default)]
    pub pooling: ScorerPooling,
    /// What follows the linear function of that vector.
    #[serde(default)]
    pub head: ScorerOutput,
    /// Whether the linear function has a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Share of the blocks, the first ones, that is not trained on: the epoch that ranks them best is kept.
    #[serde(default = "valid")]
    #[schemars(range(max = 0.9), extend("exclusiveMinimum" = 0.0))]
    pub valid: f64,
    /// Times that the blocks are gone through.
    #[serde(default = "epochs")]
    #[schemars(range(min = 1, max = 10_000), extend("x-unit" = "epochs"))]
    pub epochs: usize,
    /// Highest learning rate (AdamW, β 0.9 and 0.999, half a cosine after warm-up).
    #[serde(default = "lr")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lr: f64,
    /// Last learning rate.
    #[serde(default = "min_lr")]
    #[schemars(range(min = 0.0))]
    pub min_lr: f64,
    /// Steps over which the learning rate rises from 0.
    #[serde(default = "warmup_steps")]
    #[schemars(extend("x-unit" = "steps"))]
    pub warmup_steps: u64,
    /// Blocks of one step.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
    /// Blocks that go through the model together.
    #[serde(default = "crate::score::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub micro_batch: usize,
    /// Decoupled weight decay, on matrices only.
    #[serde(default = "weight_decay")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; 0 leaves it as it is.
    #[serde(default = "clip_norm")]
    #[schemars(range(min = 0.0))]
    pub clip_norm: f64,
}

fn clip() -> f64 {
    3.0
}
fn yes() -> bool {
    true
}
fn valid() -> f64 {
    0.1
}
fn epochs() -> usize {
    5
}
fn lr() -> f64 {
    1e-4
}
fn min_lr() -> f64 {
    1e-7
}
fn warmup_steps() -> u64 {
    10
}
fn batch_size() -> usize {
    512
}
fn weight_decay() -> f64 {
    0.01
}
fn clip_norm() -> f64 {
    1.0
}

impl Component for TrainScorer {
    type Params = ScorerParams;
    const NAME: &'static str = "train.scorer";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "teaches a decoder with a head the scores of a few blocks";
    const PAPER: Option<&'static str> = Some("pds");
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "train.scorer"
scores = "@proxy"
model = { family = "llama", hidden_size = 64, num_hidden_layers = 2, num_attention_heads = 4 }
lr = 1e-3
batch_size = 32
"#;

    fn outputs(_: &ScorerParams) -> Vec<Output> {
        main_output(Kind::Model)
    }

    fn check(params: &ScorerParams) -> Vec<Problem> {
        match &params.model {
            ModelChoice::Fresh(spec) => spec.check("model"),
            ModelChoice::Continue(_) => Vec::new(),
        }
    }

    fn estimate(params: &ScorerParams, sizes: &Sizes) -> Estimate {
        let scores = sizes.of(params.scores.as_str());
        let width = scores.tokens / scores.items.max(1.0);
        let mut model = match &params.model {
            ModelChoice::Continue(model) => sizes.of(model.as_str()),
            ModelChoice::Fresh(spec) => {
                let config = spec.config((scores.vocab_size as usize).max(1));
                Size {
                    parameters: config.parameters() as f64,
                    flops_per_token: sizes.convention.trunk(&config, width as usize) / width.max(1.0),
                    ..Size::default()
                }
            }
        };
        let tokens = (1.0 - params.valid) * scores.tokens * params.epochs as f64;
        let flops = 3.0 * model.flops_per_token * tokens;
        model.flops += flops;
        model.bytes = 4.0 * model.parameters;
        Estimate {
            outputs: BTreeMap::from([(String::new(), model)]),
            flops,
            memory: 4.0 * 6.0 * model.parameters,
            scratch: 4.0 * 4.0 * model.parameters,
            ..Estimate::default()
        }
    }

    fn run(params: ScorerParams, context: &Context) -> Result<()> {
        if context.precision == Precision::Bf16 {
            let message = "a scorer is trained in f32 or f64";
            return Err(Error::data("unsupported_precision", message)
                .hint("set `precision = \"f32\"` on this step; `score.pds` may ask it in bf16"));
        }
        let artifact = context.open(&params.scores)?;
        let source = artifact.header.source.clone().ok_or_else(|| {
            let message = format!("`{}` does not say what it scores", artifact.label);
            Error::data("bad_artifact", message)
        })?;
        let blocks = Blocks::open(&context.open_source(&source)?, context)?;
        let scores = Scores::read(&artifact)?;
        if scores.item != Item::Block {
            let message = format!("`{}` scores documents; a scorer reads blocks", artifact.label);
            return Err(Error::data("wrong_item", message).hint("score with `item = \"block\"`"));
        }
        let start = start(&params, &blocks, context)?;
        let lessons = lessons(&params, &scores, &blocks, start.config.max_position_embeddings)?;
        let fit = Fit {
            params: &params,
            context,
            lessons: &lessons,
        };
        let (model, epochs) = fit.run(start.model)?;
        let best = best(&epochs);
        tell(context, &lessons, &epochs, best);
        let (tokens, flops) = fit.cost(&start.config);
        context.services.cost(tokens, flops);
        let folder = context.output("")?;
        write_epochs(&folder.join("validation.parquet"), &epochs)?;
        let steps = (lessons.texts.len() - lessons.valid).div_ceil(params.batch_size) * epochs.len();
        let details = ModelDetails {
            parameters: model.parameters(),
            vocab_size: start.config.vocab_size,
            context: start.config.max_position_embeddings,
            tokenizer: blocks.details().tokenizer.clone(),
            tokens_trained: start.tokens + tokens,
            flops: start.flops + flops,
            charged: [].into(),
            steps: steps as u64,
            data: Some(source),
            stopped: Some(Stopped::Budget),
        };
        let about = About {
            shape: model.head.shape(),
            scores: artifact.as_source(),
            spearman: best.map(|(_, epoch)| epoch.spearman),
        };
        model.save(&folder, &start.config, &details, &about, &start.tokenizer)
    }
}

/// The scorer that training starts from.
struct Start {
    config: ModelConfig,
    model: ScorerModel,
    tokens: u64,
    flops: f64,
    /// The folder whose tokenizer the model keeps.
    tokenizer: PathBuf,
}

fn start(params: &ScorerParams, blocks: &Blocks, context: &Context) -> Result<Start> {
    let device: Device = context.device.clone().autodiff();
    let details = blocks.details();
    let (config, trunk, tokens, flops, tokenizer) = match &params.model {
        ModelChoice::Fresh(spec) => {
            let mut config = spec.config(details.vocab_size as usize);
            config.set_eos(details.eos_id);
            let trunk = Decoder::init(&config, context.precision, &context.stream("weights"), &device);
            (config, trunk, 0, 0.0, blocks.source().path.clone())
        }
        ModelChoice::Continue(reference) => {
            let artifact = context.open(reference)?;
            let loaded = model::load(&artifact, &device, context.precision)?;
            if loaded.details.tokenizer != details.tokenizer {
                let message = format!(
                    "`{}` has another tokenizer than the scored blocks",
                    artifact.label
                );
                return Err(Error::data("tokenizer_mismatch", message)
                    .hint("score blocks packed with the model's tokenizer"));
            }
            let (tokens, flops) = (loaded.details.tokens_trained, loaded.details.flops);
            (loaded.config, loaded.decoder, tokens, flops, artifact.path)
        }
    };
    let mut stream = context.stream("head");
    let draw = |_| config.initializer_range * stream.normal();
    let shape = HeadShape {
        pooling: params.pooling,
        output: params.head,
    };
    let weight = (0..config.hidden_size).map(draw).collect();
    let head = ScorerHead::new(shape, weight, params.bias.then_some(0.0), &trunk.norm.val());
    Ok(Start {
        model: ScorerModel { trunk, head },
        config,
        tokens,
        flops,
        tokenizer,
    })
}

/// The scored blocks, cut to what the trunk reads, and their labels. `label_count_mismatch`, `too_few_scores`,
/// `zero_variance`, `non_finite_score`, `too_short`.
fn lessons(params: &ScorerParams, scores: &Scores, blocks: &Blocks, longest: usize) -> Result<Lessons> {
    let values = scores.column(params.column.as_deref())?;
    crate::select::check_finite(values, &scores.index)?;
    let positions: BTreeMap<u64, u64> = (0..blocks.len())
        .map(|position| (blocks.get(position).index, position))
        .collect();
    let text = |index: &u64| {
        let position = positions.get(index).ok_or_else(|| {
            let message = format!("block {index} has a score and is not in what was scored");
            Error::data("label_count_mismatch", message)
        })?;
        let mut ids = blocks.get(*position).ids;
        ids.truncate(longest);
        if ids.is_empty() {
            return Err(Error::data("too_short", format!("block {index} has no tokens")));
        }
        Ok(ids)
    };
    let texts: Vec<Vec<u32>> = scores.index.iter().map(text).collect::<Result<_>>()?;
    let labels = match params.labels {
        ScorerLabels::Zscore => z_scores(values, params.clip)?.0,
        ScorerLabels::Raw => {
            z_scores(values, params.clip)?;
            values.to_vec()
        }
    };
    let valid = (params.valid * texts.len() as f64).ceil() as usize;
    if valid < 2 || valid >= texts.len() {
        let message = format!("of {} scores, {valid} would be kept for validation", texts.len());
        return Err(Error::data("too_few_scores", message).hint("score more blocks, or change `valid`"));
    }
    Ok(Lessons { texts, labels, valid })
}

/// The epoch that ranked best, the first of equals, counted from 1.
fn best(epochs: &[Epoch]) -> Option<(usize, Epoch)> {
    let better = |best: (usize, Epoch), next: (usize, Epoch)| {
        if next.1.spearman > best.1.spearman {
            next
        } else {
            best
        }
    };
    (1..).zip(epochs.iter().copied()).reduce(better)
}

/// Says how well the scorer does, and whether it is worth anything.
fn tell(context: &Context, lessons: &Lessons, epochs: &[Epoch], best: Option<(usize, Epoch)>) {
    let Some((number, epoch)) = best else { return };
    context.services.note(&format!(
        "validation: Spearman {:.3} over {} blocks (epoch {number} of {}); the best {:.0} % are found with F1 {:.2}",
        epoch.spearman,
        lessons.valid,
        epochs.len(),
        100.0 * BEST,
        epoch.f1,
    ));
    if epoch.error >= epoch.error_of_mean {
        context.services.note(&format!(
            "no_better_than_mean: the scorer's squared error, {:.3}, is not below that of giving every block the mean, \
             {:.3}: its scores say little",
            epoch.error, epoch.error_of_mean,
        ));
    }
}

/// What every epoch came to: `epoch`, `train_error`, `error`, `error_of_mean` (squared, in the labels' unit), `spearman`,
/// `accuracy` and `f1` of finding the best.
fn write_epochs(file: &Path, epochs: &[Epoch]) -> Result<()> {
    let float = |name: &str, get: fn(&Epoch) -> f64| {
        Column::new(name.into(), epochs.iter().map(get).collect::<Vec<f64>>())
    };
    let columns = vec![
        Column::new("epoch".into(), (1..=epochs.len() as u64).collect::<Vec<_>>()),
        float("train_error", |epoch| epoch.train),
        float("error", |epoch| epoch.error),
        float("error_of_mean", |epoch| epoch.error_of_mean),
        float("spearman", |epoch| epoch.spearman),
        float("accuracy", |epoch| epoch.accuracy),
        float("f1", |epoch| epoch.f1),
    ];
    write_parquet(file, &mut frame(columns))
}
