//! Logistic regression on sparse features, in f64: what is found depends on neither threads nor chance.

use rayon::prelude::*;
use std::collections::VecDeque;

/// Rows whose gradients are added up by one task; the tasks' sums are added in order.
const TASK: usize = 1024;
/// Pairs of steps and gradient changes that L-BFGS remembers.
const MEMORY: usize = 10;
/// The gradient's norm at which the optimum counts as found.
const TOLERANCE: f64 = 1e-8;
/// Share of the fall that the slope promises which a step has to reach (Armijo).
const SUFFICIENT: f64 = 1e-4;
/// Halvings of a step before it is given up: rounding is all that is left.
const HALVINGS: usize = 30;

/// Examples: rows of sparse features, each wanted or not.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    columns: Vec<u32>,
    values: Vec<f64>,
    /// Where each row ends.
    ends: Vec<usize>,
    wanted: Vec<bool>,
}

impl Examples {
    /// Adds an example.
    pub fn push(&mut self, features: &[(u32, f64)], wanted: bool) {
        self.columns.extend(features.iter().map(|&(column, _)| column));
        self.values.extend(features.iter().map(|&(_, value)| value));
        self.ends.push(self.columns.len());
        self.wanted.push(wanted);
    }

    /// Number of features that are not zero, in all examples.
    pub fn nonzero(&self) -> usize {
        self.columns.len()
    }

    /// The features that occur, ascending.
    fn used(&self) -> Vec<u32> {
        let mut used = self.columns.clone();
        used.sort_unstable();
        used.dedup();
        used
    }
}

/// Log-odds that are linear in the features.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// A weight a feature.
    pub weights: Vec<f64>,
    /// Added to all.
    pub bias: f64,
    /// Times that the examples were gone through.
    pub passes: usize,
    /// Whether the gradient's norm fell below 1e-8.
    pub converged: bool,
}

impl Logistic {
    /// Log-odds of an example.
    pub fn log_odds(&self, features: &[(u32, f64)]) -> f64 {
        let product = features
            .iter()
            .map(|&(column, value)| self.weights[column as usize] * value);
        self.bias + product.sum::<f64>()
    }

    /// The minimum of ½ · mean over the wanted of ln(1 + e^−z) + ½ · mean over the others of ln(1 + e^z) + l2/2 · ‖w‖², where
    /// z = w·x + bias: both sides weigh the same whatever their sizes, and the bias is free.
    ///
    /// L-BFGS (Nocedal and Wright 2006, algorithm 7.5) for at most `iterations` steps; `tick` is called before each and may
    /// stop it. The function is convex, so halving steps suffices for a search.
    pub fn fit<E>(
        examples: &Examples,
        features: usize,
        l2: f64,
        iterations: usize,
        mut tick: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, E> {
        // A feature that no example has keeps weight 0, and so needs no place in any vector.
        let used = examples.used();
        let objective = Objective::new(examples, &used, l2);
        let mut x = vec![0.0; used.len() + 1];
        let (mut value, mut gradient) = objective.at(&x);
        let mut passes = 1;
        let mut pairs: VecDeque<Pair> = VecDeque::new();
        for _ in 0..iterations {
            if norm(&gradient) <= TOLERANCE {
                break;
            }
            tick()?;
            let direction = direction(&pairs, &gradient);
            let slope = dot(&direction, &gradient);
            // Nothing is known of the scale before the first step: go as far as a step of length one.
            let mut step = if pairs.is_empty() {
                1.0 / norm(&gradient).max(1.0)
            } else {
                1.0
            };
            let mut found = None;
            for _ in 0..HALVINGS {
                let next = along(&x, step, &direction);
                let (next_value, next_gradient) = objective.at(&next);
                passes += 1;
                // Near the optimum the fall is less than what rounding makes of the value.
                let rounding = 4.0 * f64::EPSILON * value;
                if next_value <= value + SUFFICIENT * step * slope + rounding {
                    found = Some((next, next_value, next_gradient));
                    break;
                }
                step /= 2.0;
            }
            let Some((next, next_value, next_gradient)) = found else {
                break;
            };
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.extend(Pair::new(&x, &next, &gradient, &next_gradient));
            (x, value, gradient) = (next, next_value, next_gradient);
        }
        let converged = norm(&gradient) <= TOLERANCE;
        let mut weights = vec![0.0; features];
        for (&column, weight) in used.iter().zip(&x) {
            weights[column as usize] = *weight;
        }
        Ok(Self {
            weights,
            bias: x[used.len()],
            passes,
            converged,
        })
    }
}

/// The function that is minimised; its last variable is the bias.
struct Objective<'a> {
    examples: &'a Examples,
    /// The examples' columns, each as its place among those that occur.
    columns: Vec<u32>,
    features: usize,
    l2: f64,
    /// What one example weighs: of the others, and of the wanted.
    weight: [f64; 2],
}

