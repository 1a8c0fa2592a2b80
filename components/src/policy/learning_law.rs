//! `policy.learning_law`: weights of every example at every step that make a target loss fall fastest.

use super::artifact::{PolicyDetails, write_policy};
use super::data::{PerceptronData, Split, perceptron_data};
use super::law::{LawEpoch, LawStep, improve};
use super::report::{LawReport, acceleration, observe};
use crate::component::{Component, Estimate, Output, Seeding, Size, Sizes, main_output};
use crate::table::{frame, write_parquet};
use crate::trajectory::{Number, Perceptron, Plan, Trajectory, from_bytes, to_bytes, too_narrow};
use crate::{Bar, Context, Error, Kind, Precision, Result, disk};
use lyceum_kernels::RowElement;
use polars::prelude::Column;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Numbers that an epoch is kept as.
const FIELDS: usize = 3;
const GIB: f64 = (1_u64 << 30) as f64;

/// Per-step, per-example weights on the simplex, found by gradient descent through whole trainings of a perceptron on
/// teacher–student data. Beside the weights: `epochs.parquet` (objective, gradient norm and gap of every policy epoch) and
/// `curves.parquet` (losses and similarities of the training under equal and under the found weights).
#[derive(Debug, Clone, Copy)]
pub struct LearningLaw;

/// How the rate of the weights changes over the policy epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LawSchedule {
    /// A straight line to 0.
    #[default]
    Linear,
    /// No change.
    Constant,
}

/// What the gradient of a step's weights is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LawScale {
    /// Nothing.
    #[default]
    None,
    /// Its standard deviation over the examples, times their number: every step moves alike, by `lr` / examples a standard
    /// deviation. `lr` is then about 1. Experimental.
    Row,
}

/// The examples: standard normal inputs, moved and scaled, labelled by one random linear teacher without noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LawData {
    /// Inputs of an example.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub width: usize,
    /// Training examples.
    #[schemars(range(min = 2, max = 100_000_000), extend("x-unit" = "examples"))]
    pub train: usize,
    /// Target examples, and as many test examples of the same law, with which nothing is chosen.
    #[schemars(range(min = 1, max = 100_000_000), extend("x-unit" = "examples"))]
    pub target: usize,
    /// Standard deviation of training inputs, about 0.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub train_deviation: f64,
    /// Mean of the inputs of target and test.
    pub target_mean: f64,
    /// Their standard deviation.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub target_deviation: f64,
}

impl Default for LawData {
    fn default() -> Self {
        Self {
            width: 128,
            train: 4096,
            target: 512,
            train_deviation: 3_f64.sqrt(),
            target_mean: 0.5,
            target_deviation: 1.0,
        }
    }
}

/// What `policy.learning_law` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LawParams {
    /// The examples, drawn from the step's seed.
    #[serde(default)]
    pub data: LawData,
    /// Steps T of the training.
    #[serde(default = "steps")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "steps"))]
    pub steps: usize,
    /// Rate η of the training: full-batch gradient descent.
    #[serde(default = "inner_lr")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub inner_lr: f64,
    /// Times that the weights are improved, each by a training forth and back.
    #[serde(default = "epochs")]
    #[schemars(extend("x-unit" = "policy epochs"))]
    pub epochs: usize,
    /// Rate ε of the weights, on the target loss summed over the steps (not averaged: that would be `steps` times as large).
    #[serde(default = "lr")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lr: f64,
    /// How that rate changes.
    #[serde(default)]
    pub lr_schedule: LawSchedule,
    /// What each step's gradient is divided by.
    #[serde(default)]
    pub lr_scale: LawScale,
    /// First steps whose weights stay equal.
    #[serde(default)]
    #[schemars(extend("x-unit" = "steps"))]
    pub freeze_steps: usize,
    /// Stops once the gap, which vanishes at an optimum, is at most this.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub stop_gap: f64,
    /// Steps from one stored state of the training to the next; those between are computed again on the way back. Changing
    /// it makes nothing new.
    #[serde(default = "one")]
    #[schemars(range(min = 1), extend("x-unit" = "steps", "x-runtime" = true))]
    pub checkpoint_every: usize,
    /// What weights and states may take.
    #[serde(default = "memory")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-unit" = "GiB", "x-runtime" = true))]
    pub memory_budget_gib: f64,
    /// Policy epochs between two copies of the weights, from which a stopped step goes on.
    #[serde(default = "save_every")]
    #[schemars(range(min = 1), extend("x-unit" = "policy epochs", "x-runtime" = true))]
    pub save_every: usize,
}

