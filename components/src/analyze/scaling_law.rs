//! `analyze.scaling_law`: the law that losses follow, how sure it is, and what it says of larger trainings (MiniPLM and PDS,
//! sheet 5; learning law, sheet 5).

use super::curves::{Losses, Training, check_loss};
use super::fits::{Fitted, Rules};
use super::law::Point;
use super::report;
use crate::artifact::Table;
use crate::component::{Component, Output, Problem, Seeding, main_output};
use crate::reference::{self, Refs};
use crate::{Context, Error, Kind, Result};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Per fit: the law's numbers (`E`, `A`, `alpha`, `B`, `beta`; of one size `E`, `D0`, `beta`) with bootstrap standard errors,
/// or in the case of `A`, `B` and `D0` the ends of 95 % intervals (`A_low`, `A_high` and so on), `r2` and `rmse` of the
/// logarithms of losses, and `held_out_error` (mean relative error on each size by a fit to the
/// others). Per prediction: `loss`, its 95 % interval `loss_low` to `loss_high`, and against a baseline `acceleration`
/// with its interval.
#[derive(Debug, Clone, Copy)]
pub struct ScalingLaw;

/// The form of a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// L(N, D) = E + A/N^α + B/D^β, over parameters N and tokens D.
    #[default]
    ParametersAndTokens,
    /// L(D) = E + (D₀/D)^β, over the tokens D that one size was trained on.
    Tokens,
    /// L(t) = E + (D₀/t)^β, over the steps t, by a straight line through logarithms.
    Steps,
}

/// A loss that was measured elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The fit it belongs to.
    #[serde(default = "points")]
    #[schemars(length(min = 1))]
    pub fit: String,
    /// N; of no account where the form has none.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub parameters: f64,
    /// Tokens trained on; steps in the form `steps`.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub amount: f64,
    /// In nats a token.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub loss: f64,
}

/// A training whose loss the law is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// What it is called.
    #[schemars(length(min = 1), example = &"7B, 1T tokens")]
    pub name: String,
    /// N; of no account where the form has none.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub parameters: f64,
    /// Tokens to train on; steps in the form `steps`.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub amount: f64,
}

/// What `analyze.scaling_law` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Trainings whose curves give losses, by the name of the fit they belong to, as in
    /// `{ uniform = ["@student[small,uniform]", "@student[large,uniform]"] }`.
    #[serde(default)]
    pub models: BTreeMap<String, Refs<reference::Model>>,
    /// Losses that were measured elsewhere.
    #[serde(default)]
    pub points: Vec<Given>,
    /// The form of the law.
    #[serde(default)]
    pub form: Form,
    /// Which losses of the trainings are taken.
    #[serde(default)]
    pub losses: Losses,
    /// The share of every training's steps that is left out at its beginning; the warm-up is to be in it.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub skip: f64,
    /// Where Huber's function of the differences of logarithms turns from a square to a line.
    #[serde(default = "delta")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub huber_delta: f64,
    /// Trainings whose losses are asked for.
    #[serde(default)]
    pub predict: Vec<Prediction>,
    /// The fit that the others' acceleration at the predictions is against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"uniform")]
    pub baseline: Option<String>,
    /// How often residuals are drawn again for standard errors and intervals; 0 leaves them out.
    #[serde(default = "draws")]
    #[schemars(range(max = 100_000), extend("x-unit" = "draws"))]
    pub bootstrap: u64,
    /// The form `steps` only: the line goes through points beyond so many steps; searched for the best r² unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), extend("x-unit" = "steps"))]
    pub from: Option<f64>,
    /// The form `steps` only: E; searched for the best r² unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), extend("x-unit" = "nats"))]
    pub irreducible: Option<f64>,
}

fn points() -> String {
    "points".to_owned()
}

fn one() -> f64 {
    1.0
}

fn tenth() -> f64 {
    0.1
}

fn delta() -> f64 {
    1e-3
}

fn draws() -> u64 {
    200
}

