//! What a fitted law says, as rows of a table and as a plot.

use super::fits::{Fitted, Spread};
use super::law::Law;
use super::scaling_law::{Form, Params, Prediction};
use crate::artifact::{Axes, Place, Table};

/// Numbers that go exponentially with a slope: over draws they have ends, but no standard error worth the name.
const FACTORS: [&str; 3] = ["A", "B", "D0"];
/// Points of a drawn curve.
const STEPS: usize = 60;

/// Adds a law's numbers and how well it fits.
pub(super) fn numbers(table: &mut Table, name: &str, fit: &Fitted, form: Form) {
    type Number = (&'static str, fn(&Law) -> Option<f64>);
    let joint: [Number; 5] = [
        ("E", |law| Some(law.irreducible)),
        ("A", |law| law.size.map(|(log_a, _)| log_a.exp())),
        ("alpha", |law| law.size.map(|(_, alpha)| alpha)),
        ("B", |law| Some(law.log_b.exp())),
        ("beta", |law| Some(law.beta)),
    ];
    let single: [Number; 3] = [
        ("E", |law| Some(law.irreducible)),
        ("D0", |law| Some((law.log_b / law.beta).exp())),
        ("beta", |law| Some(law.beta)),
    ];
    let numbers = match form {
        Form::ParametersAndTokens => &joint[..],
        Form::Tokens | Form::Steps => &single[..],
    };
    let n = fit.points.len() as u64;
    for (metric, of) in numbers {
        let Some(value) = of(&fit.law) else {
            continue;
        };
        let spread = fit.spread(of);
        if !FACTORS.contains(metric) {
            table.figure(
                Place::of(name, metric),
                value,
                n,
                spread.map(|spread| spread.error),
            );
            continue;
        }
        table.figure(Place::of(name, metric), value, n, None);
        if let Some(Spread { low, high, .. }) = spread {
            table.figure(Place::of(name, &format!("{metric}_low")), low, n, None);
            table.figure(Place::of(name, &format!("{metric}_high")), high, n, None);
        }
    }
    table.figure(Place::of(name, "r2"), fit.r2, n, None);
    table.figure(Place::of(name, "rmse"), fit.rmse, n, None);
    if let Some(error) = fit.held_out {
        table.figure(Place::of(name, "held_out_error"), error, n, None);
    }
}

/// Adds what a law says of larger trainings, and how much sooner it comes to the loss of `against`.
pub(super) fn predictions(
    table: &mut Table,
    name: &str,
    fit: &Fitted,
    against: Option<&Fitted>,
    wanted: &[Prediction],
) {
    let n = fit.points.len() as u64;
    let mut add = |metric: &str, group: &str, value: f64, spread: Option<Spread>| {
        let names = [
            metric.to_owned(),
            format!("{metric}_low"),
            format!("{metric}_high"),
        ];
        let places = names
            .each_ref()
            .map(|metric| Place::of(name, metric).within(Some(group)));
        table.figure(places[0], value, n, spread.map(|spread| spread.error));
        if let Some(Spread { low, high, .. }) = spread {
            table.figure(places[1], low, n, None);
            table.figure(places[2], high, n, None);
        }
    };
    for Prediction {
        name: group,
        parameters,
        amount,
    } in wanted
    {
        let loss = |law: &Law| law.loss(*parameters, *amount);
        add("loss", group, loss(&fit.law), fit.spread(|law| Some(loss(law))));
        let Some(against) = against else {
            continue;
        };
        let sooner = |own: &Law, baseline: &Law| own.acceleration(baseline, *parameters, *amount);
        if let Some(value) = sooner(&fit.law, &against.law) {
            add("acceleration", group, value, fit.spread_against(against, sooner));
        }
    }
}

/// Draws the points and the law, from the first point to the last or to the last prediction of that size.
pub(super) fn plot(table: &mut Table, name: &str, fit: &Fitted, params: &Params) {
    let joint = params.form == Form::ParametersAndTokens;
    let title = if joint {
        format!("Scaling law: {name}")
    } else {
        "Scaling law".to_owned()
    };
    let axes = Axes {
        title: &title,
        x: match params.form {
            Form::Steps => "steps",
            _ => "tokens trained on",
        },
        y: "loss (nats a token)",
        logarithmic: true,
    };
    let mut sizes: Vec<f64> = fit.points.iter().map(|point| point.parameters).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    for size in sizes.iter().copied().take(if joint { usize::MAX } else { 1 }) {
        let own = fit
            .points
            .iter()
            .filter(|point| !joint || point.parameters == size);
        let dots: Vec<(f64, f64)> = own.map(|point| (point.amount, point.loss)).collect();
        let asked = params
            .predict
            .iter()
            .filter(|asked| !joint || asked.parameters == size);
        let amounts = || dots.iter().map(|dot| dot.0);
        let first = amounts().fold(f64::INFINITY, f64::min);
        let last = asked
            .map(|asked| asked.amount)
            .chain(amounts())
            .fold(first, f64::max);
        let curve: Vec<(f64, f64)> = (0..=STEPS)
            .map(|i| {
                let amount = first * (last / first).powf(i as f64 / STEPS as f64);
                (amount, fit.law.loss(size, amount))
            })
            .collect();
        let line = if joint {
            format!("{size:.3e} parameters")
        } else {
            name.to_owned()
        };
        table.curve(axes, &line, &curve);
        table.dots(axes, &line, &dots);
    }
}
