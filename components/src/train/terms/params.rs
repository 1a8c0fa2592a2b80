//! Terms as a user writes them.

use super::super::teacher::Teachers;
use super::DivergenceKind;
use super::Term;
use super::cross_entropy::CrossEntropy;
use super::divergence::DivergenceTerm;
use super::policy_gradient::PolicyGradientTerm;
use super::preference::PreferenceTerm;
use crate::Result;
use crate::component::Problem;
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One term of the loss, as a user writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TermParams {
    /// Negative log-likelihood of the next token.
    CrossEntropy(CrossEntropyTerm),
    /// `−Σ p log q`, with `p` the teacher's and `q` the model's distribution: forward KL and the teacher's entropy.
    SoftCe(DivergenceTerm),
    /// `KL(p‖q)`.
    ForwardKl(DivergenceTerm),
    /// `KL(q‖p)`.
    ReverseKl(DivergenceTerm),
    /// The Jensen-Shannon divergence, weighted by `beta`.
    Jsd(DivergenceTerm),
    /// `KL(p‖a·p + (1−a)·q)`, `a` being `skew`.
    SkewForwardKl(DivergenceTerm),
    /// `KL(q‖(1−a)·p + a·q)`.
    SkewReverseKl(DivergenceTerm),
    /// Total variation.
    Tv(DivergenceTerm),
    /// The policy gradient of responses that the model drew (`source = { kind = "rollouts" }`).
    PolicyGradient(PolicyGradientTerm),
    /// A teacher's responses, or likeliest tokens, preferred to the model's own (with `mode = "sequence"`:
    /// `source = { kind = "preferences" }`).
    Preference(PreferenceTerm),
}

/// Negative log-likelihood of the next token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrossEntropyTerm {
    /// Factor of this term.
    #[serde(default = "factor")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub weight: f64,
    /// How tokens are averaged.
    #[serde(default, skip_serializing_if = "Reduction::is_default")]
    pub reduction: Reduction,
    /// Tokens of its own that this term learns from, as many rows a step as the data gives; else the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Ref<reference::Blocks>>,
}

/// How the losses of a step's tokens become one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The mean over all tokens.
    #[default]
    TokenMean,
    /// The mean over rows of each row's mean.
    SequenceMean,
    /// The sum over all tokens.
    Sum,
}

impl Reduction {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

pub(super) fn factor() -> f64 {
    1.0
}

impl TermParams {
    /// Cross-entropy with a factor.
    pub fn cross_entropy(weight: f64) -> Self {
        Self::CrossEntropy(CrossEntropyTerm {
            weight,
            reduction: Reduction::default(),
            data: None,
        })
    }

    /// A divergence.
    pub fn divergence(kind: DivergenceKind, term: DivergenceTerm) -> Self {
        match kind {
            DivergenceKind::SoftCe => Self::SoftCe(term),
            DivergenceKind::ForwardKl => Self::ForwardKl(term),
            DivergenceKind::ReverseKl => Self::ReverseKl(term),
            DivergenceKind::Jsd => Self::Jsd(term),
            DivergenceKind::SkewForwardKl => Self::SkewForwardKl(term),
            DivergenceKind::SkewReverseKl => Self::SkewReverseKl(term),
            DivergenceKind::Tv => Self::Tv(term),
        }
    }

    /// Which divergence it is, if it is one.
    pub(crate) fn as_divergence(&self) -> Option<(DivergenceKind, &DivergenceTerm)> {
        match self {
            Self::CrossEntropy(_) | Self::PolicyGradient(_) | Self::Preference(_) => None,
            Self::SoftCe(term) => Some((DivergenceKind::SoftCe, term)),
            Self::ForwardKl(term) => Some((DivergenceKind::ForwardKl, term)),
            Self::ReverseKl(term) => Some((DivergenceKind::ReverseKl, term)),
            Self::Jsd(term) => Some((DivergenceKind::Jsd, term)),
            Self::SkewForwardKl(term) => Some((DivergenceKind::SkewForwardKl, term)),
            Self::SkewReverseKl(term) => Some((DivergenceKind::SkewReverseKl, term)),
            Self::Tv(term) => Some((DivergenceKind::Tv, term)),
        }
    }

    /// The teacher it asks, if it asks one.
    pub(crate) fn teacher(&self) -> Option<&str> {
        match self {
            Self::CrossEntropy(_) => None,
            Self::PolicyGradient(term) => Some(term.teacher.as_str()),
            Self::Preference(term) => Some(term.teacher.as_str()),
            _ => Some(self.as_divergence()?.1.teacher.as_str()),
        }
    }

    /// The tokens of its own, if it has any.
    pub(crate) fn data(&self) -> Option<&Ref<reference::Blocks>> {
        match self {
            Self::CrossEntropy(term) => term.data.as_ref(),
            Self::PolicyGradient(_) | Self::Preference(_) => None,
            _ => self.as_divergence()?.1.data.as_ref(),
        }
    }

    /// Mistakes that a schema cannot express, in the table called `field`.
    pub(crate) fn problems(&self, field: &str) -> Vec<Problem> {
        match (self, self.as_divergence()) {
            (_, Some((kind, term))) => term.problems(kind, field),
            (Self::PolicyGradient(term), None) => term.problems(field),
            (Self::Preference(term), None) => term.problems(field),
            _ => Vec::new(),
        }
    }

    /// The terms over `blocks`. A cross-entropy and a divergence look at the same logits: they become one.
    pub(crate) fn build_all(
        these: &[&Self],
        teachers: &mut Teachers,
        blocks: &Blocks,
    ) -> Result<Vec<Box<dyn Term>>> {
        if let [Self::CrossEntropy(entropy), other] = these
            && let Some((kind, term)) = other.as_divergence()
        {
            let oracle = teachers.oracle(term, kind, blocks)?;
            return Ok(vec![term.build(kind, oracle, Some(CrossEntropy::new(entropy)))]);
        }
        these.iter().map(|term| term.build(teachers, blocks)).collect()
    }

    /// The term, over `blocks`.
    fn build(&self, teachers: &mut Teachers, blocks: &Blocks) -> Result<Box<dyn Term>> {
        let mut model = |reference, policy| teachers.model(reference, policy, blocks);
        Ok(match self {
            Self::CrossEntropy(term) => Box::new(CrossEntropy::new(term)),
            Self::PolicyGradient(term) => term.build(model(&term.teacher, term.vocab_policy)?),
            Self::Preference(term) => term.build(model(&term.teacher, term.vocab_policy)?),
            Self::SoftCe(term)
            | Self::ForwardKl(term)
            | Self::ReverseKl(term)
            | Self::Jsd(term)
            | Self::SkewForwardKl(term)
            | Self::SkewReverseKl(term)
            | Self::Tv(term) => {
                let kind = self
                    .as_divergence()
                    .map_or(DivergenceKind::SoftCe, |(kind, _)| kind);
                term.build(kind, teachers.oracle(term, kind, blocks)?, None)
            }
        })
    }
}
