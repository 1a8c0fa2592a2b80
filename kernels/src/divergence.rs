//! Divergences between a teacher's and a student's next-token distributions, through their output heads and in chunks of
//! rows: logits of all rows are never held at once.

use std::fmt;
use std::sync::Arc;

use burn::backend::Dispatch;
use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::flex::{self, Plain};
use crate::linear::widened;
use crate::projection::Projection;

mod compare;
mod fused;
mod reference;
#[cfg(test)]
mod tests;

pub(crate) use fused::{FlexLabels, flex_dense, flex_top_k};

/// How far a student's distribution `q` is from a teacher's `p`: `Σ_v` of what each kind says (MiniLLM, Gu et al. 2024;
/// skewed: DistiLLM, Ko et al. 2024; Jensen-Shannon: GKD, Agarwal et al. 2024).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Divergence {
    /// `−p·log q`: forward KL and the teacher's entropy.
    SoftCrossEntropy,
    /// `p·(log p − log q)`.
    ForwardKl,
    /// `q·(log q − log p)`.
    ReverseKl,
    /// `β·KL(p‖m) + (1−β)·KL(q‖m)` with `m = β·p + (1−β)·q`, `0 < β < 1`. It goes to zero at both ends.
    JensenShannon {
        /// Weight of `KL(p‖m)`.
        beta: f64,
    },
    /// `KL(p‖a·p + (1−a)·q)`, `0 ≤ a < 1`.
    SkewForwardKl {
        /// `a`.
        skew: f64,
    },
    /// `KL(q‖(1−a)·p + a·q)`, `0 ≤ a < 1`.
    SkewReverseKl {
        /// `a`.
        skew: f64,
    },
    /// `½·|p − q|`; its gradient is zero where they are equal.
    TotalVariation,
}

impl Divergence {
    /// Whether it looks at the student's distribution only where the teacher has probability.
    pub fn is_forward(self) -> bool {
        matches!(
            self,
            Self::SoftCrossEntropy | Self::ForwardKl | Self::SkewForwardKl { .. }
        )
    }

    /// The same divergence without a skew of zero, whose mixture would be one of the two.
    fn plain(self) -> Self {
        match self {
            Self::SkewForwardKl { skew: 0.0 } => Self::ForwardKl,
            Self::SkewReverseKl { skew: 0.0 } => Self::ReverseKl,
            other => other,
        }
    }
}

/// Where a teacher's distributions come from. No gradient reaches them.
#[derive(Debug, Clone)]
pub enum Teacher {
    /// Its own hidden states, of any width, and its head, over the student's vocabulary. The head may be bfloat16: it is
    /// widened for the call.
    Dense(Projection),
    /// Its likeliest tokens, as a cache keeps them. All others are one outcome, for teacher and student alike: the
    /// divergence is that of the distributions over `k + 1` outcomes. Probabilities made to sum to one, and none for
    /// the tail, leave it out of the forward divergences; reverse KL is infinite then.
    TopK {
        /// Ids, each once in its row, `[n, k]`.
        ids_nk: Tensor<2, Int>,
        /// Their log-probabilities in nats, at the divergence's temperature, `[n, k]`.
        log_p_nk: Tensor<2>,
        /// Log-probability of all other tokens together, `[n]`; not read where `k` is the whole vocabulary.
        log_tail_n: Tensor<1>,
    },
}

/// What [`linear_divergence`] gives.
#[derive(Debug, Clone)]
pub struct LinearDivergence {
    /// `Σ_n weight_n · value_n`, differentiable, of shape `[1]`.
    pub loss: Tensor<1>,
    /// The divergence at every row, in nats (total variation: a probability), outside the graph.
    pub value_n: Tensor<1>,
}

/// What is to be said besides: tokens, whose negative log-likelihoods count too.
#[derive(Debug, Clone)]
pub struct Labels {
    /// Ids, `[n]`.
    pub targets_n: Tensor<1, Int>,
    /// What they count.
    pub counts: Counts,
}

/// What the negative log-likelihoods of labels count.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a pass has one")]
pub enum Counts {
    /// So much each, `[n]`; constants.
    Known(Tensor<1>),
    /// What a loss makes of them.
    Of(OfLikelihood),
}

