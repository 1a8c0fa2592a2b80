//! A teacher's responses, or likeliest tokens, preferred to the model's own (DPKD).

use super::super::sources::{Known, PreferredBatch};
use super::super::teacher::{TeacherModel, VocabularyPolicy};
use super::params::{Reduction, factor};
use super::{Pass, Term, TermLoss, number};
use crate::component::Problem;
use crate::distill::of_likelihoods;
use crate::distill::preference::{
    Preference, PreferenceMode, Rule, SequencePreference, Side, sequence_preference, token_preference,
};
use crate::reference::{self, Ref};
use crate::{Error, Result};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorCreationOptions, TensorData};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The teacher's response, or its likeliest token at each position, preferred to the model's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreferenceTerm {
    /// Factor of this term.
    #[serde(default = "factor")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub weight: f64,
    /// The teacher.
    pub teacher: Ref<reference::Model>,
    /// What to do about vocabularies of different sizes.
    #[serde(default)]
    pub vocab_policy: VocabularyPolicy,
    /// The comparison.
    #[serde(default)]
    pub settings: Preference,
    /// With `mode = "sequence"`: factor of the cross-entropy with the preferred responses, beside the comparison.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub response_ce: f64,
}

impl PreferenceTerm {
    /// What a schema cannot say.
    pub(super) fn problems(&self, field: &str) -> Vec<Problem> {
        self.settings.problems(&format!("{field}.settings"))
    }

    /// The term.
    pub(super) fn build(&self, teacher: Arc<TeacherModel>) -> Box<dyn Term> {
        let rule = self.settings.rule();
        match self.settings.mode {
            PreferenceMode::Sequence => Box::new(OfSequences {
                weight: self.weight,
                rule,
                response_ce: self.response_ce,
            }),
            PreferenceMode::Token => Box::new(OfTokens {
                weight: self.weight,
                rule,
                teacher,
            }),
        }
    }
}

/// Preferences between the teacher's likeliest token and the model's, position by position.
#[derive(Debug)]
struct OfTokens {
    weight: f64,
    rule: Rule,
    teacher: Arc<TeacherModel>,
}

impl Term for OfTokens {
    fn loss(&self, pass: &Pass) -> Result<TermLoss> {
        let (student, teacher) = self.teacher.beside(pass);
        let weight_n = pass.weights_n(Reduction::TokenMean);
        let width = pass.batch.batch.width;
        let found = token_preference(
            &student,
            &teacher,
            &self.rule,
            weight_n.clone(),
            width,
            pass.products,
        )?;
        let agree_n = found
            .chosen_n
            .equal(found.rejected_n)
            .float()
            .cast(weight_n.dtype());
        let notes = vec![
            ("preference", number(&found.loss)),
            ("margin_mean", number(&(found.margin_n * weight_n.clone()).sum())),
            ("agree_fraction", number(&(agree_n * weight_n).sum())),
        ];
        Ok(TermLoss {
            loss: found.loss * self.weight,
            notes,
        })
    }

    fn wants_all(&self) -> bool {
        // Lengths are those of whole rows.
        self.rule.legacy_trim
    }

    fn flops(&self, width: usize, passes: f64) -> f64 {
        self.teacher.flops(width, passes)
    }
}

/// Preferences between whole responses.
#[derive(Debug)]
struct OfSequences {
    weight: f64,
    rule: Rule,
    response_ce: f64,
}

/// What a comparison of a pass's responses found, `m` pairs.
struct Compared {
    found: SequencePreference,
    logq_m2: [Tensor<1>; 2],
    weight_m: Tensor<1>,
}

