//! A law fitted to points, and how sure it is: residuals are drawn again and the law fitted anew.

use super::huber::{Shape, fit};
use super::law::{Law, Point};
use super::line::{Line, fit_line, search_line};
use super::scaling_law::Form;
use crate::random::Stream;
use crate::{Error, Result};
use rayon::prelude::*;

/// Fewer draws than this tell nothing of an interval's ends.
const FEWEST_DRAWS: usize = 20;

/// What is fitted, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) form: Form,
    pub(super) delta: f64,
    pub(super) from: Option<f64>,
    pub(super) irreducible: Option<f64>,
}

impl Rules {
    fn shape(self) -> Shape {
        match self.form {
            Form::ParametersAndTokens => Shape::Joint,
            Form::Tokens | Form::Steps => Shape::Single,
        }
    }

    /// The law of these points, and which of them it goes through; searched from several starts, or near another.
    fn fit(self, points: &[Point], near: Option<&Law>) -> Option<(Law, Vec<Point>)> {
        if self.form != Form::Steps {
            let law = fit(self.shape(), points, self.delta, near)?;
            return Some((law, points.to_vec()));
        }
        let Line { law, from, .. } = match near {
            // Where the line begins is settled: drawn points are those on it.
            Some(near) => fit_line(points, 0.0, near.irreducible)?,
            None => search_line(points, self.from, self.irreducible)?,
        };
        let on_line = points
            .iter()
            .filter(|point| point.amount > from && point.loss > law.irreducible);
        Some((law, on_line.copied().collect()))
    }
}

/// A law and the points it was fitted to.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    pub(super) law: Law,
    pub(super) points: Vec<Point>,
    /// The laws of drawn residuals; none where there is no law for a draw.
    pub(super) draws: Vec<Option<Law>>,
    /// Share of the variance of ln L that is explained.
    pub(super) r2: f64,
    /// Root of the mean square of ln(predicted) − ln(measured).
    pub(super) rmse: f64,
    /// Mean relative error on the sizes that a fit did not see, each of them left out once.
    pub(super) held_out: Option<f64>,
}

impl Fitted {
    /// Fits a law. `too_few_points`, `no_fit`.
    pub(super) fn of(points: &[Point], rules: Rules, draws: u64, stream: &Stream) -> Result<Self> {
        check_points(points, rules.form)?;
        let (law, points) = rules.fit(points, None).ok_or_else(|| {
            Error::data(
                "no_fit",
                "no law of this form with falling losses goes through the points",
            )
            .hint("look at the curves; leave out more of their beginning by `skip`, or take another form")
        })?;
        // A line is fitted to what is above the irreducible loss, and so are its residuals.
        let base = match rules.form {
            Form::Steps => law.irreducible,
            _ => 0.0,
        };
        let predicted: Vec<f64> = points
            .iter()
            .map(|point| law.loss(point.parameters, point.amount) - base)
            .collect();
        let pairs = points.iter().zip(&predicted);
        let residuals: Vec<f64> = pairs
            .map(|(point, predicted)| (point.loss - base).ln() - predicted.ln())
            .collect();
        let draw = |number: u64| {
            let mut stream = stream.at(number);
            let drawn: Vec<Point> = points
                .iter()
                .zip(&predicted)
                .map(|(point, predicted)| {
                    let residual = residuals[stream.below(residuals.len() as u64) as usize];
                    let loss = base + predicted * residual.exp();
                    Point { loss, ..*point }
                })
                .collect();
            rules.fit(&drawn, Some(&law)).map(|(law, _)| law)
        };
        let draws = (0..draws).into_par_iter().map(draw).collect();
        let (r2, rmse) = explained(&points, &law);
        Ok(Self {
            held_out: held_out(&points, rules),
            law,
            draws,
            r2,
            rmse,
            points,
        })
    }

    /// Whether the law falls without end for all that the points say: its irreducible loss is next to none of theirs.
    pub(super) fn tells_no_end(&self) -> bool {
        let least = self
            .points
            .iter()
            .map(|point| point.loss)
            .fold(f64::INFINITY, f64::min);
        self.law.irreducible < 1e-3 * least
    }

