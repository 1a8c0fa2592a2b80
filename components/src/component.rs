//! What a component is, and the plain description of it that the runner works with.

use crate::flops::Convention;
use crate::lineage::Made;
use crate::{Context, Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The kind of the artifact that a reference names, where it is known.
pub type KindOf<'a> = dyn Fn(&str) -> Option<Kind> + 'a;

/// A registered implementation, `kind.name`.
pub trait Component {
    /// What a user may write. Unknown keys are refused (`deny_unknown_fields`); doc comments become the reference page;
    /// unit, default, range and example stand in the schema of each field.
    type Params: DeserializeOwned + Serialize + JsonSchema;

    /// Name in experiment files, as in `score.miniplm`.
    const NAME: &'static str;
    /// Raised by hand when the result changes for equal parameters and inputs.
    const VERSION: u32 = 1;
    /// One line for listings.
    const SUMMARY: &'static str;
    /// Sheet of the method in `papers/`, if it is one.
    const PAPER: Option<&'static str> = None;
    /// Whether random numbers are drawn, and which seed they come from.
    const SEEDING: Seeding = Seeding::None;
    /// Whether it computes on tensors, so that precision and device class matter to the result.
    const NUMERIC: bool = false;
    /// How the work may be cut into pieces.
    const SHARDING: Sharding = Sharding::None;
    /// A step that runs, as TOML: the body of `[steps.NAME]`.
    const EXAMPLE: &'static str;

    /// The artifacts it leaves. One without a name is what `"@step"` means.
    fn outputs(params: &Self::Params) -> Vec<Output>;

    /// Mistakes that a schema cannot express, each with the path of the field (as in `optim.budget`).
    fn check(_params: &Self::Params) -> Vec<Problem> {
        Vec::new()
    }

    /// Mistakes that show only in what references name: `kind` says what an artifact is, by its reference.
    fn check_inputs(_params: &Self::Params, _kind: &KindOf) -> Vec<Problem> {
        Vec::new()
    }

    /// What running would cost, and how large the outputs would be, as far as can be told beforehand.
    fn estimate(_params: &Self::Params, _sizes: &Sizes) -> Estimate {
        Estimate::default()
    }

    /// Does the work: reads inputs through the context, writes artifacts into `context.output(name)`.
    fn run(params: Self::Params, context: &Context) -> Result<()>;

    /// Puts together what the shards of a run left: `parts` are their output folders, in order. The bytes are those of one
    /// run over everything. Only asked of components that can be cut into shards.
    fn merge(_params: Self::Params, _parts: &[PathBuf], _context: &Context) -> Result<()> {
        let message = format!("`{}` runs whole", Self::NAME);
        Err(Error::data("cannot_shard", message).hint("leave `shards` out"))
    }
}

/// One artifact a component leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Name after the dot of a reference; empty for the main one.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
}

/// The single unnamed output most components have.
pub fn main_output(kind: Kind) -> Vec<Output> {
    vec![Output {
        name: String::new(),
        kind,
    }]
}

/// A mistake in the parameters, found by [`Component::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the field inside the step.
    pub field: String,
    /// Stable snake_case name.
    pub code: &'static str,
    /// Expected and found.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Whether a component draws random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeding {
    /// It draws none; no seed enters its key.
    None,
    /// It draws from seed 0 unless the step pins another, so that a sweep over seeds leaves it alone.
    Fixed,
    /// It draws from the experiment's seed unless the step pins another.
    Experiment,
}

/// How the work may be cut into shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharding {
    /// It runs whole.
    None,
    /// By ranges of items of the main input; the parts' outputs are concatenated in order.
    Items,
}

/// What is known of an artifact's size before it exists. Zero where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Size {
    /// Documents, blocks or rows.
    pub items: f64,
    /// Tokens.
    pub tokens: f64,
    /// Bytes on disk.
    pub bytes: f64,
    /// Trainable parameters.
    pub parameters: f64,
    /// Entries of the vocabulary.
    pub vocab_size: f64,
    /// Multiply-adds × 2 of one token's forward pass.
    pub flops_per_token: f64,
    /// What of these the layers alone take.
    pub layers_flops_per_token: f64,
    /// FLOPs that making it took; of a model, with those of the models that it went on from.
    pub flops: f64,
}

impl Size {
    /// Tokens of packed blocks that are predicted: all but the first of each.
    pub fn predicted(&self) -> f64 {
        (self.tokens - self.items).max(0.0)
    }

    /// Predicted tokens of a block, on average.
    pub fn width(&self) -> f64 {
        self.predicted() / self.items.max(1.0)
    }
}

