//! The perceptron of the learning law (sheet 2.7): o = σ(θ · z), logistic loss, everything in closed form.

use super::{Number, Training, Weighted};
use crate::Result;
use lyceum_kernels::RowElement;
use rayon::prelude::*;

/// Rows that stay in the cache between their products and their sum.
const ROWS: usize = 32;
/// Rows of one task. Sums are formed task by task and added in order, whatever the number of threads.
const TASK: usize = 1024;

/// Labelled inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples<N> {
    /// `[n, d]`.
    pub inputs: Vec<N>,
    /// 0 or 1, `[n]`.
    pub labels: Vec<f64>,
}

impl<N> Examples<N> {
    /// n.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Full-batch gradient descent of a perceptron under weights γ_t of the training examples at every step t.
#[derive(Debug, Clone)]
pub struct Perceptron<N> {
    /// d.
    pub width: usize,
    /// What is trained on, and whose worth is asked.
    pub train: Examples<N>,
    /// What the training is judged by: the mean loss over these.
    pub target: Examples<N>,
    /// Of the same law as the target; nothing is decided by it.
    pub test: Examples<N>,
    /// γ, `[steps, n]`, each row on the simplex.
    pub policy: Vec<N>,
    /// ∇²L_t(θ) v of what [`Training::products`] was last asked for.
    curvature: Option<Curvature<N>>,
}

/// A Hessian's product, and of what it is.
#[derive(Debug, Clone)]
struct Curvature<N> {
    step: usize,
    theta: Vec<N>,
    v: Vec<N>,
    product: Vec<N>,
}

/// What a pass over the examples adds up.
#[derive(Clone)]
struct Sums<N> {
    loss: f64,
    vector: Vec<N>,
}

/// σ(s), and −[y ln σ(s) + (1 − y) ln(1 − σ(s))] without overflow.
fn judge(s: f64, y: f64) -> (f64, f64) {
    let e = (-s.abs()).exp();
    let p = if s >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
    (p, s.max(0.0) + e.ln_1p() - y * s)
}

impl<N: Number + RowElement> Perceptron<N> {
    /// A perceptron trained for `steps` steps under equal weights.
    pub fn new(width: usize, [train, target, test]: [Examples<N>; 3], steps: usize) -> Self {
        let equal = N::of(1.0 / train.len() as f64);
        Self {
            policy: vec![equal; steps * train.len()],
            width,
            train,
            target,
            test,
            curvature: None,
        }
    }

    /// The mean loss over `examples`, with its gradient in `gradient`.
    pub fn mean(&self, examples: &Examples<N>, theta: &[N], gradient: &mut [N]) -> f64 {
        let share = 1.0 / examples.len() as f64;
        self.descend(examples, theta, gradient, |_| share)
    }

    /// Σ weight · loss over `examples`, with its gradient in `gradient`: one pass over the inputs.
    fn descend(
        &self,
        examples: &Examples<N>,
        theta: &[N],
        gradient: &mut [N],
        weight: impl Fn(usize) -> f64 + Sync,
    ) -> f64 {
        let task = |first: usize| {
            let last = (first + TASK).min(examples.len());
            let mut sums = Sums {
                loss: 0.0,
                vector: vec![N::default(); self.width],
            };
            let (mut s, mut r) = ([0.0; ROWS], [N::default(); ROWS]);
            for start in (first..last).step_by(ROWS) {
                let count = ROWS.min(last - start);
                if (start..start + count).all(|n| weight(n) == 0.0) {
                    continue;
                }
                let rows = &examples.inputs[start * self.width..(start + count) * self.width];
                N::rows_times(rows, theta, &mut s[..count]);
                for (i, r) in r[..count].iter_mut().enumerate() {
                    let (weight, y) = (weight(start + i), examples.labels[start + i]);
                    let (p, loss) = judge(s[i], y);
                    sums.loss += weight * loss;
                    *r = N::of(weight * (p - y));
                }
                N::add_rows(rows, &r[..count], &mut sums.vector);
            }
            sums
        };
        let sums = self.sum(examples.len(), task);
        gradient.copy_from_slice(&sums.vector);
        sums.loss
    }

