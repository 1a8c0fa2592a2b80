//! The divergences there are.

use lyceum_kernels::Divergence;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which divergence. `p` is the teacher's distribution, `q` the student's (MiniLLM, sheet section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DivergenceKind {
    /// `−Σ p log q`: forward KL and the teacher's entropy.
    SoftCe,
    /// `KL(p‖q)`.
    ForwardKl,
    /// `KL(q‖p)`.
    ReverseKl,
    /// `β·KL(p‖m) + (1−β)·KL(q‖m)` with `m = β·p + (1−β)·q`.
    Jsd,
    /// `KL(p‖a·p + (1−a)·q)`.
    SkewForwardKl,
    /// `KL(q‖(1−a)·p + a·q)`.
    SkewReverseKl,
    /// `½·Σ|p − q|`.
    Tv,
}

impl DivergenceKind {
    /// As a user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SoftCe => "soft_ce",
            Self::ForwardKl => "forward_kl",
            Self::ReverseKl => "reverse_kl",
            Self::Jsd => "jsd",
            Self::SkewForwardKl => "skew_forward_kl",
            Self::SkewReverseKl => "skew_reverse_kl",
            Self::Tv => "tv",
        }
    }

    /// The kernels' name for it, with `beta` and `skew` where it has them: ½ and 0.1 where left out.
    pub(crate) fn of(self, beta: Option<f64>, skew: Option<f64>) -> Divergence {
        let skew = skew.unwrap_or(0.1);
        match self {
            Self::SoftCe => Divergence::SoftCrossEntropy,
            Self::ForwardKl => Divergence::ForwardKl,
            Self::ReverseKl => Divergence::ReverseKl,
            Self::Jsd => Divergence::JensenShannon {
                beta: beta.unwrap_or(0.5),
            },
            Self::SkewForwardKl => Divergence::SkewForwardKl { skew },
            Self::SkewReverseKl => Divergence::SkewReverseKl { skew },
            Self::Tv => Divergence::TotalVariation,
        }
    }
}
