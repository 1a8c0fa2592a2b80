//! The perceptron of the learning law (sheet 2.7): o = σ(θ · z), logistic loss, everything in closed form.

use super::{Number, Training, Weighted};
use crate::Result;
use lyceum_kernels::{LabelledRows, RowElement, RowWeights};
use rayon::prelude::*;

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

    /// Each task's examples.
    fn tasks<'a>(
        &'a self,
        width: usize,
        weights: RowWeights<'a, N>,
    ) -> impl Iterator<Item = LabelledRows<'a, N>> {
        let labels = self.labels.chunks(TASK);
        let parts = labels.zip(self.inputs.chunks(TASK * width)).enumerate();
        parts.map(move |(task, (labels, inputs))| LabelledRows {
            inputs,
            labels,
            weights: match weights {
                RowWeights::Equal(weight) => RowWeights::Equal(weight),
                RowWeights::Each(weights) => {
                    RowWeights::Each(&weights[task * TASK..task * TASK + labels.len()])
                }
            },
        })
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

/// What `work` makes of every task, in order. A single task, or a single thread, is not worth waking anyone.
fn all<T: Send, R: Send>(tasks: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if tasks.len() < 2 || rayon::current_num_threads() < 2 {
        tasks.into_iter().map(work).collect()
    } else {
        tasks.into_par_iter().map(work).collect()
    }
}

/// The sum of the tasks' vectors, in f64.
fn sum<N: Number>(vectors: impl Iterator<Item = Vec<N>>, sum: &mut [N]) {
    let mut wide = vec![0.0; sum.len()];
    for vector in vectors {
        for (sum, x) in wide.iter_mut().zip(vector) {
            *sum += x.wide();
        }
    }
    for (sum, wide) in sum.iter_mut().zip(wide) {
        *sum = N::of(wide);
    }
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
        let weights = RowWeights::Equal(1.0 / examples.len() as f64);
        self.descend(examples, weights, theta, gradient)
    }

    /// Σ weight · loss over `examples`, with its gradient in `gradient`: one pass over the inputs.
    fn descend(
        &self,
        examples: &Examples<N>,
        weights: RowWeights<'_, N>,
        theta: &[N],
        gradient: &mut [N],
    ) -> f64 {
        let tasks = examples.tasks(self.width, weights).collect();
        let parts = all(tasks, |rows| {
            let mut vector = vec![N::default(); self.width];
            let loss = N::logistic_loss(rows, theta, &mut vector);
            (loss, vector)
        });
        let loss = parts.iter().map(|(loss, _)| loss).sum();
        sum(parts.into_iter().map(|(_, vector)| vector), gradient);
        loss
    }

    /// (p_n − y_n) ⟨v, z_n⟩ of the first training examples in `products`, and Σ_n weight_n p_n (1 − p_n) ⟨v, z_n⟩ z_n over them:
    /// one pass over the inputs.
    fn back(
        &self,
        weights: RowWeights<'_, N>,
        theta: &[N],
        v: &[N],
        products: &mut [f64],
        curvature: &mut [N],
    ) {
        let tasks = self.train.tasks(self.width, weights);
        let tasks = tasks.zip(products.chunks_mut(TASK)).collect();
        let parts = all(tasks, |(rows, products): (LabelledRows<'_, N>, &mut [f64])| {
            let mut vector = vec![N::default(); self.width];
            N::logistic_products(rows.first(products.len()), theta, v, products, &mut vector);
            vector
        });
        sum(parts.into_iter(), curvature);
    }
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
        let weights = RowWeights::Each(self.weights(step));
        Ok(self.descend(&self.train, weights, theta, gradient))
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
                let weights = RowWeights::Each(self.weights(step));
                self.back(weights, theta, v, &mut products, product);
            }
        }
        Ok(())
    }

    fn products(&mut self, step: usize, theta: &[N], v: &[N], products: &mut [f64]) -> Result<()> {
        let weights = RowWeights::Each(self.weights(step));
        let mut product = vec![N::default(); self.width];
        self.back(weights, theta, v, products, &mut product);
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
        let mut none = vec![N::default(); self.width];
        self.back(RowWeights::Equal(0.0), theta, v, products, &mut none);
        Ok(())
    }
}
