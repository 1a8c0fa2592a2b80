//! `analyze.acceleration`: how much sooner a method comes to the loss that a baseline ends with (learning law, sheet 5;
//! MiniPLM and PDS, sheet 6).

use super::curves::{At, Losses, Training};
use crate::artifact::{Axes, Place, Table};
use crate::component::{Component, Output, main_output};
use crate::reference::{self, Ref, Refs};
use crate::{Artifact, Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Per model: `baseline_loss` (where the baseline ends, in nats a token), `reached` (whether the model comes to it, 1 or 0),
/// and if it does, `steps` (when), `acceleration` (the baseline's steps over these), `acceleration_tokens` and
/// `acceleration_flops` (the same of tokens and of FLOPs).
#[derive(Debug, Clone, Copy)]
pub struct Acceleration;

/// Where on its curve a training comes to a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// At the first measurement that is not above it.
    #[default]
    Measurements,
    /// Where the straight line from the measurement before crosses it.
    Lines,
}

/// What `analyze.acceleration` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The training whose last loss is to be reached.
    pub baseline: Ref<reference::Model>,
    /// The trainings to compare with it.
    pub models: Refs<reference::Model>,
    /// Which losses are compared.
    #[serde(default)]
    pub losses: Losses,
    /// Every loss is replaced by the mean over so many measurements up to it; those of single batches are noisy.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "measurements"))]
    pub smooth: usize,
    /// Where on its curve a training comes to a loss.
    #[serde(default)]
    pub between: Between,
}

fn one() -> usize {
    1
}

impl Component for Acceleration {
    type Params = Params;
    const NAME: &'static str = "analyze.acceleration";
    const SUMMARY: &'static str = "how much sooner models come to the loss that a baseline ends with";
    const PAPER: Option<&'static str> = Some("learning_law");
    const EXAMPLE: &'static str = r#"use = "analyze.acceleration"
baseline = "@student[uniform]"
models = "@student"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let read = |model: &Artifact| -> Result<Training> {
            let mut training = Training::read(model, params.losses)?;
            smooth(&mut training.curve, params.smooth);
            Ok(training)
        };
        let baseline = read(&context.open(&params.baseline)?)?;
        let end = *baseline.curve.last().expect("a training has a curve");
        let mut table = Table::default();
        let axes = Axes {
            title: "Loss on the way",
            x: "steps",
            y: "loss (nats a token)",
            logarithmic: false,
        };
        for model in context.open_all(&params.models)? {
            context.check_cancelled()?;
            let training = read(&model)?;
            compare(&mut table, &training, &baseline, end, params.between);
            let points: Vec<_> = training.curve.iter().map(|at| (at.steps, at.loss)).collect();
            table.curve(axes, &training.label, &points);
        }
        let last = [baseline.curve[0].steps, end.steps];
        table.curve(axes, "the baseline's end", &last.map(|steps| (steps, end.loss)));
        table.write(&context.output("")?, ())
    }
}

/// Adds what a training comes to beside the baseline.
fn compare(table: &mut Table, training: &Training, baseline: &Training, end: At, between: Between) {
    let n = training.curve.len() as u64;
    let mut figure = |metric: &str, value: f64| {
        table.figure(Place::of(&training.label, metric), value, n, None);
    };
    let reached = |of: fn(&At) -> f64| {
        let points: Vec<_> = training.curve.iter().map(|at| (of(at), at.loss)).collect();
        first_at(&points, end.loss, between)
    };
    figure("baseline_loss", end.loss);
    let steps = reached(|at| at.steps);
    figure("reached", f64::from(u8::from(steps.is_some())));
    // What is never reached has no acceleration, neither 0 nor infinite.
    let (Some(steps), Some(tokens)) = (steps, reached(|at| at.tokens)) else {
        return;
    };
    figure("steps", steps);
    figure("acceleration", end.steps / steps);
    figure("acceleration_tokens", end.tokens / tokens);
    let cost =
        |training: &Training, steps: f64| training.details.flops * steps / training.details.steps as f64;
    let flops = cost(baseline, end.steps) / cost(training, steps);
    if flops.is_finite() {
        figure("acceleration_flops", flops);
    }
}

/// The first amount of a curve of amounts and losses at which the loss is not above `target`; none if there is none.
pub fn first_at(curve: &[(f64, f64)], target: f64, between: Between) -> Option<f64> {
    let at = curve.iter().position(|(_, loss)| *loss <= target)?;
    let (amount, loss) = curve[at];
    match between {
        Between::Lines if at > 0 => {
            let (before, above) = curve[at - 1];
            let share = (above - target) / (above - loss);
            Some(before + share * (amount - before))
        }
        _ => Some(amount),
    }
}

