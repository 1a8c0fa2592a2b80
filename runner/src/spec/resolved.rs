//! The second stage: every layer applied, every variant its own step, every reference exact.

use lyceum_components::{Descriptor, Output, Precision};
use serde_json::Value;
use std::path::PathBuf;

/// An experiment that can be planned.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What it is called and what its steps share.
    pub experiment: Experiment,
    /// What never changes a result's identity.
    pub runtime: Runtime,
    /// The steps, each after the steps it refers to and otherwise in the order of the file.
    pub steps: Vec<Step>,
    /// What the run is to judge.
    pub claims: Vec<Claim>,
    /// How the report is written.
    pub report: Report,
    /// The runs to make of it, if it is to be swept.
    pub sweep: Option<Sweep>,
    /// No file outside this folder is read, except from folders that were allowed.
    pub root: PathBuf,
    /// The experiment's file.
    pub file: PathBuf,
}

/// `[experiment]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Names runs and reports.
    pub name: String,
    /// Heading of the report.
    pub title: Option<String>,
    /// The sheet whose figures the report sets beside the measured ones.
    pub paper: Option<String>,
    /// Seed of every step that draws random numbers from the experiment's seed.
    pub seed: u64,
    /// What tensors are made of, unless a step says otherwise.
    pub precision: Precision,
}

/// `[runtime]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
}

/// One variant of one step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Name with the variant, as in `student[uniform]`.
    pub id: String,
    /// Name in the file.
    pub name: String,
    /// The variant, one name an axis; empty for a step without a matrix.
    pub variant: Vec<String>,
    /// What it runs.
    pub component: &'static Descriptor,
    /// Parameters with defaults filled in and references made exact.
    pub params: Value,
    /// The seed, if the component draws random numbers.
    pub seed: Option<u64>,
    /// What tensors are made of.
    pub precision: Precision,
    /// Where it points at other steps, in the order of the parameters.
    pub references: Vec<Reference>,
    /// The files it reads.
    pub files: Vec<FileUse>,
    /// What it leaves.
    pub outputs: Vec<Output>,
}

/// A place in a step's parameters that points at another step's artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// JSON pointer into the parameters. A list of references has one entry an element.
    pub pointer: String,
    /// What stands there, as in `@student[uniform]` or `@clean_tokens.train`.
    pub text: String,
    /// Id of the step it points at.
    pub step: String,
    /// The output it takes; empty for the main one.
    pub output: String,
    /// Whether the field takes several.
    pub many: bool,
}

/// A place in a step's parameters that names a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUse {
    /// JSON pointer into the parameters.
    pub pointer: String,
    /// What stands there.
    pub written: String,
    /// Where the file lies: absolute, inside the root or an allowed folder.
    pub path: PathBuf,
}

/// One of `[[claims]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The claim in words; unique in the experiment.
    pub name: String,
    /// Step and metric, as in `quality.loss`.
    pub metric: String,
    /// Rows of which group; all of them if absent.
    pub group: Option<String>,
    /// Id of the step said to do better.
    pub better: String,
    /// Id of the step it is compared with.
    pub than: String,
    /// Whether a smaller value is better.
    pub lower_is_better: bool,
}

/// `[report]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name of the template.
    pub template: String,
}

/// `[sweep]`: runs of the same experiment with some settings changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sweep {
    /// Replace `[experiment].seed`, one run each.
    pub seeds: Vec<u64>,
    /// Settings by dotted path; all combinations are run.
    pub grid: Vec<(String, Vec<Value>)>,
    /// Settings by dotted path, as many of each; the first of all, then the second of all, and so on.
    pub zip: Vec<(String, Vec<Value>)>,
    /// Points written out.
    pub list: Vec<Vec<(String, Value)>>,
    /// Points drawn at random.
    pub random: Option<RandomSweep>,
}

/// `[sweep.random]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomSweep {
    /// How many points are drawn.
    pub count: u64,
    /// Seed of the draw.
    pub seed: u64,
    /// What is drawn, by dotted path.
    pub space: Vec<(String, Draw)>,
}

/// How one setting is drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Draw {
    /// One of these, each as likely.
    Choice(Vec<Value>),
    /// Uniform between two numbers, or uniform in their logarithm.
    Range {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// In the logarithm.
        log: bool,
    },
}

impl Resolved {
    /// The step with this id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }
}