/// A sum over labels of functions of their log-likelihoods, by its derivatives: of the label at a row, and its
/// log-likelihood in nats.
#[derive(Clone)]
pub struct OfLikelihood(Arc<dyn Fn(usize, f64) -> f64 + Send + Sync>);

impl OfLikelihood {
    /// The loss with these derivatives.
    pub fn new(derivative: impl Fn(usize, f64) -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(derivative))
    }

    /// What the negative log-likelihood at a row counts.
    pub(crate) fn count(&self, row: usize, logp: f64) -> f64 {
        -(self.0)(row, logp)
    }
}

impl fmt::Debug for OfLikelihood {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("OfLikelihood")
    }
}

/// What [`linear_divergence_and_labels`] gives.
#[derive(Debug, Clone)]
pub struct LabelledDivergence {
    /// `Σ_n weight_n · value_n + Σ_n count_n · nll_n`, differentiable, of shape `[1]`. Where counts are what a loss makes of
    /// likelihoods, the second sum is not in its value, but that loss's gradient is in its gradient.
    pub loss: Tensor<1>,
    /// The divergence at every row, outside the graph.
    pub value_n: Tensor<1>,
    /// Negative log-likelihood of every label in nats, at temperature 1, outside the graph.
    pub nll_n: Tensor<1>,
}

/// Which divergence, and at which temperature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) divergence: Divergence,
    pub(crate) temperature: f64,
    /// Whether gradients are wanted, or only values.
    pub(crate) gradients: bool,
}

/// Weighted divergence of the student's distributions from the teacher's, both `softmax(logits / temperature)`.
///
/// Gradients reach the student's hidden states, head and bias; the weights are constants. They are worked out together with
/// the value, chunk by chunk, as in [`linear_cross_entropy`](crate::linear_cross_entropy). No factor `temperature²` is put in: weights may hold one.
///
/// # Shapes
/// Those of [`Projection`] and [`Teacher`]; `weights_n`: `[n]`.
pub fn linear_divergence(
    student: Projection,
    teacher: Teacher,
    divergence: Divergence,
    temperature: f64,
    weights_n: Tensor<1>,
) -> LinearDivergence {
    let settings = Settings::new(&student, divergence, temperature);
    let LabelledDivergence { loss, value_n, .. } = joined(student, teacher, settings, weights_n, None);
    LinearDivergence { loss, value_n }
}

/// [`linear_divergence`] at temperature 1 and a cross-entropy added up: the student's logits, and the gradients that come of
/// them, are worked out once.
///
/// # Shapes
/// As there, and those of [`Labels`].
pub fn linear_divergence_and_labels(
    student: Projection,
    teacher: Teacher,
    divergence: Divergence,
    weights_n: Tensor<1>,
    labels: Labels,
) -> LabelledDivergence {
    let settings = Settings::new(&student, divergence, 1.0);
    joined(student, teacher, settings, weights_n, Some(labels))
}

impl OfLikelihood {
    /// What the negative log-likelihoods of rows from `first` on count, `[n]`, outside any graph.
    fn counts(&self, first: usize, nll_n: Tensor<1>) -> Tensor<1> {
        let options = (&nll_n.device(), nll_n.dtype());
        let nll = nll_n.clone().into_data();
        let counts: Vec<f64> = nll
            .iter::<f64>()
            .enumerate()
            .map(|(i, nll)| self.count(first + i, -nll))
            .collect();
        let n = counts.len();
        Tensor::from_data(TensorData::new(counts, [n]), options)
    }
}

impl Settings {
    fn new(student: &Projection, divergence: Divergence, temperature: f64) -> Self {
        assert!(temperature > 0.0, "a temperature is positive");
        Self {
            divergence: divergence.plain(),
            temperature,
            gradients: student.hidden_nd.device().is_autodiff(),
        }
    }
}

