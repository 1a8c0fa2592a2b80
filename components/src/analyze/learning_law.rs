//! `analyze.learning_law`: what a policy gains, and whether it obeys the law (learning law, sheet 5).

use super::policies::{Curves, Found, Moment};
use crate::artifact::{Axes, HeatAxes, Place, Table};
use crate::component::{Component, Output, main_output};
use crate::policy::acceleration;
use crate::reference::{self, Refs};
use crate::{Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Cells of a heat map, of steps and of examples.
const CELLS: [usize; 2] = [80, 48];
/// Points of a curve …
const POINTS: usize = 400;
/// … of which these first ones are all kept: on a logarithmic axis they take half of it.
const FIRST: usize = 64;

/// Per policy, and beside it for equal weights (`NAME, equal`): `target_loss` and `test_loss` (means over the steps, in nats),
/// `compression` (ln of the number of outcomes over `test_loss`), `similarity_test` and `similarity_target` (mean over the steps
/// of the weighted mean of the contributions of the examples in use over their spread, the papers' statistic),
/// `similarity_costate` (the same of what an example is worth to all later states, the exact condition), `gap` (what the
/// exact condition is short of, summed over the steps; 0 at an optimum), `unused` (share of weights that are 0),
/// `unused_opposed` (that share among examples that would raise the test loss); and of the policy
/// `acceleration_target` and `acceleration_test`, where they are reached: a target or test loss that equal weights end with is
/// reached so many times sooner.
#[derive(Debug, Clone, Copy)]
pub struct LearningLaw;

/// What `analyze.learning_law` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LawAnalysis {
    /// The policies.
    pub policies: Refs<reference::Policy>,
    /// Share of the examples that count as of high and of low contribution.
    #[serde(default = "tenth")]
    #[schemars(range(max = 0.5), extend("exclusiveMinimum" = 0.0))]
    pub extremes: f64,
}

fn tenth() -> f64 {
    0.1
}

impl Component for LearningLaw {
    type Params = LawAnalysis;
    const NAME: &'static str = "analyze.learning_law";
    const SUMMARY: &'static str = "what policies gain, and whether all examples in use contribute equally";
    const PAPER: Option<&'static str> = Some("learning_law");
    const EXAMPLE: &'static str = r#"use = "analyze.learning_law"
policies = "@policy"
"#;

    fn outputs(_: &LawAnalysis) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn run(params: LawAnalysis, context: &Context) -> Result<()> {
        let mut table = Table::default();
        for artifact in context.open_all(&params.policies)? {
            context.check_cancelled()?;
            let found = Found::read(&artifact)?;
            figures(&mut table, &found);
            curves(&mut table, &found);
            extremes(&mut table, &found, params.extremes);
            heat(&mut table, &found);
        }
        table.write(&context.output("")?, ())
    }
}

fn mean(values: &[f64]) -> f64 {
    let finite = || values.iter().filter(|value| value.is_finite());
    finite().sum::<f64>() / finite().count() as f64
}

fn equal_of(label: &str) -> String {
    format!("{label}, equal")
}

fn figures(table: &mut Table, found: &Found) {
    let steps = found.policy.details.steps;
    let outcomes = found.policy.details.outcomes as f64;
    let examples = found.policy.details.examples as f64;
    let mut of = |label: &str, curves: &Curves| {
        let mut figure = |metric: &str, value: f64| {
            if value.is_finite() {
                table.figure(Place::of(label, metric), value, steps, None);
            }
        };
        let test = mean(&curves.test[1..]);
        figure("target_loss", mean(&curves.target[1..]));
        figure("test_loss", test);
        figure("compression", outcomes.ln() / test);
        figure("similarity_test", mean(&curves.similarity_test));
        figure("similarity_target", mean(&curves.similarity_target));
        figure("similarity_costate", mean(&curves.similarity_costate));
        figure("gap", curves.gap.iter().sum());
        figure("unused", 1.0 - mean(&curves.support) / examples);
        let opposed: f64 = curves.opposed.iter().sum();
        figure(
            "unused_opposed",
            curves.opposed_unused.iter().sum::<f64>() / opposed,
        );
    };
    of(&found.label, &found.weighed);
    of(&equal_of(&found.label), &found.equal);
    for (metric, base, curve) in [
        ("acceleration_target", &found.equal.target, &found.weighed.target),
        ("acceleration_test", &found.equal.test, &found.weighed.test),
    ] {
        // What is never reached has no acceleration, neither 0 nor infinite.
        if let Some((times, _)) = acceleration(base, curve) {
            table.figure(Place::of(&found.label, metric), times, steps, None);
        }
    }
}

/// At most so many of the points, the last one with them.
fn thinned(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let all: Vec<(f64, f64)> = points.filter(|(_, y)| y.is_finite()).collect();
    let every = all.len().div_ceil(POINTS).max(1);
    let last = all.len().saturating_sub(1);
    let kept = all
        .iter()
        .enumerate()
        .filter(|(i, _)| *i < FIRST || i.is_multiple_of(every) || *i == last);
    kept.map(|(_, point)| *point).collect()
}

/// Points of a curve of states or steps, from the first step on.
fn over_steps(values: &[f64]) -> Vec<(f64, f64)> {
    thinned(
        values
            .iter()
            .enumerate()
            .skip(1)
            .map(|(t, value)| (t as f64, *value)),
    )
}

