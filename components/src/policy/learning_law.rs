//! `policy.learning_law`: weights of every example at every step that make a target loss fall fastest.

use super::estimate::{decoder_room, estimate, passes, perceptron_flops};
use super::inputs::{self, Tokens};
use super::params::LawParams;
use super::states::Room;
use super::work::Work;
use crate::artifact::{Item, Scores};
use crate::component::{Component, Estimate, Output, Problem, Seeding, Sizes};
use crate::trajectory::{Number, too_narrow};
use crate::{Artifact, Context, Error, Kind, Precision, Result};
use lyceum_kernels::RowElement;

/// Products by differences of two lengths may be so far apart.
const ERROR: f64 = 0.02;

/// Per-step, per-example weights on the simplex, found by gradient descent through whole trainings of a perceptron on labelled
/// inputs, or of a decoder on packed tokens. Beside the weights: `epochs.parquet` (objective, gradient norm and gap of every
/// policy epoch), `curves.parquet` (losses and similarities of the training under equal and under the found weights) and
/// `contributions.parquet` (every example's part at 64 steps). Of packed tokens there is an output `weights` too: scores of the
/// blocks, each the mean of its weights over the steps times the number of blocks.
#[derive(Debug, Clone, Copy)]
pub struct LearningLaw;

impl Component for LearningLaw {
    type Params = LawParams;
    const NAME: &'static str = "policy.learning_law";
    const VERSION: u32 = 3;
    const SUMMARY: &'static str = "weights of examples at every step under which a target loss falls fastest";
    const PAPER: Option<&'static str> = Some("learning_law");
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "policy.learning_law"
data = "@tokens"
target = "@clean_tokens.train"
test = "@clean_tokens.valid"
model = { hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 4 }
steps = 40
epochs = 5
lr_scale = "row"
lr = 1.0
"#;

    fn outputs(params: &LawParams) -> Vec<Output> {
        let output = |name: &str, kind| Output {
            name: name.to_owned(),
            kind,
        };
        let scores = params.model.is_some().then(|| output("weights", Kind::Scores));
        std::iter::once(output("", Kind::Policy)).chain(scores).collect()
    }

    fn check(params: &LawParams) -> Vec<Problem> {
        params.problems()
    }

    fn estimate(params: &LawParams, sizes: &Sizes) -> Estimate {
        estimate(params, sizes)
    }

    fn run(params: LawParams, context: &Context) -> Result<()> {
        match context.precision {
            Precision::F32 => run::<f32>(&params, context),
            Precision::F64 => run::<f64>(&params, context),
            Precision::Bf16 => Err(too_narrow()),
        }
    }
}

fn run<N: Number + RowElement>(params: &LawParams, context: &Context) -> Result<()> {
    let artifacts = inputs::open(params, context)?;
    if params.model.is_some() {
        return of_tokens::<N>(params, context, &artifacts);
    }
    let (mut perceptron, start) = inputs::perceptron::<N>(params, context, &artifacts)?;
    let room = Room {
        steps: params.steps,
        examples: perceptron.train.len() as f64,
        parameters: perceptron.width as f64,
        element: N::BYTES,
        beside: 0.0,
    };
    let counts = [&perceptron.train, &perceptron.target, &perceptron.test].map(|set| set.len() as f64);
    let (_, epochs) = work(params, context, room, &artifacts[0], 2)?.run(&mut perceptron, &start)?;
    let taken = params.steps as f64 * counts[0] * epochs as f64;
    let flops = perceptron_flops(params, counts, room.parameters) * (epochs as f64 + 4.0);
    context.services.cost(taken as u64, flops);
    Ok(())
}

fn of_tokens<N: Number>(params: &LawParams, context: &Context, artifacts: &[Artifact; 3]) -> Result<()> {
    let tokens = Tokens::open(params, context, artifacts)?;
    let tick = Box::new(|_| context.check_cancelled());
    let mut training = tokens.training::<N>(params, context.precision, tick);
    let count = training.examples.len();
    let room = decoder_room(params, &tokens.config, count as f64, N::BYTES);
    let work = work(params, context, room, &artifacts[0], tokens.config.vocab_size)?;
    let start = training.model.start();
    let error = training.curvature_error(&start)?;
    if error.is_finite() {
        context.services.measure("difference_error", error);
    }
    if error > ERROR {
        let message = format!(
            "products with second derivatives by differences of two lengths differ by {:.1} %",
            100.0 * error
        );
        return Err(Error::data("imprecise_differences", message).hint(
            "set `precision = \"f64\"` on this step, try a `rel_step` three times larger or smaller, or a family without ReLU",
        ));
    }
    let (policy, epochs) = work.run(&mut training, &start)?;
    let (taken, flops) = tokens.cost(passes(epochs as f64));
    context
        .services
        .cost((params.steps as f64 * taken) as u64, params.steps as f64 * flops);
    let mean = |n: usize| {
        let over_steps = policy
            .iter()
            .skip(n)
            .step_by(count)
            .map(|weight| f64::from(*weight));
        over_steps.sum::<f64>() * count as f64 / params.steps as f64
    };
    let scores = Scores {
        item: Item::Block,
        primary: "score".to_owned(),
        precision: context.precision,
        index: tokens.indices(),
        columns: vec![("score".to_owned(), (0..count).map(mean).collect())],
    };
    scores.write(&context.output("weights")?, artifacts[0].as_source())
}

/// Chooses how states are kept: `memory_budget`, before any training.
fn work<'a>(
    params: &'a LawParams,
    context: &'a Context,
    room: Room,
    data: &Artifact,
    outcomes: usize,
) -> Result<Work<'a>> {
    Ok(Work {
        params,
        context,
        room,
        states: room.choose(params)?,
        data: data.as_source(),
        outcomes,
    })
}
