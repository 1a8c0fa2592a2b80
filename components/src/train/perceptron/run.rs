//! The component and its loop.

use super::super::curve;
use super::checkpoint::{Position, restore, save};
use super::params::PerceptronParams;
use super::weights::Weights;
use crate::artifact::write_header;
use crate::component::{Problem, main_output};
use crate::model::{ModelDetails, Stopped, write_tensors};
use crate::policy::{Labelled, Policy, perceptron_start};
use crate::table::fingerprint;
use crate::trajectory::{Examples, Number, Perceptron, Training, add_scaled, norm, to_bytes, too_narrow};
use crate::{
    Artifact, Component, Context, Error, Estimate, Kind, Output, Precision, Result, Seeding, Size, Sizes,
    disk,
};
use burn::tensor::TensorData;
use lyceum_kernels::RowElement;
use std::collections::BTreeMap;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const CURVE: &str = "metrics.parquet";

/// Trains a perceptron, o = σ(θ · z), by full-batch gradient descent on the logistic loss, under equal weights of the examples,
/// those of a policy, or weights by what examples do for a target. The start is drawn from the step's seed as
/// `policy.learning_law` draws it.
#[derive(Debug)]
pub enum TrainPerceptron {}

impl Component for TrainPerceptron {
    type Params = PerceptronParams;
    const NAME: &'static str = "train.perceptron";
    const SUMMARY: &'static str = "trains a perceptron on labelled inputs";
    const PAPER: Option<&'static str> = Some("learning_law");
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "train.perceptron"
data = "@examples.train"
eval = { data = "@examples.test", every = 1 }
optim = { lr = 0.1, steps = 200 }
reweight = { target = "@examples.target", refresh_every = 1 }
"#;

    fn outputs(_: &PerceptronParams) -> Vec<Output> {
        main_output(Kind::Model)
    }

    fn check(params: &PerceptronParams) -> Vec<Problem> {
        params.problems()
    }

    fn estimate(params: &PerceptronParams, sizes: &Sizes) -> Estimate {
        let data = sizes.of(params.data.as_str());
        let evaluated = params.eval.as_ref().map_or(0.0, |eval| {
            sizes.of(eval.data.as_str()).tokens / eval.every as f64
        });
        // The numbers of labelled inputs count as tokens; a product and a sum with each.
        let products = if params.reweight.is_some() { 8.0 } else { 4.0 };
        let flops = params.optim.steps as f64 * (products * data.tokens + 4.0 * evaluated);
        let width = if data.items > 0.0 {
            data.tokens / data.items
        } else {
            0.0
        };
        let size = Size {
            items: 1.0,
            bytes: 8.0 * width,
            parameters: width,
            flops,
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            flops,
            memory: 8.0 * (data.tokens + evaluated),
            ..Estimate::default()
        }
    }

    fn run(params: PerceptronParams, context: &Context) -> Result<()> {
        match context.precision {
            Precision::F32 => run::<f32>(&params, context),
            Precision::F64 => run::<f64>(&params, context),
            Precision::Bf16 => Err(too_narrow()),
        }
    }
}