fn curves(table: &mut Table, found: &Found) {
    let label = &found.label;
    let equal = equal_of(label);
    let axes = |title, y, logarithmic| Axes {
        title,
        x: "steps",
        y,
        logarithmic,
    };
    let loss = "loss (nats)";
    for (title, of) in [
        ("Test loss", (|curves| &curves.test) as fn(&Curves) -> &Vec<f64>),
        ("Target loss", |curves| &curves.target),
    ] {
        let axes = axes(title, loss, true);
        table.curve(axes, label, &over_steps(of(&found.weighed)));
        table.curve(axes, &equal, &over_steps(of(&found.equal)));
    }
    let similarity = "mean over spread of the contributions";
    let by_test = axes("Similarity of contributions to the test loss", similarity, false);
    table.curve(by_test, label, &over_steps(&found.weighed.similarity_test));
    table.curve(by_test, &equal, &over_steps(&found.equal.similarity_test));
    let by_costate = axes(
        "Similarity of contributions to all later losses",
        similarity,
        false,
    );
    table.curve(by_costate, label, &over_steps(&found.weighed.similarity_costate));
    table.curve(by_costate, &equal, &over_steps(&found.equal.similarity_costate));
    let gap = axes(
        "Gap of the exact condition",
        "best less weighted mean contribution",
        false,
    );
    table.curve(gap, label, &over_steps(&found.weighed.gap));
    table.curve(gap, &equal, &over_steps(&found.equal.gap));
    let steps = found.policy.details.steps as f64;
    let objective = found.objective.iter().map(|sum| sum / steps).enumerate();
    let epochs = |y| Axes {
        title: "Target loss over policy epochs",
        x: "policy epochs",
        y,
        logarithmic: false,
    };
    let mut points: Vec<(f64, f64)> = objective.map(|(epoch, mean)| (epoch as f64, mean)).collect();
    points.push((points.len() as f64, mean(&found.weighed.target[1..])));
    table.curve(
        epochs("mean over the steps (nats)"),
        label,
        &thinned(points.into_iter()),
    );
    let gaps = found
        .gap
        .iter()
        .enumerate()
        .map(|(epoch, gap)| (epoch as f64, *gap));
    let title = Axes {
        title: "Gap over policy epochs",
        ..epochs("summed over the steps")
    };
    table.curve(title, label, &thinned(gaps));
}

/// The examples that contribute most and least to the later losses, all traced steps together, through time.
fn extremes(table: &mut Table, found: &Found, share: f64) {
    let Some(first) = found.moments.first() else {
        return;
    };
    let count = first.weight.len();
    let total = |n: usize| -> f64 { found.moments.iter().map(|moment| moment.by_costate[n]).sum() };
    let totals: Vec<f64> = (0..count).map(total).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&i, &j| totals[j].total_cmp(&totals[i]).then(i.cmp(&j)));
    let few = ((share * count as f64).round() as usize).clamp(1, count);
    let axes = |title, y| Axes {
        title,
        x: "steps",
        y,
        logarithmic: false,
    };
    for (name, chosen) in [("highest", &order[..few]), ("lowest", &order[count - few..])] {
        let line = format!("{} {name} {:.0} %", found.label, 100.0 * share);
        let mean_of = |of: fn(&Moment) -> &Vec<f64>, scale: f64| -> Vec<(f64, f64)> {
            let moments = found.moments.iter();
            let mean = |moment: &Moment| chosen.iter().map(|&n| of(moment)[n]).sum::<f64>() / few as f64;
            moments
                .map(|moment| (moment.step, scale * mean(moment)))
                .collect()
        };
        let weights = axes(
            "Weights of examples by what they contribute",
            "weight times examples",
        );
        table.curve(weights, &line, &mean_of(|moment| &moment.weight, count as f64));
        let worth = axes("Contributions to all later losses", "mean contribution");
        table.curve(worth, &line, &mean_of(|moment| &moment.by_costate, 1.0));
        let now = axes("Contributions to the test loss", "mean contribution");
        table.curve(now, &line, &mean_of(|moment| &moment.by_test, 1.0));
    }
}

/// The policy as a map: means over stretches of steps and of examples, which are sorted by their weight over all steps.
fn heat(table: &mut Table, found: &Found) {
    let policy = &found.policy;
    let (steps, count) = (policy.details.steps as usize, policy.details.examples as usize);
    let mut totals = vec![0.0_f64; count];
    for step in 0..steps {
        for (total, weight) in totals.iter_mut().zip(policy.at(step)) {
            *total += f64::from(*weight);
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&i, &j| totals[j].total_cmp(&totals[i]).then(i.cmp(&j)));
    let [wide, high] = [steps.div_ceil(CELLS[0]), count.div_ceil(CELLS[1])];
    let mut cells = Vec::new();
    for (column, first) in (0..steps).step_by(wide).enumerate() {
        let last = (first + wide).min(steps);
        for (row, chosen) in order.chunks(high).enumerate() {
            let sum: f64 = (first..last)
                .map(|step| chosen.iter().map(|&n| f64::from(policy.at(step)[n])).sum::<f64>())
                .sum();
            let mean = sum / ((last - first) * chosen.len()) as f64;
            let x = (column * wide) as f64 + (wide - 1) as f64 / 2.0;
            let y = (row * high) as f64 + (high - 1) as f64 / 2.0;
            cells.push((x, y, mean * count as f64));
        }
    }
    let title = format!("Weights of {}", found.label);
    let axes = HeatAxes {
        title: &title,
        x: "steps",
        y: "examples, the most used first",
        value: "weight × examples",
    };
    table.heat(axes, &cells);
}