impl Term for OfSequences {
    fn loss(&self, pass: &Pass) -> Result<TermLoss> {
        let Known::Preferred(preferred) = &pass.batch.known else {
            return Err(Error::data(
                "missing_key",
                "whole responses are compared where `source` gives them in pairs",
            )
            .hint("set `source = { kind = \"preferences\", teacher = \"@teacher\" }`"));
        };
        let found = of_likelihoods(
            pass.projection(),
            pass.labels_n.clone(),
            pass.products,
            |logp_n| {
                let compared = self.compare(pass, preferred, logp_n.clone());
                let loss = compared.found.loss.clone();
                let loss = if self.response_ce > 0.0 {
                    loss + chosen_entropy(pass, logp_n) * self.response_ce
                } else {
                    loss
                };
                (loss, compared)
            },
        );
        let Compared {
            found: compared,
            logq_m2: [chosen_m, rejected_m],
            weight_m,
        } = found.other;
        let mean = |of_m: Tensor<1>| number(&(of_m.without_autodiff() * weight_m.clone()).sum());
        let ahead_m = compared.margin_m.clone().greater_elem(0.0).float();
        let notes = vec![
            ("preference", number(&compared.loss)),
            ("win_rate", mean(ahead_m.cast(weight_m.dtype()))),
            ("margin_mean", mean(compared.margin_m)),
            ("logq_chosen", mean(chosen_m)),
            ("logq_rejected", mean(rejected_m)),
            ("reward_chosen", mean(compared.chosen_reward_m)),
            ("reward_rejected", mean(compared.rejected_reward_m)),
            ("dropped_equal_pairs", preferred.dropped as f64 * pass.share()),
        ];
        Ok(TermLoss {
            loss: found.loss * self.weight,
            notes,
        })
    }
}

impl OfSequences {
    /// Compares the responses of a pass, whose tokens have these log-likelihoods.
    fn compare(&self, pass: &Pass, preferred: &PreferredBatch, logp_n: Tensor<1>) -> Compared {
        let (rows, width) = (pass.batch.batch.rows, pass.batch.batch.width);
        let constant = |values: Vec<f64>| {
            let options = TensorCreationOptions::new(pass.hidden_nd.device().without_autodiff())
                .with_dtype(pass.hidden_nd.dtype());
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), options)
        };
        let places: Vec<usize> = pass.places().collect();
        let row_n: Vec<i64> = places.iter().map(|place| (place / width) as i64).collect();
        let count = row_n.len();
        let row_n = Tensor::<1, Int>::from_data(TensorData::new(row_n, [count]), &logp_n.device());
        let sums_b = Tensor::<1>::zeros([rows], (&logp_n.device(), logp_n.dtype()));
        let logq_b = sums_b.scatter(0, row_n, logp_n, IndexingUpdateOp::Add);
        let logq_m2 = logq_b.reshape([rows / 2, 2]);
        let side = |which: usize| {
            let of = |values: &dyn Fn(usize) -> f64| constant((which..rows).step_by(2).map(values).collect());
            let tokens = |row: usize| places.iter().filter(|place| *place / width == row).count() as f64;
            Side {
                logq_m: logq_m2.clone().narrow(1, which, 1).squeeze_dim(1),
                logp_m: of(&|row| preferred.teacher[row]),
                tokens_m: of(&tokens),
            }
        };
        let (chosen, rejected) = (side(0), side(1));
        // A pair counts as its prompt does.
        let weights = pass
            .batch
            .row_weights
            .iter()
            .step_by(2)
            .map(|weight| f64::from(*weight));
        let total: f64 = weights.clone().sum();
        let weight_m = constant(weights.map(|weight| weight / total * pass.share()).collect());
        let found = sequence_preference(&chosen, &rejected, &self.rule, weight_m.clone());
        Compared {
            found,
            logq_m2: [chosen.logq_m, rejected.logq_m].map(Tensor::without_autodiff),
            weight_m,
        }
    }
}

/// The mean over the preferred responses' tokens of their negative log-likelihood.
fn chosen_entropy(pass: &Pass, logp_n: Tensor<1>) -> Tensor<1> {
    let width = pass.batch.batch.width;
    let chosen = |place: &usize| (place / width).is_multiple_of(2);
    let mut of_all = vec![0.0; pass.weights.of_tokens.len()];
    let counted: Vec<usize> = pass.places().filter(chosen).collect();
    let weights = &pass.weights.of_tokens;
    let total: f64 = counted.iter().map(|&place| f64::from(weights[place])).sum();
    for &place in &counted {
        of_all[place] = f64::from(weights[place]) / total * pass.share();
    }
    let weight_n = pass.tensor(pass.of_rows(of_all));
    let weight_n = if logp_n.device().is_autodiff() {
        weight_n.autodiff()
    } else {
        weight_n
    };
    (logp_n * weight_n).sum().neg()
}