/// What is known of the inputs, by reference (`"@step"`), and of files by path.
#[derive(Debug, Default)]
pub struct Sizes {
    /// Their sizes.
    pub sizes: BTreeMap<String, Size>,
    /// Where they lie, by reference.
    pub locations: BTreeMap<String, String>,
    /// How everything behind them is made, by location.
    pub made: BTreeMap<String, Made>,
    /// How FLOPs are counted.
    pub convention: Convention,
}

impl Sizes {
    /// The size behind a reference or a file path; nothing is known of one that is missing.
    pub fn of(&self, name: &str) -> Size {
        self.sizes.get(name).copied().unwrap_or_default()
    }
}

/// What running a step would cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimate {
    /// Sizes of the outputs by name.
    pub outputs: BTreeMap<String, Size>,
    /// FLOPs (2 × multiply-adds of every matrix product, causal attention at half, backward twice the forward).
    pub flops: f64,
    /// Peak memory in bytes.
    pub memory: f64,
    /// FLOPs done again to save memory: they take time, and count for nothing else.
    pub recomputed: f64,
    /// FLOPs of earlier steps that count against this one's budget.
    pub charged: f64,
    /// Bytes of partial work (checkpoints) on disk at once, besides the outputs.
    pub scratch: f64,
    /// Settings that leave the result as it is and would cost something else.
    pub choices: Vec<Choice>,
}

/// What another setting would cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The setting, as a user writes it.
    pub setting: String,
    /// See [`Estimate::memory`].
    pub memory: f64,
    /// See [`Estimate::recomputed`].
    pub recomputed: f64,
}

/// A component as the runner sees it: plain data and functions over JSON.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// See [`Component::NAME`].
    pub name: &'static str,
    /// See [`Component::VERSION`].
    pub version: u32,
    /// See [`Component::SUMMARY`].
    pub summary: &'static str,
    /// See [`Component::PAPER`].
    pub paper: Option<&'static str>,
    /// See [`Component::SEEDING`].
    pub seeding: Seeding,
    /// See [`Component::NUMERIC`].
    pub numeric: bool,
    /// See [`Component::SHARDING`].
    pub sharding: Sharding,
    /// See [`Component::EXAMPLE`].
    pub example: &'static str,
    /// JSON Schema of the parameters.
    pub schema: fn() -> Value,
    /// Fills in every default. Fails only on parameters that do not fit the schema.
    pub resolve: fn(&Value) -> Result<Value, serde_json::Error>,
    /// See [`Component::outputs`].
    pub outputs: fn(&Value) -> Result<Vec<Output>, serde_json::Error>,
    /// See [`Component::check`].
    pub check: fn(&Value) -> Result<Vec<Problem>, serde_json::Error>,
    /// See [`Component::check_inputs`].
    pub check_inputs: fn(&Value, &KindOf) -> Result<Vec<Problem>, serde_json::Error>,
    /// See [`Component::estimate`].
    pub estimate: fn(&Value, &Sizes) -> Result<Estimate, serde_json::Error>,
    /// See [`Component::run`].
    pub run: fn(&Value, &Context) -> Result<()>,
    /// See [`Component::merge`].
    pub merge: fn(&Value, &[PathBuf], &Context) -> Result<()>,
}

impl Descriptor {
    /// Describes `C`.
    pub const fn of<C: Component>() -> Self {
        Self {
            name: C::NAME,
            version: C::VERSION,
            summary: C::SUMMARY,
            paper: C::PAPER,
            seeding: C::SEEDING,
            numeric: C::NUMERIC,
            sharding: C::SHARDING,
            example: C::EXAMPLE,
            schema: || {
                schemars::SchemaGenerator::default()
                    .into_root_schema_for::<C::Params>()
                    .to_value()
            },
            resolve: |params| serde_json::to_value(parse::<C>(params)?),
            outputs: |params| Ok(C::outputs(&parse::<C>(params)?)),
            check: |params| Ok(C::check(&parse::<C>(params)?)),
            check_inputs: |params, kind| Ok(C::check_inputs(&parse::<C>(params)?, kind)),
            estimate: |params, sizes| Ok(C::estimate(&parse::<C>(params)?, sizes)),
            run: |params, context| C::run(parse_or_tell::<C>(params)?, context),
            merge: |params, parts, context| C::merge(parse_or_tell::<C>(params)?, parts, context),
        }
    }

    /// The part of the name before the dot.
    pub fn kind(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(kind, _)| kind)
    }
}

fn parse_or_tell<C: Component>(params: &Value) -> Result<C::Params> {
    parse::<C>(params)
        .map_err(|e| Error::data("invalid_parameters", format!("parameters of `{}`: {e}", C::NAME)))
}

fn parse<C: Component>(params: &Value) -> Result<C::Params, serde_json::Error> {
    C::Params::deserialize(params)
}
