//! A two-layer language model in closed form: h = tanh(W1[prev] + b1), logits = h W2 + b2, with
//! θ = [W1 (v, h), b1 (h), W2 (h, v), b2 (v)]. Hessian products are Pearlmutter's R-operator by hand.

use lyceum_components::Result;
use lyceum_components::tokens::collate;
use lyceum_components::trajectory::{ExampleLosses, Number, Training};
use std::marker::PhantomData;

/// One scored pair of an instance, with its weight in the mean.
pub(crate) type Pair = (usize, usize, f64);

/// The scored pairs of each sequence.
pub(crate) fn pairs(sequences: &[Vec<u32>], width: usize, pad: u32) -> Vec<Vec<Pair>> {
    let one = |sequence: &Vec<u32>| {
        let batch = collate(&[sequence], width, pad).expect("a batch");
        let scored = batch.scored() as f64;
        let labelled = batch.inputs.iter().zip(&batch.labels).zip(&batch.mask);
        labelled
            .filter(|(_, mask)| **mask > 0.0)
            .map(|((prev, next), _)| (*prev as usize, *next as usize, 1.0 / scored))
            .collect()
    };
    sequences.iter().map(one).collect()
}

pub(crate) struct Mlp<N> {
    pub(crate) vocab: usize,
    pub(crate) hidden: usize,
    pub(crate) examples: Vec<Vec<Pair>>,
    pub(crate) target: Vec<Vec<Pair>>,
    /// γ of the examples in every step.
    pub(crate) weights: Vec<f64>,
    pub(crate) number: PhantomData<N>,
}

/// A parameter vector's parts.
struct Parts<'a> {
    w1: &'a [f64],
    b1: &'a [f64],
    w2: &'a [f64],
    b2: &'a [f64],
}

/// What a pair's forward pass leaves: h, softmax.
struct Forward {
    h: Vec<f64>,
    p: Vec<f64>,
}

impl<N: Number> Mlp<N> {
    fn parts<'a>(&self, theta: &'a [f64]) -> Parts<'a> {
        let (v, h) = (self.vocab, self.hidden);
        let (w1, rest) = theta.split_at(v * h);
        let (b1, rest) = rest.split_at(h);
        let (w2, b2) = rest.split_at(h * v);
        Parts { w1, b1, w2, b2 }
    }

    fn forward(&self, parts: &Parts, prev: usize) -> Forward {
        let (v, h) = (self.vocab, self.hidden);
        let hidden: Vec<f64> = (0..h)
            .map(|i| (parts.w1[prev * h + i] + parts.b1[i]).tanh())
            .collect();
        let logit = |j: usize| (0..h).map(|i| hidden[i] * parts.w2[i * v + j]).sum::<f64>() + parts.b2[j];
        let exp: Vec<f64> = (0..v).map(|j| logit(j).exp()).collect();
        let sum: f64 = exp.iter().sum();
        Forward {
            h: hidden,
            p: exp.into_iter().map(|e| e / sum).collect(),
        }
    }

    /// Σ weight · l, with its gradient, and along `direction` the gradient's derivative, added to the sums.
    fn add(
        &self,
        theta: &[f64],
        instance: &[Pair],
        weight: f64,
        gradient: &mut [f64],
        direction: Option<(&[f64], &mut [f64])>,
    ) -> f64 {
        let (v, h) = (self.vocab, self.hidden);
        let parts = self.parts(theta);
        let (at_b1, at_w2, at_b2) = (v * h, v * h + h, v * h + h + h * v);
        let mut along = direction.map(|(direction, sum)| (self.parts(direction), sum));
        let mut loss = 0.0;
        for &(prev, next, share) in instance {
            let weight = weight * share;
            let Forward { h: hidden, p } = self.forward(&parts, prev);
            loss -= weight * p[next].ln();
            let dz: Vec<f64> = (0..v)
                .map(|j| weight * (p[j] - f64::from(u8::from(j == next))))
                .collect();
            let dh: Vec<f64> = (0..h)
                .map(|i| (0..v).map(|j| parts.w2[i * v + j] * dz[j]).sum())
                .collect();
            for i in 0..h {
                let du = dh[i] * (1.0 - hidden[i] * hidden[i]);
                gradient[prev * h + i] += du;
                gradient[at_b1 + i] += du;
                (0..v).for_each(|j| gradient[at_w2 + i * v + j] += hidden[i] * dz[j]);
            }
            (0..v).for_each(|j| gradient[at_b2 + j] += dz[j]);
            let Some((by, sum)) = &mut along else { continue };
            let rh: Vec<f64> = (0..h)
                .map(|i| (1.0 - hidden[i] * hidden[i]) * (by.w1[prev * h + i] + by.b1[i]))
                .collect();
            let rz: Vec<f64> = (0..v)
                .map(|j| {
                    let inner = |i: usize| rh[i] * parts.w2[i * v + j] + hidden[i] * by.w2[i * v + j];
                    (0..h).map(inner).sum::<f64>() + by.b2[j]
                })
                .collect();
            let mean: f64 = (0..v).map(|j| p[j] * rz[j]).sum();
            let rdz: Vec<f64> = (0..v).map(|j| weight * p[j] * (rz[j] - mean)).collect();
            for i in 0..h {
                let rdh: f64 = (0..v)
                    .map(|j| by.w2[i * v + j] * dz[j] + parts.w2[i * v + j] * rdz[j])
                    .sum();
                let rdu = rdh * (1.0 - hidden[i] * hidden[i]) - 2.0 * dh[i] * hidden[i] * rh[i];
                sum[prev * h + i] += rdu;
                sum[at_b1 + i] += rdu;
                (0..v).for_each(|j| sum[at_w2 + i * v + j] += rh[i] * dz[j] + hidden[i] * rdz[j]);
            }
            (0..v).for_each(|j| sum[at_b2 + j] += rdz[j]);
        }
        loss
    }

    fn mean(&self, theta: &[N], weighted: &[(&Vec<Pair>, f64)], gradient: &mut [N]) -> f64 {
        let theta = wide(theta);
        let mut sums = vec![0.0; gradient.len()];
        let loss = weighted
            .iter()
            .map(|(instance, weight)| self.add(&theta, instance, *weight, &mut sums, None))
            .sum();
        narrow(&sums, gradient);
        loss
    }
}

