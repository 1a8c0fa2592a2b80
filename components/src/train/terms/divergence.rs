//! How far the student's distributions are from a teacher's.

use super::super::teacher::{Oracle, VocabularyPolicy};
use super::params::{Reduction, factor};
use super::{CrossEntropy, DivergenceKind, Pass, Term, TermLoss, number};
use crate::Result;
use crate::component::Problem;
use crate::distill::{Tail, cache_problems};
use crate::reference::{self, Ref};
use burn::tensor::Tensor;
use lyceum_kernels::{
    Counts, Divergence, Labels, Products, Projection, Teacher, linear_divergence,
    linear_divergence_and_labels,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A divergence from a teacher, averaged over the tokens that count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DivergenceTerm {
    /// Factor of this term.
    #[serde(default = "factor")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub weight: f64,
    /// The teacher: a model with the student's tokenizer, or what one said of the data (`distill.teacher_cache`).
    pub teacher: Ref<reference::Teaching>,
    /// Of a cache: what becomes of the probability that its tokens leave.
    #[serde(default, skip_serializing_if = "is_bucket")]
    pub tail: Tail,
    /// Weight of `KL(p‖m)`, strictly between 0 and 1; for `jsd` alone, 0.5 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Share of the other distribution in the mixture, from 0 to below 1; for the skewed ones alone, 0.1 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew: Option<f64>,
    /// Divides the logits of both.
    #[serde(default = "factor")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// Multiplies by the temperature squared, so that gradients keep their size.
    #[serde(default)]
    pub tau_squared: bool,
    /// How tokens are averaged.
    #[serde(default)]
    pub reduction: Reduction,
    /// What to do about vocabularies of different sizes.
    #[serde(default)]
    pub vocab_policy: VocabularyPolicy,
    /// Tokens of its own that this term learns from, as many rows a step as the data gives; else the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Ref<reference::Blocks>>,
}

impl DivergenceTerm {
    /// From a teacher, with every default.
    pub fn new(teacher: Ref<reference::Teaching>) -> Self {
        Self {
            weight: 1.0,
            teacher,
            tail: Tail::default(),
            beta: None,
            skew: None,
            temperature: 1.0,
            tau_squared: false,
            reduction: Reduction::default(),
            vocab_policy: VocabularyPolicy::default(),
            data: None,
        }
    }

    /// What a schema cannot say: `out_of_range`, `unused_key`.
    pub(super) fn problems(&self, kind: DivergenceKind, field: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, code, message: String, hint: &str| {
            problems.push(Problem {
                field: format!("{field}.{key}"),
                code,
                message,
                hint: Some(hint.to_owned()),
            });
        };
        let name = kind.name();
        match self.beta {
            Some(_) if kind != DivergenceKind::Jsd => {
                let message = format!("`{name}` has no `beta`");
                wrong(
                    "beta",
                    "unused_key",
                    message,
                    "take it out, or set `kind = \"jsd\"`",
                );
            }
            Some(beta) if beta <= 0.0 || beta >= 1.0 => {
                let message = format!("`beta` is {beta}; expected a number strictly between 0 and 1");
                let hint = if beta <= 0.0 {
                    "at 0 this divergence is 0 everywhere: for forward KL set `kind = \"forward_kl\"`"
                } else {
                    "at 1 this divergence is 0 everywhere: for reverse KL set `kind = \"reverse_kl\"`"
                };
                wrong("beta", "out_of_range", message, hint);
            }
            _ => {}
        }
        let skewed = matches!(
            kind,
            DivergenceKind::SkewForwardKl | DivergenceKind::SkewReverseKl
        );
        match self.skew {
            Some(_) if !skewed => {
                let message = format!("`{name}` has no `skew`");
                wrong(
                    "skew",
                    "unused_key",
                    message,
                    "take it out, or take a skewed kind",
                );
            }
            Some(skew) if !(0.0..1.0).contains(&skew) => {
                let message = format!("`skew` is {skew}; expected at least 0 and below 1");
                wrong("skew", "out_of_range", message, "DistiLLM's value is 0.1");
            }
            _ => {}
        }
        problems
    }

    /// The kernels' name for it.
    fn divergence(&self, kind: DivergenceKind) -> Divergence {
        kind.of(self.beta, self.skew)
    }

    /// What is wrong with it if its teacher is a cache; `field` is its path, and `fixed_text` says whether the training's own
    /// text is known before it.
    pub(crate) fn cache_problems(&self, kind: DivergenceKind, field: &str, fixed_text: bool) -> Vec<Problem> {
        let named = (kind.name(), self.divergence(kind));
        cache_problems(field, self.tail, named, fixed_text || self.data.is_some())
    }

    /// The term; beside it, if there is one, the cross-entropy of the same rows, whose logits are the same.
    pub(super) fn build(
        &self,
        kind: DivergenceKind,
        oracle: Oracle,
        labels: Option<CrossEntropy>,
    ) -> Box<dyn Term> {
        let squared = if self.tau_squared {
            self.temperature * self.temperature
        } else {
            1.0
        };
        Box::new(FromTeacher {
            kind,
            divergence: self.divergence(kind),
            factor: self.weight * squared,
            temperature: self.temperature,
            reduction: self.reduction,
            oracle,
            labels,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_bucket(tail: &Tail) -> bool {
    *tail == Tail::Bucket
}

/// The term itself.
#[derive(Debug)]
struct FromTeacher {
    kind: DivergenceKind,
    divergence: Divergence,
    factor: f64,
    temperature: f64,
    reduction: Reduction,
    oracle: Oracle,
    labels: Option<CrossEntropy>,
}

impl FromTeacher {
    /// The divergence.
    fn alone(&self, pass: &Pass, student: Projection, teacher: Teacher, weights_n: Tensor<1>) -> TermLoss {
        let found = linear_divergence(student, teacher, self.divergence, self.temperature, weights_n);
        TermLoss::named(pass, self.kind.name(), found.loss, self.factor)
    }

    /// The divergence and the cross-entropy.
    fn joined(
        &self,
        pass: &Pass,
        student: Projection,
        teacher: Teacher,
        weights_n: Tensor<1>,
        entropy: &CrossEntropy,
    ) -> TermLoss {
        let entropy_n = entropy.weights_n(pass);
        let labels = Labels {
            targets_n: pass.labels_n.clone(),
            counts: Counts::Known(entropy_n.clone() * entropy.weight()),
        };
        let scaled_n = weights_n.clone() * self.factor;
        let found = linear_divergence_and_labels(student, teacher, self.divergence, scaled_n, labels);
        let notes = [
            ("cross_entropy", found.nll_n, entropy_n),
            (self.kind.name(), found.value_n, weights_n),
        ];
        let note = |(name, value_n, weights_n): (_, Tensor<1>, Tensor<1>)| {
            (name, number(&(value_n.without_autodiff() * weights_n).sum()))
        };
        TermLoss {
            loss: found.loss,
            notes: notes.into_iter().filter(|_| pass.noted).map(note).collect(),
        }
    }
}

impl Term for FromTeacher {
    fn loss(&self, pass: &Pass) -> Result<TermLoss> {
        let (student, teacher) = match &self.oracle {
            Oracle::Model(teacher) => {
                let (student, teacher) = teacher.beside(pass);
                (student, Teacher::Dense(teacher))
            }
            Oracle::Cache(cache) => {
                let width = pass.batch.batch.width;
                let counts = &pass.weights.of_tokens;
                let place = |place: usize| {
                    let row = pass.batch.blocks[place / width];
                    (counts[place] > 0.0).then_some((row, (place % width) as u64))
                };
                let places: Vec<_> = pass.places().map(place).collect();
                let device = pass.hidden_nd.device().without_autodiff();
                let teacher = cache.teacher(&places, &device, pass.hidden_nd.dtype())?;
                (pass.projection(), teacher)
            }
        };
        let weights_n = pass.weights_n(self.reduction);
        let Some(labels) = &self.labels else {
            return Ok(self.alone(pass, student, teacher, weights_n));
        };
        // Logits of one kind over one vocabulary are worked out once.
        let same = pass.products == Products::Full && student.head_vd.dims() == pass.head_vd.dims();
        if same && self.temperature == 1.0 {
            return Ok(self.joined(pass, student, teacher, weights_n, labels));
        }
        let entropy = labels.loss(pass)?;
        let own = self.alone(pass, student, teacher, weights_n);
        Ok(TermLoss {
            loss: entropy.loss + own.loss,
            notes: entropy.notes.into_iter().chain(own.notes).collect(),
        })
    }

    fn parts(&self) -> usize {
        1 + usize::from(self.labels.is_some())
    }

    fn flops(&self, width: usize, passes: f64) -> f64 {
        match &self.oracle {
            Oracle::Model(teacher) => teacher.flops(width, passes),
            Oracle::Cache(_) => 0.0,
        }
    }
}
