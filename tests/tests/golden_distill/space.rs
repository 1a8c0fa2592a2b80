//! A space of sequences small enough to be counted out: three tokens, of which 0 ends a sequence, at most three of them, and
//! logits of their own for every prefix.

use crate::fixture::{host, ids, tensor, through_identity, vector};
use burn::tensor::{DType, Tensor};
use lyceum_components::distill::of_likelihoods;
use lyceum_components::distill::policy_gradient::{
    Clipping, Recipe, Rollout, Start, Surrogate, Whiten, advantages,
};
use lyceum_kernels::{Divergence, Products, Projection, Teacher, linear_divergence, linear_nll};
use lyceum_tests::Node;

/// Places of a sequence.
pub(crate) const WIDTH: usize = 3;
/// Tokens.
pub(crate) const V: usize = 3;

/// All prefixes, and all sequences by the places of their tokens.
pub(crate) struct Space {
    pub(crate) prefixes: Vec<Vec<i64>>,
    pub(crate) sequences: Vec<Vec<i64>>,
    /// Row-major `[sequences, WIDTH]`.
    pub(crate) mask: Vec<f32>,
    /// The row of logits that each token is drawn by; 0 behind an end, as the token.
    rows: Vec<i64>,
    targets: Vec<i64>,
}

/// What stands on a token's contribution besides its probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Importance {
    One,
    Token,
    Prefix,
    Whole,
}

/// An estimate of the gradient of the reverse KL, from sequences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimator {
    /// The return that multiplies a token's score, if there is one.
    pub(crate) start: Option<Start>,
    /// Taken off the return.
    pub(crate) baseline: f64,
    pub(crate) length_norm: bool,
    pub(crate) importance: Importance,
    /// Whether the exact single step stands beside it.
    pub(crate) single: bool,
}