fn steps() -> usize {
    2000
}
fn inner_lr() -> f64 {
    0.1
}
fn epochs() -> usize {
    500
}
fn lr() -> f64 {
    5e-6
}
fn one() -> usize {
    1
}
fn memory() -> f64 {
    8.0
}
fn save_every() -> usize {
    50
}

impl LawParams {
    /// Bytes of weights and of states.
    fn bytes(&self, element: usize, every: usize) -> f64 {
        let policy = (self.steps * self.data.train * element) as f64;
        policy + Plan::new(self.steps, every).memory(self.data.width as f64, element, false)
    }

    fn examples(&self) -> usize {
        self.data.train + 2 * self.data.target
    }

    /// Products with inputs of a policy epoch: forth a product and a sum, back two and a sum, over the training examples; a
    /// product and a sum at every state over the target.
    fn flops(&self) -> f64 {
        let (steps, width) = (self.steps as f64, self.data.width as f64);
        let train = 5.0 * steps * self.data.train as f64;
        2.0 * width * (train + 2.0 * (steps + 1.0) * self.data.target as f64)
    }
}

impl Component for LearningLaw {
    type Params = LawParams;
    const NAME: &'static str = "policy.learning_law";
    const SUMMARY: &'static str = "weights of examples at every step under which a target loss falls fastest";
    const PAPER: Option<&'static str> = Some("learning_law");
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "policy.learning_law"
data = { width = 32, train = 256, target = 128 }
steps = 200
epochs = 20
lr_scale = "row"
lr = 1.0
"#;

    fn outputs(_: &LawParams) -> Vec<Output> {
        main_output(Kind::Policy)
    }

    fn estimate(params: &LawParams, _: &Sizes) -> Estimate {
        let policy = Size {
            items: params.steps as f64,
            bytes: (params.steps * params.data.train * 4) as f64,
            ..Size::default()
        };
        let inputs = (params.examples() * params.data.width * 8) as f64;
        Estimate {
            outputs: BTreeMap::from([(String::new(), policy)]),
            // Two measurements cost some two epochs each.
            flops: params.flops() * (params.epochs as f64 + 4.0),
            memory: params.bytes(8, params.checkpoint_every) + inputs,
            scratch: 2.0 * policy.bytes * 2.0,
            ..Estimate::default()
        }
    }

    fn run(params: LawParams, context: &Context) -> Result<()> {
        match context.precision {
            Precision::F32 => Work { params, context }.run::<f32>(),
            Precision::F64 => Work { params, context }.run::<f64>(),
            Precision::Bf16 => Err(too_narrow()),
        }
    }
}

/// The work of a run.
struct Work<'a> {
    params: LawParams,
    context: &'a Context,
}