fn run<N: Number + RowElement>(params: &PerceptronParams, context: &Context) -> Result<()> {
    let data = context.open(&params.data)?;
    let Labelled { width, examples } = Labelled::<N>::read(&data, context)?;
    let (count, steps) = (examples.len(), params.optim.steps);
    let evaluation = match &params.eval {
        Some(eval) => Some((
            read_as_wide(&context.open(&eval.data)?, width, context)?,
            eval.every,
        )),
        None => None,
    };
    let start = perceptron_start::<N>(context.seed, width);
    let mut weights = match (&params.policy, &params.reweight) {
        (Some(reference), _) => {
            let policy = Policy::read(&context.open(reference)?)?;
            policy.check(&data, steps)?;
            policy.check_start(&to_bytes(&start), context.precision)?;
            Weights::Followed(policy)
        }
        (None, Some(reweight)) => Weights::Reweighted {
            target: read_as_wide(&context.open(&reweight.target)?, width, context)?,
            params: reweight.clone(),
            direction: Vec::new(),
        },
        (None, None) => Weights::Equal,
    };
    let lengths = match &params.match_steps {
        Some(reference) => Some(step_lengths(&context.open(reference)?, steps)?),
        None => None,
    };
    let nothing = || Examples {
        inputs: Vec::new(),
        labels: Vec::new(),
    };
    let mut perceptron = Perceptron::new(width, [examples, nothing(), nothing()], 1);
    let mut equally = perceptron.clone();
    let mut position = restore(context, start)?;
    let bar = context.services.bar("train", steps, "steps");
    bar.advance(position.step);
    let zeros = || vec![N::default(); width];
    let (mut gradient, mut other) = (zeros(), zeros());
    while position.step < steps {
        context.check_cancelled()?;
        let step = position.step;
        if step > 0 && step.is_multiple_of(params.checkpoint_every) && weights.begins_anew(step) {
            save(context, &position)?;
        }
        weights.set(&mut perceptron, step, &position.theta, &mut position.doubt)?;
        let loss = perceptron.loss(0, &position.theta, &mut gradient)?;
        if !loss.is_finite() {
            let message = format!("the loss of step {step} is {loss}");
            return Err(Error::data("diverged", message).hint("lower `optim.lr`, to a tenth at first"));
        }
        // The length that the step has for each unit of the gradient.
        let own = norm(&gradient);
        let wanted = match &lengths {
            Some(lengths) => lengths[step as usize] / params.optim.lr,
            None if params
                .reweight
                .as_ref()
                .is_some_and(|reweight| reweight.match_norm) =>
            {
                equally.loss(0, &position.theta, &mut other)?;
                norm(&other)
            }
            None => own,
        };
        let scale = if own > 0.0 { wanted / own } else { 1.0 };
        add_scaled(&mut position.theta, -params.optim.lr * scale, &gradient);
        position.flops += 4.0 * (width * count) as f64 + weights.flops(step, count as f64, width as f64);
        position.step += 1;
        let tokens = position.step * count as u64;
        let figures = [
            ("loss", loss),
            ("lr", params.optim.lr),
            ("grad_norm", scale * own),
        ];
        for (metric, value) in figures {
            position.note("train", metric, value, tokens);
        }
        if let Some((test, every)) = &evaluation
            && (position.step.is_multiple_of(*every) || position.step == steps)
        {
            let loss = perceptron.mean(test, &position.theta, &mut other);
            position.note("valid", "loss", loss, tokens);
        }
        bar.advance(1);
    }
    if let Some(note) = position.doubt.told() {
        context.services.note(&note);
    }
    finish(context, &data, position, steps * count as u64)
}

/// Labelled inputs as wide as the training's. `bad_input`.
fn read_as_wide<N: Number>(artifact: &Artifact, width: usize, context: &Context) -> Result<Examples<N>> {
    let read = Labelled::<N>::read(artifact, context)?;
    if read.width == width {
        return Ok(read.examples);
    }
    let message = format!(
        "`{}` has {} inputs an example, `data` has {width}",
        artifact.label, read.width
    );
    Err(Error::data("bad_input", message))
}

/// ‖θ_{t+1} − θ_t‖ of every step of another training. `no_curve`, `too_few_steps`.
fn step_lengths(model: &Artifact, steps: u64) -> Result<Vec<f64>> {
    let file = model.path.join(CURVE);
    if !file.exists() {
        let message = format!("`{}` was not trained here: it has no curve", model.label);
        return Err(Error::data("no_curve", message).hint("name a step of `train.perceptron`"));
    }
    let points = curve::read(&file)?;
    let all = |metric: &str| -> Vec<f64> {
        let own = points
            .iter()
            .filter(|point| point.split == "train" && point.metric == metric);
        own.map(|point| point.value).collect()
    };
    let lengths: Vec<f64> = all("lr")
        .iter()
        .zip(all("grad_norm"))
        .map(|(lr, norm)| lr * norm)
        .collect();
    if (lengths.len() as u64) < steps {
        let message = format!(
            "`{}` took {} steps; this training takes {steps}",
            model.label,
            lengths.len()
        );
        return Err(Error::data("too_few_steps", message).hint("lower `optim.steps`"));
    }
    Ok(lengths)
}

/// Writes the model.
fn finish<N: Number>(context: &Context, data: &Artifact, position: Position<N>, tokens: u64) -> Result<()> {
    let folder = context.output("")?;
    let width = position.theta.len();
    curve::write(&folder.join(CURVE), &position.points)?;
    let config = serde_json::json!({ "model_type": "perceptron", "hidden_size": width });
    let file = folder.join(CONFIG);
    let text = serde_json::to_vec_pretty(&config).expect("plain data");
    disk::write(&file, text).map_err(Error::io("cannot write", &file))?;
    let theta = TensorData::new(position.theta, [width]);
    write_tensors(
        &folder.join(WEIGHTS),
        &BTreeMap::from([("theta".to_owned(), theta)]),
    )?;
    let details = ModelDetails {
        parameters: width as u64,
        vocab_size: 2,
        context: 1,
        tokenizer: String::new(),
        tokens_trained: tokens,
        flops: position.flops,
        charged: BTreeMap::new(),
        steps: position.step,
        data: Some(data.as_source()),
        stopped: Some(Stopped::Budget),
    };
    context.services.cost(tokens, position.flops);
    let print = fingerprint(&folder, &[CONFIG, WEIGHTS, CURVE], "")?;
    write_header(&folder, Kind::Model, print, None, details)
}