impl Space {
    pub(crate) fn read(root: &Node) -> Self {
        let prefixes: Vec<Vec<i64>> = root.get("prefixes").read();
        let sequences: Vec<Vec<i64>> = root.get("sequences").read();
        let (mut mask, mut rows, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in &sequences {
            for t in 0..WIDTH {
                let inside = t < sequence.len();
                let prefix = &sequence[..t.min(sequence.len())];
                let row = prefixes.iter().position(|known| known == prefix);
                mask.push(if inside { 1.0 } else { 0.0 });
                rows.push(row.filter(|_| inside).unwrap_or_default() as i64);
                targets.push(sequence.get(t).copied().unwrap_or_default());
            }
        }
        Self {
            prefixes,
            sequences,
            mask,
            rows,
            targets,
        }
    }

    /// The table of logits, `[prefixes, V]`, and what its rows at all places are as a projection.
    pub(crate) fn projection(&self, table: &[f64], tracked: bool) -> (Tensor<2>, Projection) {
        let table = tensor(table, [self.prefixes.len(), V], DType::F64, tracked);
        let rows = if tracked {
            ids(&self.rows).autodiff()
        } else {
            ids(&self.rows)
        };
        (table.clone(), through_identity(table.select(0, rows)))
    }

    /// Log-likelihood of the token at every place; 0 behind an end.
    pub(crate) fn log_likelihoods(&self, table: &[f64]) -> Vec<f64> {
        let Projection {
            hidden_nd, head_vd, ..
        } = self.projection(table, false).1;
        let logs = host(linear_nll(hidden_nd, head_vd, None, ids(&self.targets), Products::Full).neg());
        let places = logs.iter().zip(&self.mask);
        places.map(|(log, mask)| log * f64::from(*mask)).collect()
    }

    /// Probability of every sequence, from log-likelihoods of its tokens.
    #[expect(clippy::unused_self, reason = "it reads like the space's other functions")]
    pub(crate) fn probabilities(&self, logs: &[f64]) -> Vec<f64> {
        logs.chunks(WIDTH)
            .map(|row| row.iter().sum::<f64>().exp())
            .collect()
    }

    /// A loss of the log-likelihoods of whole sequences, and its gradient by the table.
    pub(crate) fn of_sequences(
        &self,
        table: &[f64],
        loss: impl FnOnce(Tensor<1>) -> Tensor<1>,
    ) -> (f64, Vec<f64>) {
        let (table, projection) = self.projection(table, true);
        let mask: Vec<f64> = self.mask.iter().map(|mask| f64::from(*mask)).collect();
        let found = of_likelihoods(projection, ids(&self.targets), Products::Full, |logp_n| {
            let counted = logp_n * vector(&mask, DType::F64).autodiff();
            let sums = counted.reshape([self.sequences.len(), WIDTH]).sum_dim(1);
            (loss(sums.squeeze_dim::<1>(1)), ())
        });
        let gradients = found.loss.clone().backward();
        let gradient = table.grad(&gradients).expect("the table has a gradient");
        (host(found.loss.without_autodiff())[0], host(gradient))
    }

    /// The reverse KL of all sequences and its gradient by the student's logits.
    pub(crate) fn reverse_kl(&self, student: &[f64], teacher: &[f64]) -> (f64, Vec<f64>) {
        let teacher: Vec<f64> = self.probabilities(&self.log_likelihoods(teacher));
        let log_p: Vec<f64> = teacher.iter().map(|p| p.ln()).collect();
        self.of_sequences(student, |log_q| {
            (log_q.clone().exp() * (log_q - vector(&log_p, DType::F64).autodiff())).sum()
        })
    }

    /// What an estimator makes of the sequences, each counted as `weights` says; the gradient by the student's logits.
    pub(crate) fn estimate(
        &self,
        [student, teacher]: [&[f64]; 2],
        teacher_mix: f64,
        estimator: Estimator,
        weights: &[f64],
    ) -> Vec<f64> {
        let (log_q, log_p) = (self.log_likelihoods(student), self.log_likelihoods(teacher));
        let rollout = Rollout {
            width: WIDTH,
            mask: &self.mask,
            student: &log_q,
            teacher: &log_p,
            teacher_drawn: Some(&log_p),
        };
        let importance = self.importance(&rollout.importance(teacher_mix), estimator.importance);
        let weights: Vec<f64> = (0..self.mask.len())
            .map(|place| weights[place / WIDTH] * f64::from(self.mask[place]))
            .collect();
        let (table, projection) = self.projection(student, true);
        let mut losses = Vec::new();
        if let Some(start) = estimator.start {
            let recipe = Recipe {
                gamma: 1.0,
                start,
                length_norm: estimator.length_norm,
                whiten: Whiten::None,
                clip: f64::INFINITY,
                clipping: Clipping::Ratio,
                reward_scaling: 1.0,
                reward_clip: f64::INFINITY,
                weigh_single_step: true,
            };
            let rewards = rollout.rewards(recipe.reward_scaling, recipe.reward_clip);
            let mut advantages = advantages(&recipe, &rewards, &self.mask, WIDTH);
            for advantage in &mut advantages {
                *advantage -= estimator.baseline;
            }
            let surrogate = Surrogate {
                old_logp: log_q,
                importance: importance.clone(),
                advantage: advantages,
                weight: weights.clone(),
                clip: recipe.clip,
                clipping: recipe.clipping,
            };
            let found = of_likelihoods(projection.clone(), ids(&self.targets), Products::Full, |logp_n| {
                surrogate.loss(logp_n)
            });
            losses.push(found.loss);
        }
        if estimator.single {
            let weights: Vec<f64> = weights
                .iter()
                .zip(&importance)
                .map(|(weight, w)| weight * w)
                .collect();
            let teacher = Teacher::Dense(self.projection(teacher, false).1);
            let weights = vector(&weights, DType::F64);
            losses.push(linear_divergence(projection, teacher, Divergence::ReverseKl, 1.0, weights).loss);
        }
        let loss = losses.into_iter().reduce(|sum, loss| sum + loss);
        let gradients = loss.expect("an estimator has a part").backward();
        host(table.grad(&gradients).expect("the table has a gradient"))
    }

    /// Weights of the tokens, made into what the estimator wants.
    #[expect(clippy::unused_self, reason = "it reads like the space's other functions")]
    fn importance(&self, tokens: &[f64], of: Importance) -> Vec<f64> {
        let rows = tokens.chunks(WIDTH);
        rows.flat_map(|row| {
            let product = |places: &[f64]| places.iter().product::<f64>();
            (0..WIDTH).map(move |t| match of {
                Importance::One => 1.0,
                Importance::Token => row[t],
                Importance::Prefix => product(&row[..=t]),
                Importance::Whole => product(row),
            })
        })
        .collect()
    }
}

/// The largest difference of two gradients.
pub(crate) fn distance(left: &[f64], right: &[f64]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max)
}
