//! A bigram language model in closed form: θ[prev][next], p(next | prev) = softmax(θ[prev]).

use lyceum_components::Result;
use lyceum_components::tokens::collate;
use lyceum_components::trajectory::{Number, Training};
use std::marker::PhantomData;

/// Weights of (prev, next) pairs in an instance's mean loss, `[v, v]`.
pub(crate) type Counts = Vec<f64>;

/// The counts of each sequence, by the rule that batches are made by: what follows the pad token is not scored.
pub(crate) fn counts(sequences: &[Vec<u32>], width: usize, pad: u32, vocab: usize) -> Vec<Counts> {
    let one = |sequence: &Vec<u32>| {
        let batch = collate(&[sequence], width, pad).expect("a batch");
        let scored = batch.scored() as f64;
        let mut counts = vec![0.0; vocab * vocab];
        for ((prev, next), mask) in batch.inputs.iter().zip(&batch.labels).zip(&batch.mask) {
            counts[*prev as usize * vocab + *next as usize] += f64::from(*mask) / scored;
        }
        counts
    };
    sequences.iter().map(one).collect()
}

pub(crate) struct Bigram<N> {
    pub(crate) vocab: usize,
    pub(crate) batches: Vec<Vec<Counts>>,
    pub(crate) target: Vec<Counts>,
    pub(crate) examples: Vec<Counts>,
    /// Weights of the examples in every step.
    pub(crate) weights: Vec<f64>,
    pub(crate) number: PhantomData<N>,
}

impl<N: Number> Bigram<N> {
    /// log p, `[v, v]`.
    fn logs(&self, theta: &[N]) -> Vec<f64> {
        let rows = theta.chunks(self.vocab).flat_map(|row| {
            let row: Vec<f64> = row.iter().map(|x| x.wide()).collect();
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.into_iter().map(move |x| x - sum.ln()).collect::<Vec<_>>()
        });
        rows.collect()
    }

    /// Σ weight · l, with its gradient added to `gradient`.
    fn add(&self, logs: &[f64], weighted: &[(&Counts, f64)], gradient: &mut [f64]) -> f64 {
        let v = self.vocab;
        let mut loss = 0.0;
        for (counts, weight) in weighted {
            for prev in 0..v {
                let row = prev * v..(prev + 1) * v;
                let mass: f64 = counts[row.clone()].iter().sum();
                for i in row {
                    loss -= weight * counts[i] * logs[i];
                    gradient[i] += weight * (mass * logs[i].exp() - counts[i]);
                }
            }
        }
        loss
    }

    fn mean(counts: &[Counts]) -> Vec<(&Counts, f64)> {
        let weight = 1.0 / counts.len() as f64;
        counts.iter().map(|counts| (counts, weight)).collect()
    }

    fn of_step(&self, step: usize) -> Vec<(&Counts, f64)> {
        let mut all = Self::mean(&self.batches[step]);
        all.extend(self.examples.iter().zip(self.weights.iter().copied()));
        all
    }

    fn evaluate(&self, theta: &[N], weighted: &[(&Counts, f64)], gradient: &mut [N]) -> f64 {
        let mut sums = vec![0.0; gradient.len()];
        let loss = self.add(&self.logs(theta), weighted, &mut sums);
        for (gradient, sum) in gradient.iter_mut().zip(sums) {
            *gradient = N::of(sum);
        }
        loss
    }
}

impl<N: Number> Training for Bigram<N> {
    type Number = N;

    fn parameters(&self) -> usize {
        self.vocab * self.vocab
    }

    fn examples(&self) -> usize {
        self.examples.len()
    }

    fn loss(&mut self, step: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        Ok(self.evaluate(theta, &self.of_step(step), gradient))
    }

    fn target(&mut self, _: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        Ok(self.evaluate(theta, &Self::mean(&self.target), gradient))
    }

    /// Row by row: mass · (diag p − p pᵀ) v.
    fn hessian(&mut self, step: usize, theta: &[N], v: &[N], product: &mut [N]) -> Result<()> {
        let (logs, width) = (self.logs(theta), self.vocab);
        let mut sums = vec![0.0; product.len()];
        for (counts, weight) in self.of_step(step) {
            for prev in 0..width {
                let row = prev * width..(prev + 1) * width;
                let mass: f64 = weight * counts[row.clone()].iter().sum::<f64>();
                let mean: f64 = row.clone().map(|i| logs[i].exp() * v[i].wide()).sum();
                row.for_each(|i| sums[i] += mass * logs[i].exp() * (v[i].wide() - mean));
            }
        }
        for (product, sum) in product.iter_mut().zip(sums) {
            *product = N::of(sum);
        }
        Ok(())
    }

    fn products(&mut self, _: usize, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        let logs = self.logs(theta);
        for (product, counts) in products.iter_mut().zip(&self.examples) {
            let mut gradient = vec![0.0; v.len()];
            self.add(&logs, &[(counts, 1.0)], &mut gradient);
            *product = gradient.iter().zip(v).map(|(g, v)| g * v.wide()).sum();
        }
        Ok(())
    }
}