impl<'a> Objective<'a> {
    fn new(examples: &'a Examples, used: &[u32], l2: f64) -> Self {
        let place = |column: &u32| used.partition_point(|other| other < column) as u32;
        let wanted = examples.wanted.iter().filter(|&&wanted| wanted).count();
        let weight = [examples.wanted.len() - wanted, wanted].map(|count| 0.5 / count.max(1) as f64);
        Self {
            examples,
            columns: examples.columns.par_iter().map(place).collect(),
            features: used.len(),
            l2,
            weight,
        }
    }

    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let Examples { values, ends, .. } = self.examples;
        let start = if row == 0 { 0 } else { ends[row - 1] };
        let range = start..ends[row];
        let columns = self.columns[range.clone()].iter().map(|&column| column as usize);
        columns.zip(values[range].iter().copied())
    }

    /// Its value and its gradient.
    fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let (weights, bias) = (&x[..self.features], x[self.features]);
        let task = |task: usize| {
            let mut sum = 0.0;
            let mut gradient = vec![0.0; self.features + 1];
            let last = ((task + 1) * TASK).min(self.examples.wanted.len());
            for row in task * TASK..last {
                let wanted = self.examples.wanted[row];
                let weight = self.weight[usize::from(wanted)];
                let product = self.row(row).map(|(column, value)| weights[column] * value);
                let z = bias + product.sum::<f64>();
                let sign = if wanted { -1.0 } else { 1.0 };
                sum += weight * softplus(sign * z);
                // d softplus(±z) / dz = ±σ(±z).
                let slope = weight * sign * sigmoid(sign * z);
                for (column, value) in self.row(row) {
                    gradient[column] += slope * value;
                }
                gradient[self.features] += slope;
            }
            (sum, gradient)
        };
        let tasks = self.examples.wanted.len().div_ceil(TASK);
        let parts: Vec<(f64, Vec<f64>)> = (0..tasks).into_par_iter().map(task).collect();
        let mut value = 0.5 * self.l2 * dot(weights, weights);
        let mut gradient: Vec<f64> = weights.iter().map(|w| self.l2 * w).collect();
        gradient.push(0.0);
        for (sum, part) in parts {
            value += sum;
            gradient.iter_mut().zip(part).for_each(|(all, one)| *all += one);
        }
        (value, gradient)
    }
}

/// A step, how the gradient changed on it, and one over their product.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    rho: f64,
}

impl Pair {
    /// None where rounding has eaten the curvature.
    fn new(x: &[f64], next: &[f64], gradient: &[f64], next_gradient: &[f64]) -> Option<Self> {
        let step = along(next, -1.0, x);
        let change = along(next_gradient, -1.0, gradient);
        let product = dot(&step, &change);
        (product > f64::EPSILON * dot(&change, &change)).then(|| Self {
            step,
            change,
            rho: 1.0 / product,
        })
    }
}

/// −H·gradient with the inverse Hessian H that the pairs stand for.
fn direction(pairs: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let alpha = pair.rho * dot(&pair.step, &q);
        q = along(&q, -alpha, &pair.change);
        alphas.push(alpha);
    }
    if let Some(last) = pairs.back() {
        let scale = 1.0 / (last.rho * dot(&last.change, &last.change));
        for q in &mut q {
            *q *= scale;
        }
    }
    for (pair, alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = pair.rho * dot(&pair.change, &q);
        q = along(&q, alpha - beta, &pair.step);
    }
    q
}

/// x + step · direction.
fn along(x: &[f64], step: f64, direction: &[f64]) -> Vec<f64> {
    x.iter().zip(direction).map(|(x, d)| x + step * d).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// ln(1 + e^z).
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
mod tests;