/// Replaces every loss by the mean over the last `count` up to it.
fn smooth(curve: &mut [At], count: usize) {
    let losses: Vec<f64> = curve.iter().map(|at| at.loss).collect();
    for (i, at) in curve.iter_mut().enumerate() {
        let window = &losses[(i + 1).saturating_sub(count)..=i];
        at.loss = window.iter().sum::<f64>() / window.len() as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{read_table, write_header};
    use crate::table::f64_column;
    use crate::testing::Bench;
    use crate::train::{Point, write_curve};
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::path::Path;

    /// A model that was trained with these validation losses, one after every ten steps of 100 tokens.
    fn model(bench: &Bench, label: &str, losses: &[f64], flops: f64) -> Artifact {
        let folder = bench.at(label);
        let point = |(i, &value): (usize, &f64)| Point {
            step: 10 * i as u64,
            split: "valid",
            metric: "loss",
            value,
            tokens: 1000 * i as u64,
        };
        let points: Vec<Point> = losses.iter().enumerate().map(point).collect();
        write_curve(&folder.join("metrics.parquet"), &points).expect("writes");
        let steps = 10 * (losses.len() - 1);
        let details = json!({
            "parameters": 1000, "vocab_size": 20, "context": 6, "tokenizer": "t",
            "tokens_trained": 100 * steps, "flops": flops, "steps": steps,
        });
        write_header(&folder, Kind::Model, label, None, details).expect("writes");
        bench.publish(label)
    }

    fn figures(table: &Artifact) -> BTreeMap<(String, String), f64> {
        let rows = read_table(table).expect("reads");
        let text = |name| rows.column(name).expect("there").str().expect("text").clone();
        let (variants, metrics) = (text("variant"), text("metric"));
        let values = f64_column(&rows, "value", Path::new("table.parquet")).expect("floats");
        let row = |(at, value)| {
            let name =
                |column: &polars::prelude::StringChunked| column.get(at).expect("never empty").to_owned();
            ((name(&variants), name(&metrics)), value)
        };
        values.into_iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_baseline_takes_itself_as_long_and_others_sooner_or_never() {
        let bench = Bench::new();
        model(&bench, "uniform", &[9.0, 5.0, 4.0, 3.5, 3.0], 8e6);
        model(&bench, "fast", &[9.0, 4.0, 2.5, 2.4, 2.3], 16e6);
        model(&bench, "never", &[9.0, 5.0, 4.5, 4.2, 4.0], 8e6);
        let run = |between: &str| {
            let params = json!({
                "baseline": "@uniform", "models": ["@uniform", "@fast", "@never"], "between": between,
            });
            figures(&bench.run::<Acceleration>("sooner", params).expect("a table"))
        };
        let found = run("measurements");
        let get = |variant: &str, metric: &str| found.get(&(variant.to_owned(), metric.to_owned())).copied();
        assert_eq!(get("uniform", "acceleration"), Some(1.0));
        assert_eq!(get("fast", "baseline_loss"), Some(3.0));
        assert_eq!(get("fast", "steps"), Some(20.0));
        assert_eq!(get("fast", "acceleration"), Some(2.0));
        assert_eq!(get("fast", "acceleration_tokens"), Some(2.0));
        assert_eq!(get("fast", "acceleration_flops"), Some(1.0));
        assert_eq!(get("never", "reached"), Some(0.0));
        assert_eq!(get("never", "acceleration"), None);
        // Two thirds of the way from 4.0 to 2.5.
        let steps = run("lines")[&("fast".to_owned(), "steps".to_owned())];
        assert!((steps - (10.0 + 10.0 * 2.0 / 3.0)).abs() < 1e-12, "{steps}");
    }

    #[test]
    fn smoothing_takes_the_mean_up_to_a_measurement() {
        let at = |loss: f64| At {
            steps: 1.0,
            tokens: 1.0,
            loss,
        };
        let mut curve = [4.0, 2.0, 3.0, 7.0].map(at);
        smooth(&mut curve, 2);
        assert_eq!(curve.map(|at| at.loss), [4.0, 3.0, 2.5, 5.0]);
        smooth(&mut curve, 1);
        assert_eq!(curve[3].loss, 5.0);
    }

    #[test]
    fn models_without_a_curve_and_losses_without_a_logarithm_are_refused() {
        let bench = Bench::new();
        model(&bench, "uniform", &[9.0, 5.0], 8e6);
        model(&bench, "diverged", &[9.0, f64::NAN], 8e6);
        let bare = bench.at("bare");
        let details = bench.publish("uniform").header.details;
        write_header(&bare, Kind::Model, "bare", None, details).expect("writes");
        bench.publish("bare");
        let code = |model: &str, losses: &str| {
            let params = json!({ "baseline": "@uniform", "models": model, "losses": losses });
            bench
                .run::<Acceleration>("sooner", params)
                .expect_err("a mistake")
                .code()
        };
        assert_eq!(code("@bare", "valid"), "no_curve");
        assert_eq!(code("@uniform", "train"), "no_curve");
        assert_eq!(code("@diverged", "valid"), "bad_loss");
    }
}
