//! The policy gradient of responses that the model drew, with the exact gradient of the next step (MiniLLM).

use super::super::sources::{DrawnBatch, DrawnRow, Known};
use super::super::teacher::{TeacherModel, VocabularyPolicy};
use super::params::{Reduction, factor};
use super::{Pass, Term, TermLoss, number};
use crate::Result;
use crate::component::Problem;
use crate::distill::policy_gradient::{
    PolicyGradient, Recipe, Rollout, RolloutMetrics, Surrogate, Total, advantages,
};
use crate::distill::{Beside, of_likelihoods, of_likelihoods_beside};
use crate::reference::{self, Ref};
use burn::tensor::Tensor;
use lyceum_kernels::{Divergence, OfLikelihood, Teacher, linear_divergence};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Minus the advantage of every drawn token times how its probability grows, and the reverse KL of the next token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyGradientTerm {
    /// Factor of this term.
    #[serde(default = "factor")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub weight: f64,
    /// The teacher: that of the rollouts.
    pub teacher: Ref<reference::Model>,
    /// What to do about vocabularies of different sizes.
    #[serde(default)]
    pub vocab_policy: VocabularyPolicy,
    /// How it is formed.
    #[serde(default)]
    pub settings: PolicyGradient,
}

impl PolicyGradientTerm {
    /// What a schema cannot say: `no_objective`.
    pub(super) fn problems(&self, field: &str) -> Vec<Problem> {
        self.settings.problems(&format!("{field}.settings"))
    }

    /// The term.
    pub(super) fn build(&self, teacher: Arc<TeacherModel>) -> Box<dyn Term> {
        Box::new(Policy {
            weight: self.weight,
            enabled: self.settings.enabled,
            single_step: self.settings.single_step,
            recipe: self.settings.recipe(),
            teacher,
        })
    }
}

/// The term itself.
#[derive(Debug)]
struct Policy {
    weight: f64,
    enabled: bool,
    single_step: bool,
    recipe: Recipe,
    teacher: Arc<TeacherModel>,
}

/// What a batch of responses says of every response token, row-major `[rows, max_tokens]`.
struct Told {
    student: Vec<f64>,
    importance: Vec<f64>,
    advantage: Vec<f64>,
    metrics: Option<RolloutMetrics>,
}

impl Term for Policy {
    fn loss(&self, pass: &Pass) -> Result<TermLoss> {
        let Known::Drawn(drawn) = &pass.batch.known else {
            // Rows that nobody drew have no policy gradient; the next step's divergence they have.
            let (loss, value) = self.single_step(pass, pass.weights_n(Reduction::TokenMean));
            return Ok(TermLoss {
                loss: loss * self.weight,
                notes: vec![("reverse_kl", value)],
            });
        };
        let told = self.tell(drawn)?;
        let share = pass.share();
        let mut notes = Vec::new();
        if let Some(metrics) = told.metrics {
            notes.extend([
                ("reward_mean", share * metrics.reward_mean),
                ("rev_kl_k3", share * metrics.rev_kl_k3),
                ("w_mean", share * metrics.w_mean),
                ("length", share * metrics.length),
            ]);
        }
        let width = pass.batch.batch.width;
        let place = |of_response: &[f64]| pass.of_rows(in_batch(drawn, of_response, width));
        let weight = pass.of_rows(pass.weights.reduced(Reduction::TokenMean, width));
        let importance = place(&told.importance);
        let single = if self.recipe.weigh_single_step {
            weight
                .iter()
                .zip(&importance)
                .map(|(weight, w)| weight * w)
                .collect()
        } else {
            weight.clone()
        };
        let single_n = pass.tensor(single);
        if !self.enabled {
            let (loss, value) = self.single_step(pass, single_n);
            notes.push(("reverse_kl", value));
            return Ok(TermLoss {
                loss: loss * self.weight,
                notes,
            });
        }
        let surrogate = Arc::new(Surrogate {
            old_logp: place(&told.student),
            importance,
            advantage: place(&told.advantage),
            weight,
            clip: self.recipe.clip,
            clipping: self.recipe.clipping,
        });
        let labels_n = pass.labels_n.clone();
        let found = if self.single_step {
            let (student, teacher) = self.teacher.beside(pass);
            let beside = Beside {
                teacher: Teacher::Dense(teacher),
                divergence: Divergence::ReverseKl,
                weights_n: single_n.clone(),
            };
            let of = surrogate.clone();
            let derivative = OfLikelihood::new(move |row, logp| of.of_token(row, logp).by_logp);
            let value = |logp: &[f64]| {
                let total = surrogate.total(logp);
                (total.loss, total)
            };
            let (found, value_n) = of_likelihoods_beside(student, labels_n, beside, derivative, value);
            notes.push(("reverse_kl", number(&(value_n * single_n).sum())));
            found
        } else {
            let loss = |logp_n| surrogate.loss(logp_n);
            of_likelihoods(pass.projection(), labels_n, pass.products, loss)
        };
        let Total { loss, clip_fraction } = found.other;
        notes.push(("policy_gradient", loss));
        notes.push(("clip_fraction", share * clip_fraction));
        Ok(TermLoss {
            loss: found.loss * self.weight,
            notes,
        })
    }