impl Component for ScalingLaw {
    type Params = Params;
    const NAME: &'static str = "analyze.scaling_law";
    const SUMMARY: &'static str =
        "the law that losses follow over parameters and tokens, and what it predicts";
    const PAPER: Option<&'static str> = Some("miniplm");
    const SEEDING: Seeding = Seeding::Fixed;
    const EXAMPLE: &'static str = r#"use = "analyze.scaling_law"
form = "tokens"
models = { uniform = "@student[uniform]", miniplm = "@student[miniplm]" }
baseline = "uniform"
predict = [{ name = "ten times as long", amount = 5e6 }]
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let problem = |field: &str, code, message: String, hint: &str| Problem {
            field: field.to_owned(),
            code,
            message,
            hint: Some(hint.to_owned()),
        };
        let mut problems = Vec::new();
        if params.models.is_empty() && params.points.is_empty() {
            problems.push(problem(
                "models",
                "missing_field",
                "expected `models` or `points`, found neither".to_owned(),
                "models = { uniform = \"@student\" }",
            ));
        }
        if let Some(baseline) = params.baseline.as_ref()
            && !params.models.contains_key(baseline)
            && !params.points.iter().any(|point| point.fit == *baseline)
        {
            problems.push(problem(
                "baseline",
                "unknown_fit",
                format!("no fit is called `{baseline}`"),
                "name one of `models`, or the `fit` of points",
            ));
        }
        for (field, given) in [
            ("from", params.from.is_some()),
            ("irreducible", params.irreducible.is_some()),
        ] {
            if given && params.form != Form::Steps {
                problems.push(problem(
                    field,
                    "conflicting_fields",
                    format!("`{field}` is of the form `steps` only"),
                    "form = \"steps\"",
                ));
            }
        }
        problems
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let rules = Rules {
            form: params.form,
            delta: params.huber_delta,
            from: params.from,
            irreducible: params.irreducible,
        };
        let measured = measured(&params, context)?;
        let fitted: Vec<(String, Fitted)> = measured
            .into_par_iter()
            .map(|(name, points)| {
                let stream = context.stream(&format!("bootstrap {name}"));
                Fitted::of(&points, rules, params.bootstrap, &stream)
                    .map_err(|error| error.at(format!("fit `{name}`")))
                    .map(|fitted| (name, fitted))
            })
            .collect::<Result<_>>()?;
        let mut table = Table::default();
        for (name, fit) in &fitted {
            if fit.tells_no_end() {
                context.services.note(&format!(
                    "the points of `{name}` do not tell what is irreducible: E is next to nothing"
                ));
            }
            report::numbers(&mut table, name, fit, params.form);
            report::plot(&mut table, name, fit, &params);
        }
        let baseline = params.baseline.as_ref();
        let baseline = baseline.and_then(|baseline| fitted.iter().find(|(name, _)| name == baseline));
        for (name, fit) in &fitted {
            let against = baseline.filter(|(other, _)| other != name).map(|(_, fit)| fit);
            report::predictions(&mut table, name, fit, against, &params.predict);
        }
        table.write(&context.output("")?, ())
    }
}

/// The points of every fit: those given, and those of the trainings. `no_curve`, `bad_loss`.
fn measured(params: &Params, context: &Context) -> Result<BTreeMap<String, Vec<Point>>> {
    let mut all: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for given in &params.points {
        check_loss(given.loss)?;
        let numbers = [given.parameters, given.amount];
        if !numbers.iter().all(|number| number.is_finite() && *number > 0.0) {
            let message = format!("a point of `{}` has an amount that is not above 0", given.fit);
            return Err(Error::data("bad_point", message));
        }
        all.entry(given.fit.clone()).or_default().push(Point {
            parameters: given.parameters,
            amount: given.amount,
            loss: given.loss,
        });
    }
    for (name, models) in &params.models {
        let points = all.entry(name.clone()).or_default();
        for model in context.open_all(models)? {
            let training = Training::read(&model, params.losses)?;
            let last = training.curve.last().map_or(0.0, |at| at.steps);
            let late = training.curve.iter().filter(|at| at.steps > params.skip * last);
            points.extend(late.map(|at| Point {
                parameters: training.details.parameters as f64,
                amount: match params.form {
                    Form::Steps => at.steps,
                    _ => at.tokens,
                },
                loss: at.loss,
            }));
        }
    }
    Ok(all)
}