    /// The sums of all tasks, in order.
    fn sum(&self, examples: usize, task: impl Fn(usize) -> Sums<N> + Send + Sync) -> Sums<N> {
        let firsts: Vec<usize> = (0..examples).step_by(TASK).collect();
        let parts: Vec<Sums<N>> = firsts.into_par_iter().map(task).collect();
        let mut loss = 0.0;
        let mut wide = vec![0.0; self.width];
        for part in parts {
            loss += part.loss;
            for (sum, x) in wide.iter_mut().zip(part.vector) {
                *sum += x.wide();
            }
        }
        Sums {
            loss,
            vector: wide.into_iter().map(N::of).collect(),
        }
    }

    /// These products, and Σ_n weight_n p_n (1 − p_n) ⟨v, z_n⟩ z_n: one pass over the inputs.
    fn back(
        &self,
        theta: &[N],
        v: &[N],
        products: &mut [f64],
        weight: impl Fn(usize) -> f64 + Sync,
    ) -> Vec<N> {
        let examples = &self.train;
        let task = |(first, products): (usize, &mut [f64])| {
            let mut vector = vec![N::default(); self.width];
            let (mut s, mut u, mut r) = ([0.0; ROWS], [0.0; ROWS], [N::default(); ROWS]);
            for (start, products) in (first..).step_by(ROWS).zip(products.chunks_mut(ROWS)) {
                let count = products.len();
                let rows = &examples.inputs[start * self.width..(start + count) * self.width];
                N::rows_times(rows, theta, &mut s[..count]);
                N::rows_times(rows, v, &mut u[..count]);
                let mut used = false;
                for (i, product) in products.iter_mut().enumerate() {
                    let p = sigmoid(s[i]);
                    *product = (p - examples.labels[start + i]) * u[i];
                    let factor = weight(start + i) * p * (1.0 - p) * u[i];
                    used |= factor != 0.0;
                    r[i] = N::of(factor);
                }
                if used {
                    N::add_rows(rows, &r[..count], &mut vector);
                }
            }
            vector
        };
        let parts: Vec<Vec<N>> = products
            .par_chunks_mut(TASK)
            .enumerate()
            .map(|(number, products)| task((number * TASK, products)))
            .collect();
        let mut wide = vec![0.0; self.width];
        for part in parts {
            for (sum, x) in wide.iter_mut().zip(part) {
                *sum += x.wide();
            }
        }
        wide.into_iter().map(N::of).collect()
    }
}

fn sigmoid(s: f64) -> f64 {
    let e = (-s.abs()).exp();
    if s >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

impl<N: Number + RowElement> Training for Perceptron<N> {
    type Number = N;

    fn parameters(&self) -> usize {
        self.width
    }

    fn examples(&self) -> usize {
        self.train.len()
    }

    fn loss(&mut self, step: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        let weights = self.weights(step);
        Ok(self.descend(&self.train, theta, gradient, |n| weights[n].wide()))
    }

    fn target(&mut self, _: usize, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        Ok(self.mean(&self.target, theta, gradient))
    }

    fn hessian(&mut self, step: usize, theta: &[N], v: &[N], product: &mut [N]) -> Result<()> {
        let known = self.curvature.take();
        let known = known.filter(|known| known.step == step && known.theta == theta && known.v == v);
        match known {
            Some(known) => product.copy_from_slice(&known.product),
            None => {
                let mut products = vec![0.0; self.train.len()];
                let weights = self.weights(step);
                product.copy_from_slice(&self.back(theta, v, &mut products, |n| weights[n].wide()));
            }
        }
        Ok(())
    }

    fn products(&mut self, step: usize, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        let weights = self.weights(step);
        let product = self.back(theta, v, products, |n| weights[n].wide());
        // Asked of fewer examples than there are, it is not the whole sum.
        self.curvature = (products.len() == self.train.len()).then(|| Curvature {
            step,
            theta: theta.to_vec(),
            v: v.to_vec(),
            product,
        });
        Ok(())
    }
}

impl<N: Number + RowElement> Weighted for Perceptron<N> {
    fn policy(&self) -> &[N] {
        &self.policy
    }

    fn policy_mut(&mut self) -> &mut [N] {
        self.curvature = None;
        &mut self.policy
    }

    fn test(&mut self, theta: &[N], gradient: &mut [N]) -> Result<f64> {
        Ok(self.mean(&self.test, theta, gradient))
    }

    /// (p_n − y_n) ⟨v, z_n⟩.
    fn contributions(&mut self, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        self.back(theta, v, products, |_| 0.0);
        Ok(())
    }
}