impl Work<'_> {
    fn run<N: Number + RowElement>(&self) -> Result<()> {
        let Self { params, context } = self;
        self.check_memory(N::BYTES)?;
        let data = PerceptronData {
            seed: context.seed,
            width: params.data.width,
            train: params.data.train,
            target: params.data.target,
            train_deviation: params.data.train_deviation,
            target_mean: params.data.target_mean,
            target_deviation: params.data.target_deviation,
        };
        let Split {
            train,
            target,
            test,
            start,
        } = perceptron_data::<N>(data);
        let mut perceptron = Perceptron::new(params.data.width, train, target, params.steps);
        let plan = Plan::new(params.steps, params.checkpoint_every);
        let mut trajectory = Trajectory::in_memory(plan, params.inner_lr);
        let base = observe(&mut perceptron, &mut trajectory, &start, &test)?;
        let epochs = self.improve(&mut perceptron, &mut trajectory, &start)?;
        let found = observe(&mut perceptron, &mut trajectory, &start, &test)?;
        self.tell(&base, &found, epochs.len());
        let taken = (params.steps * params.data.train * epochs.len()) as u64;
        context
            .services
            .cost(taken, params.flops() * (epochs.len() as f64 + 4.0));
        let folder = context.output("")?;
        write_epochs(&folder.join("epochs.parquet"), &epochs)?;
        write_curves(
            &folder.join("curves.parquet"),
            &[("equal", &base), ("found", &found)],
        )?;
        let details = PolicyDetails {
            steps: params.steps as u64,
            examples: params.data.train as u64,
            inner_lr: params.inner_lr,
            epochs: epochs.len() as u64,
            objective: found.area_target() * params.steps as f64,
            precision: context.precision,
        };
        let policy: Vec<f32> = perceptron
            .policy
            .iter()
            .map(|weight| weight.wide() as f32)
            .collect();
        write_policy(&folder, policy, &details)
    }

    /// `memory_budget`, before anything is drawn.
    fn check_memory(&self, element: usize) -> Result<()> {
        let params = &self.params;
        let budget = params.memory_budget_gib * GIB;
        let wanted = params.bytes(element, params.checkpoint_every);
        if wanted <= budget {
            return Ok(());
        }
        let gib = |bytes: f64| bytes / GIB;
        let message = format!(
            "weights and states take {:.2} GiB; `memory_budget_gib` is {}",
            gib(wanted),
            params.memory_budget_gib,
        );
        let error = Error::data("memory_budget", message);
        let root = params.steps.isqrt().max(1);
        let least = params.bytes(element, root);
        Err(if least <= budget {
            error.hint(format!("`checkpoint_every = {root}` takes {:.2} GiB", gib(least)))
        } else {
            error.hint(format!(
                "no less than {:.2} GiB will do: lower `steps` or `data.train`, or raise the budget",
                gib(least)
            ))
        })
    }

    /// All policy epochs, from the last copy that was kept.
    fn improve<N: Number + RowElement>(
        &self,
        perceptron: &mut Perceptron<N>,
        trajectory: &mut Trajectory<N>,
        start: &[N],
    ) -> Result<Vec<LawEpoch>> {
        let Self { params, context } = self;
        let file = context.scratch.join("policy");
        let mut epochs = kept(&file, &mut perceptron.policy)?.unwrap_or_default();
        let bar: Box<dyn Bar> =
            context
                .services
                .bar("improving the policy", params.epochs as u64, "policy epochs");
        bar.advance(epochs.len() as u64);
        let (begun, before) = (Instant::now(), epochs.len());
        let mut rises = 0;
        while epochs.len() < params.epochs {
            let number = epochs.len();
            let share = match params.lr_schedule {
                LawSchedule::Linear => 1.0 - number as f64 / params.epochs as f64,
                LawSchedule::Constant => 1.0,
            };
            let step = LawStep {
                lr: params.lr * share,
                by_row: params.lr_scale == LawScale::Row,
                freeze: params.freeze_steps,
            };
            // A stop in the middle of an epoch leaves a part of the weights changed: what is kept is from before.
            let epoch = improve(perceptron, trajectory, start, Some(step), &mut |_| {
                context.check_cancelled()
            })
            .map_err(|error| error.at(format!("policy epoch {number}")))?;
            let last = epochs
                .last()
                .map_or(f64::INFINITY, |last: &LawEpoch| last.objective);
            rises = if epoch.objective > last { rises + 1 } else { 0 };
            if rises == 3 {
                context.services.note(&format!(
                    "objective_rose: the summed target loss rose in three policy epochs in a row, to {:.4} in epoch {number}: \
                     lower `lr`",
                    epoch.objective,
                ));
            }
            epochs.push(epoch);
            bar.advance(1);
            bar.message(&format!("area {:.5}", epoch.objective / params.steps as f64));
            if epochs.len().is_multiple_of(params.save_every) {
                keep(&file, &perceptron.policy, &epochs)?;
            }
            if epoch.gap <= params.stop_gap {
                break;
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        if epochs.len() > before && seconds > 0.0 {
            let rate = (epochs.len() - before) as f64 / seconds;
            context.services.measure("policy_epochs_per_second", rate);
        }
        Ok(epochs)
    }

    /// Says what the found weights gain, on the target they were found for and on test examples.
    fn tell(&self, base: &LawReport, found: &LawReport, epochs: usize) {
        let times = |base: &[f64], curve: &[f64]| match acceleration(base, curve) {
            Some((times, _)) => format!("{times:.2} ×"),
            None => "never reached".to_owned(),
        };
        let gap = |report: &LawReport| report.gap.iter().sum::<f64>();
        self.context.services.note(&format!(
            "after {epochs} policy epochs: acceleration {} on the target, {} on test examples; mean target loss {:.4} \
             from {:.4}, mean test loss {:.4} from {:.4}; gap {:.4} from {:.4}",
            times(&base.target, &found.target),
            times(&base.test, &found.test),
            found.area_target(),
            base.area_target(),
            found.area_test(),
            base.area_test(),
            gap(found),
            gap(base),
        ));
    }
}

/// Commits the weights after the epochs.
fn keep<N: Number>(file: &Path, policy: &[N], epochs: &[LawEpoch]) -> Result<()> {
    let numbers = epochs
        .iter()
        .flat_map(|epoch| [epoch.objective, epoch.gradient, epoch.gap]);
    let mut bytes = (epochs.len() as u64).to_le_bytes().to_vec();
    bytes.extend(to_bytes(&numbers.collect::<Vec<f64>>()));
    bytes.extend(to_bytes(policy));
    disk::write_atomically(file, bytes).map_err(Error::io("cannot write", file))
}

/// What [`keep`] left; none if there is no file.
fn kept<N: Number>(file: &Path, policy: &mut [N]) -> Result<Option<Vec<LawEpoch>>> {
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
    let bad = || {
        Error::data("bad_checkpoint", "it is of another number of epochs or weights")
            .in_file(file)
            .hint("delete the folder; the policy starts afresh")
    };
    let (count, rest) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
    let length = usize::try_from(u64::from_le_bytes(*count))
        .ok()
        .and_then(|count| count.checked_mul(FIELDS * f64::BYTES));
    let (numbers, weights) = length
        .and_then(|length| rest.split_at_checked(length))
        .filter(|(_, weights)| weights.len() == policy.len() * N::BYTES)
        .ok_or_else(bad)?;
    policy.copy_from_slice(&from_bytes::<N>(weights));
    let epoch = |one: &[f64]| LawEpoch {
        objective: one[0],
        gradient: one[1],
        gap: one[2],
    };
    let numbers: Vec<f64> = from_bytes(numbers);
    Ok(Some(numbers.chunks_exact(FIELDS).map(epoch).collect()))
}

/// `epoch`, `objective` (before its step), `gradient_norm`, `gap`.
fn write_epochs(file: &Path, epochs: &[LawEpoch]) -> Result<()> {
    let float = |name: &str, get: fn(&LawEpoch) -> f64| {
        Column::new(name.into(), epochs.iter().map(get).collect::<Vec<f64>>())
    };
    let columns = vec![
        Column::new("epoch".into(), (0..epochs.len() as u64).collect::<Vec<_>>()),
        float("objective", |epoch| epoch.objective),
        float("gradient_norm", |epoch| epoch.gradient),
        float("gap", |epoch| epoch.gap),
    ];
    write_parquet(file, &mut frame(columns))
}

/// A row a policy and state; what concerns weights is empty at θ_T.
fn write_curves(file: &Path, reports: &[(&str, &LawReport)]) -> Result<()> {
    let states = || {
        reports
            .iter()
            .flat_map(|(name, report)| (0..report.target.len()).map(move |t| (*name, *report, t)))
    };
    let float = |name: &str, get: fn(&LawReport) -> &[f64]| {
        let values: Vec<Option<f64>> = states()
            .map(|(_, report, t)| get(report).get(t).copied().filter(|value| value.is_finite()))
            .collect();
        Column::new(name.into(), values)
    };
    let support: Vec<Option<u64>> = states()
        .map(|(_, report, t)| report.support.get(t).map(|&count| count as u64))
        .collect();
    let columns = vec![
        Column::new(
            "policy".into(),
            states().map(|(name, _, _)| name).collect::<Vec<_>>(),
        ),
        Column::new(
            "step".into(),
            states().map(|(_, _, t)| t as u64).collect::<Vec<_>>(),
        ),
        float("target_loss", |report| &report.target),
        float("test_loss", |report| &report.test),
        float("similarity_test", |report| &report.similarity_test),
        float("similarity_target", |report| &report.similarity_target),
        float("similarity_costate", |report| &report.similarity_costate),
        float("gap", |report| &report.gap),
        Column::new("support".into(), support),
    ];
    write_parquet(file, &mut frame(columns))
}
