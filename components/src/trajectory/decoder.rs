//! Short trainings of decoder language models.

use super::rows::{RowModel, Sequences};
use super::{Difference, ExampleLosses, Number, Training, dot, norm};
use crate::Result;
use crate::flops::{forward_flops, training_flops};
use crate::metrics::spearman;
use crate::model::ModelConfig;
use crate::random::Stream;

/// Examples on which differences of two lengths are compared.
const CHECKED: usize = 256;

/// What the steps train on.
pub enum Steps<'a> {
    /// Step t: `batch` sequences from t · batch on, equally weighted.
    Batches {
        /// At least steps · batch of them.
        sequences: Box<dyn Sequences + 'a>,
        /// Sequences of a step.
        batch: usize,
    },
    /// Every step: all examples whose worth is asked, under these weights γ.
    Weighted(Vec<f64>),
}

/// What a training is judged by: the mean over target sequences, at each step all of them or some drawn anew.
pub struct Targets<'a> {
    /// The sequences.
    pub sequences: Box<dyn Sequences + 'a>,
    /// How many are drawn at a step, and by which stream.
    pub drawn: Option<(usize, Stream)>,
}

impl Targets<'_> {
    /// The sequences of step `step`, ascending, each with its weight.
    pub(super) fn at(&self, step: usize) -> Vec<(usize, f64)> {
        let count = self.sequences.len();
        let equally = |chosen: Vec<usize>| {
            let weight = 1.0 / chosen.len() as f64;
            chosen.into_iter().map(|i| (i, weight)).collect()
        };
        match &self.drawn {
            Some((drawn, stream)) if *drawn < count => {
                let mut all: Vec<usize> = (0..count).collect();
                stream.at(step as u64).shuffle(&mut all);
                all.truncate(*drawn);
                all.sort_unstable();
                equally(all)
            }
            _ => equally((0..count).collect()),
        }
    }
}

/// Gradient descent on a decoder. Products are by central differences.
pub struct DecoderTraining<'a, N> {
    /// The decoder.
    pub model: RowModel<'a, N>,
    /// What the steps train on.
    pub steps: Steps<'a>,
    /// What they are judged by.
    pub targets: Targets<'a>,
    /// The examples whose worth is asked.
    pub examples: Box<dyn Sequences + 'a>,
    /// How differences are taken.
    pub difference: Difference,
}

/// How far products by differences can be trusted: what those of two lengths have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Rank correlation of the examples' products.
    pub spearman: f64,
    /// ‖difference‖ / ‖products‖.
    pub error: f64,
}

impl<N: Number> DecoderTraining<'_, N> {
    fn of_step(&self, step: usize) -> (&dyn Sequences, Vec<(usize, f64)>) {
        match &self.steps {
            Steps::Batches { sequences, batch } => {
                let chosen = step * batch..(step + 1) * batch;
                let weight = 1.0 / *batch as f64;
                (&**sequences, chosen.map(|i| (i, weight)).collect())
            }
            Steps::Weighted(weights) => (&*self.examples, weights.iter().copied().enumerate().collect()),
        }
    }

    /// Compares the products of some examples with the target's gradient at `theta`, by differences of the length set and
    /// of a third of it (PDS, sheet 7).
    pub fn agreement(&mut self, theta: &[N]) -> Result<Agreement> {
        let mut v = vec![N::default(); theta.len()];
        self.target(0, theta, &mut v)?;
        let mut products = vec![0.0; self.examples().min(CHECKED)];
        let mut nearer = products.clone();
        self.difference.products(self, theta, &v, &mut products)?;
        self.difference.third().products(self, theta, &v, &mut nearer)?;
        let between: Vec<f64> = products.iter().zip(&nearer).map(|(a, b)| a - b).collect();
        Ok(Agreement {
            spearman: spearman(&products, &nearer),
            error: norm(&between) / dot(&nearer, &nearer).sqrt(),
        })
    }

    /// Tokens read and FLOPs of `steps` steps forth and back, `scored` of which ask for the examples' products. Steps that are
    /// taken again for want of memory do not count: how a result was stored is no part of what it cost.
    pub fn cost(&self, config: &ModelConfig, steps: usize, scored: usize) -> (u64, f64) {
        let mut cost = (0, 0.0);
        let mut add =
            |sequences: &dyn Sequences, i: usize, times: f64, flops: fn(&ModelConfig, usize) -> f64| {
                let width = sequences.get(i).len().saturating_sub(1);
                cost.0 += (times * width as f64) as u64;
                cost.1 += times * flops(config, width);
            };
        for step in 0..=steps {
            if step < steps {
                // Forth, and twice for the Hessian.
                let times = 3.0;
                let (sequences, chosen) = self.of_step(step);
                let read = chosen.iter().filter(|(_, weight)| *weight != 0.0);
                read.for_each(|&(i, _)| add(sequences, i, times, training_flops));
            }
            let targets = self.targets.at(step);
            for (i, _) in targets {
                add(&*self.targets.sequences, i, 1.0, training_flops);
            }
        }
        let times = 2.0 * scored as f64;
        (0..self.examples.len()).for_each(|i| add(&*self.examples, i, times, forward_flops));
        cost
    }
}

impl<N: Number> Training for DecoderTraining<'_, N> {
    type Number = N;

    fn parameters(&self) -> usize {
        self.model.parameters()
    }

    fn examples(&self) -> usize {
        self.examples.len()
    }

    fn loss(&mut self, step: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        let (sequences, chosen) = self.of_step(step);
        self.model.gradient(theta, sequences, &chosen, gradient)
    }

    fn target(&mut self, step: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        let chosen = self.targets.at(step);
        self.model
            .gradient(theta, &*self.targets.sequences, &chosen, gradient)
    }

    fn hessian(&mut self, step: usize, theta: &[N], v: &[N], product: &mut [N]) -> Result<()> {
        self.difference.hessian(self, step, theta, v, product)
    }

    fn products(&mut self, _: usize, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        self.difference.products(self, theta, v, products)
    }
}

impl<N: Number> ExampleLosses for DecoderTraining<'_, N> {
    fn losses(&mut self, theta: &[N], losses: &mut [f64]) -> Result<()> {
        self.model.losses(theta, &*self.examples, losses)
    }
}