fn wide<N: Number>(vector: &[N]) -> Vec<f64> {
    vector.iter().map(|x| x.wide()).collect()
}

fn narrow<N: Number>(from: &[f64], to: &mut [N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = N::of(*from);
    }
}

impl<N: Number> Training for Mlp<N> {
    type Number = N;

    fn parameters(&self) -> usize {
        2 * self.vocab * self.hidden + self.hidden + self.vocab
    }

    fn examples(&self) -> usize {
        self.examples.len()
    }

    fn loss(&mut self, _: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        let weighted: Vec<_> = self.examples.iter().zip(self.weights.iter().copied()).collect();
        Ok(self.mean(theta, &weighted, gradient))
    }

    fn target(&mut self, _: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        let weight = 1.0 / self.target.len() as f64;
        let weighted: Vec<_> = self.target.iter().map(|instance| (instance, weight)).collect();
        Ok(self.mean(theta, &weighted, gradient))
    }

    fn hessian(&mut self, _: usize, theta: &[N], v: &[N], product: &mut [N]) -> Result<()> {
        let (theta, v) = (wide(theta), wide(v));
        let (mut gradient, mut sums) = (vec![0.0; v.len()], vec![0.0; v.len()]);
        for (instance, weight) in self.examples.iter().zip(&self.weights) {
            self.add(
                &theta,
                instance,
                *weight,
                &mut gradient,
                Some((&v[..], &mut sums[..])),
            );
        }
        narrow(&sums, product);
        Ok(())
    }

    fn products(&mut self, _: usize, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        let (theta, v) = (wide(theta), wide(v));
        for (product, instance) in products.iter_mut().zip(&self.examples) {
            let mut gradient = vec![0.0; v.len()];
            self.add(&theta, instance, 1.0, &mut gradient, None);
            *product = gradient.iter().zip(&v).map(|(g, v)| g * v).sum();
        }
        Ok(())
    }
}

impl<N: Number> ExampleLosses for Mlp<N> {
    fn losses(&mut self, theta: &[N], losses: &mut [f64]) -> Result<()> {
        let theta = wide(theta);
        let mut gradient = vec![0.0; theta.len()];
        for (loss, instance) in losses.iter_mut().zip(&self.examples) {
            *loss = self.add(&theta, instance, 1.0, &mut gradient, None);
        }
        Ok(())
    }
}