    /// The standard error and the 95 % interval of a number of the law over the draws; none where too few have it.
    pub(super) fn spread(&self, of: impl Fn(&Law) -> Option<f64>) -> Option<Spread> {
        spread(self.draws.iter().map(|law| law.as_ref().and_then(&of)))
    }

    /// The same of a number of this law and another's, draw by draw.
    pub(super) fn spread_against(
        &self,
        other: &Self,
        of: impl Fn(&Law, &Law) -> Option<f64>,
    ) -> Option<Spread> {
        let pairs = self.draws.iter().zip(&other.draws);
        spread(pairs.map(|(own, other)| of(own.as_ref()?, other.as_ref()?)))
    }
}

/// The standard error and the 95 % interval of what draws gave; none if they are too few.
fn spread(numbers: impl Iterator<Item = Option<f64>>) -> Option<Spread> {
    let mut numbers: Vec<f64> = numbers.flatten().filter(|number| number.is_finite()).collect();
    if numbers.len() < FEWEST_DRAWS {
        return None;
    }
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    numbers.sort_by(f64::total_cmp);
    let at = |share: f64| numbers[(share * (count - 1.0)).round() as usize];
    Some(Spread {
        error: (squares / (count - 1.0)).sqrt(),
        low: at(0.025),
        high: at(0.975),
    })
}

/// How far a number is spread over draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// Standard deviation.
    pub(super) error: f64,
    /// Ends of the 95 % interval.
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Refuses fewer points than a law has numbers, and fewer sizes or amounts than its slopes can be told from.
/// `too_few_points`.
fn check_points(points: &[Point], form: Form) -> Result<()> {
    let different = |of: fn(&Point) -> f64| {
        let mut values: Vec<f64> = points.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values.len()
    };
    let (sizes, amounts) = (
        different(|point| point.parameters),
        different(|point| point.amount),
    );
    let (found, wanted) = match form {
        Form::ParametersAndTokens if sizes < 3 => (format!("{sizes} sizes"), "3 sizes"),
        Form::ParametersAndTokens if points.len() < 6 => (format!("{} points", points.len()), "6 points"),
        _ if amounts < 3 => (format!("{amounts} different amounts"), "3 different amounts"),
        _ if points.len() < 4 => (format!("{} points", points.len()), "4 points"),
        _ => return Ok(()),
    };
    let message = format!("{found} do not tell a law; expected at least {wanted}");
    Err(Error::data("too_few_points", message)
        .hint("evaluate more often, train more sizes, or take the form `tokens` for one size"))
}

/// r² and the root of the mean square of what is left, both of logarithms.
fn explained(points: &[Point], law: &Law) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = points.iter().map(|point| point.loss.ln()).sum::<f64>() / count;
    let (mut left, mut all) = (0.0, 0.0);
    for point in points {
        let log = point.loss.ln();
        left += (law.loss(point.parameters, point.amount).ln() - log).powi(2);
        all += (log - mean).powi(2);
    }
    (1.0 - left / all, (left / count).sqrt())
}

/// Mean relative error on each size by a fit to the others; none if they are too few to fit.
fn held_out(points: &[Point], rules: Rules) -> Option<f64> {
    if rules.form != Form::ParametersAndTokens {
        return None;
    }
    let mut sizes: Vec<f64> = points.iter().map(|point| point.parameters).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mut errors = Vec::new();
    for size in sizes {
        let (own, others): (Vec<Point>, Vec<Point>) =
            points.iter().partition(|point| point.parameters == size);
        check_points(&others, rules.form).ok()?;
        let (law, _) = rules.fit(&others, None)?;
        errors.extend(own.iter().map(|point| {
            let predicted = law.loss(point.parameters, point.amount);
            (predicted / point.loss - 1.0).abs()
        }));
    }
    Some(errors.iter().sum::<f64>() / errors.len() as f64)
}