    fn flops(&self, width: usize, passes: f64) -> f64 {
        if self.single_step {
            self.teacher.flops(width, passes)
        } else {
            0.0
        }
    }
}

impl Policy {
    /// The reverse KL of the next token at the visited prefixes, weighted; and its value.
    fn single_step(&self, pass: &Pass, weights_n: Tensor<1>) -> (Tensor<1>, f64) {
        let (student, teacher) = self.teacher.beside(pass);
        let teacher = Teacher::Dense(teacher);
        let found = linear_divergence(student, teacher, Divergence::ReverseKl, 1.0, weights_n);
        let value = number(&found.loss);
        (found.loss, value)
    }

    /// Rewards, importance weights and advantages of a batch.
    fn tell(&self, drawn: &DrawnBatch) -> Result<Told> {
        let width = drawn.max_tokens;
        let lay = |of: &dyn Fn(&DrawnRow) -> Option<&Vec<f32>>| -> Option<Vec<f64>> {
            let mut all = vec![0.0; drawn.rows.len() * width];
            for (row, all) in drawn.rows.iter().zip(all.chunks_mut(width)) {
                let values = of(row)?.iter();
                all.iter_mut()
                    .zip(values)
                    .for_each(|(place, value)| *place = f64::from(*value));
            }
            Some(all)
        };
        let student = lay(&|row| Some(&row.student)).unwrap_or_default();
        let teacher = lay(&|row| row.teacher.as_ref()).unwrap_or_else(|| student.clone());
        let teacher_drawn = lay(&|row| row.teacher_drawn.as_ref());
        let mut mask = vec![0.0; student.len()];
        for (row, mask) in drawn.rows.iter().zip(mask.chunks_mut(width)) {
            mask[..row.student.len()].fill(1.0);
        }
        let rollout = Rollout {
            width,
            mask: &mask,
            student: &student,
            teacher: &teacher,
            teacher_drawn: teacher_drawn.as_deref(),
        };
        rollout.check()?;
        let importance = rollout.importance(drawn.teacher_mix);
        let rewards = rollout.rewards(self.recipe.reward_scaling, self.recipe.reward_clip);
        let advantage = advantages(&self.recipe, &rewards, &mask, width);
        let metrics = RolloutMetrics::of(&rollout, &rewards, &importance);
        Ok(Told {
            student,
            importance,
            advantage,
            metrics,
        })
    }
}

/// Numbers of response tokens, `[rows, max_tokens]`, at the positions of a batch whose labels they are, `[rows, width]`.
fn in_batch(drawn: &DrawnBatch, of_response: &[f64], width: usize) -> Vec<f64> {
    let mut all = vec![0.0; drawn.rows.len() * width];
    let rows = drawn.rows.iter().zip(of_response.chunks(drawn.max_tokens));
    for ((row, values), all) in rows.zip(all.chunks_mut(width)) {
        let first = row.prompt as usize - 1;
        let places = all[first..].iter_mut().zip(&values[..row.student.len()]);
        places.for_each(|(place, value)| *place = *value);
    }
    all
}