/// The divergence and, where there are labels, their likelihoods.
fn joined(
    student: Projection,
    teacher: Teacher,
    settings: Settings,
    weights_n: Tensor<1>,
    labels: Option<Labels>,
) -> LabelledDivergence {
    let weights_n = weights_n.without_autodiff();
    let labels = labels.map(|labels| Labels {
        targets_n: labels.targets_n.without_autodiff(),
        counts: match labels.counts {
            Counts::Known(weights_n) => Counts::Known(weights_n.without_autodiff()),
            of @ Counts::Of(_) => of,
        },
    });
    let plain = student.clone().without_autodiff();
    let found = values(
        plain,
        teacher.untracked(),
        settings,
        weights_n.clone(),
        labels.clone(),
    );
    let mut value = (found.value_n.clone() * weights_n).sum();
    if let Some(Labels {
        counts: Counts::Known(weights_n),
        ..
    }) = labels
    {
        value = value + (found.nll_n.clone() * weights_n).sum();
    }
    LabelledDivergence {
        loss: match found.by {
            Some(by) => student.with_gradients(value, by),
            None => value,
        },
        value_n: found.value_n,
        nll_n: found.nll_n,
    }
}

/// What is worked out of all rows; without labels `nll_n` is empty.
struct Found {
    value_n: Tensor<1>,
    nll_n: Tensor<1>,
    /// Gradients of the weighted sum, where they are wanted.
    by: Option<Projection>,
}

/// The divergence at every row, the labels' likelihoods and, where they are wanted, the weighted sum's gradients.
fn values(
    student: Projection,
    teacher: Teacher,
    settings: Settings,
    weights_n: Tensor<1>,
    labels: Option<Labels>,
) -> Found {
    let wide = student.head_vd.dtype() == DType::F32;
    if !flex::is_fused(&student.hidden_nd) || !wide {
        return reference::values(&student, &teacher, settings, &weights_n, labels.as_ref());
    }
    let biased = student.bias_v.is_some();
    let bias_v = flex::or_empty(student.bias_v, &student.hidden_nd);
    let device = student.hidden_nd.device();
    let none_n = || Tensor::zeros([0], (&device, DType::F32));
    let (targets_n, label_weights_n, of) = match labels {
        Some(Labels { targets_n, counts }) => match counts {
            Counts::Known(weights_n) => (targets_n, widened(weights_n, DType::F32), None),
            Counts::Of(loss) => (targets_n, none_n(), Some(loss)),
        },
        None => (Tensor::zeros([0], &device), none_n(), None),
    };
    let [hidden, head, bias, weights] = [
        student.hidden_nd.into_dispatch(),
        student.head_vd.into_dispatch(),
        bias_v.into_dispatch(),
        weights_n.into_dispatch(),
    ];
    let (targets, label_weights) = (targets_n.into_dispatch(), label_weights_n.into_dispatch());
    let (value_n, nll_n, by_hidden, by_head, by_bias) = match teacher {
        Teacher::Dense(teacher) => {
            let bias_v = flex::or_empty(teacher.bias_v, &teacher.hidden_nd);
            Dispatch::fused_divergence(
                hidden,
                head,
                bias,
                weights,
                targets,
                label_weights,
                widened(teacher.hidden_nd, DType::F32).into_dispatch(),
                widened(teacher.head_vd, DType::F32).into_dispatch(),
                widened(bias_v, DType::F32).into_dispatch(),
                settings,
                of,
            )
        }
        Teacher::TopK {
            ids_nk,
            log_p_nk,
            log_tail_n,
        } => Dispatch::fused_divergence_top_k(
            hidden,
            head,
            bias,
            weights,
            targets,
            label_weights,
            ids_nk.into_dispatch(),
            widened(log_p_nk, DType::F32).into_dispatch(),
            widened(log_tail_n, DType::F32).into_dispatch(),
            settings,
            of,
        ),
    };
    let by = settings.gradients.then(|| Projection {
        hidden_nd: Tensor::from_dispatch(by_hidden),
        head_vd: Tensor::from_dispatch(by_head),
        bias_v: biased.then(|| Tensor::from_dispatch(by_bias)),
    });
    Found {
        value_n: Tensor::from_dispatch(value_n),
        nll_n: Tensor::from_dispatch(nll_n),
        by,
    }
}

impl Teacher {
    /// The same outside any graph.
    fn untracked(self) -> Self {
        match self {
            Self::Dense(projection) => Self::Dense(projection.without_autodiff()),
            Self::TopK {
                ids_nk,
                log_p_nk,
                log_tail_n,
            } => Self::TopK {
                ids_nk: ids_nk.without_autodiff(),
                log_p_nk: log_p_nk.without_autodiff(),
                log_tail_n: log_tail_n.without_autodiff(),
            },
        }
    }
}
