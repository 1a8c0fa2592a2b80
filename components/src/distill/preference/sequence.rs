//! Preferences among whole sequences. Shape letters: `m` pairs, `n` rows (sequences × positions).

use super::{Form, Rule};
use crate::distill::likelihoods::with_derivative;
use burn::tensor::Tensor;

/// One side of every pair.
#[derive(Debug, Clone)]
pub struct Side {
    /// Log-likelihood of the sequence under the student, summed over its tokens, in nats, `[m]`; in the graph.
    pub logq_m: Tensor<1>,
    /// The same under the teacher, a constant; not looked at where there is no reference.
    pub logp_m: Tensor<1>,
    /// Number of tokens, the end included, `[m]`; at least 1.
    pub tokens_m: Tensor<1>,
}

/// What [`sequence_preference`] gives.
#[derive(Debug, Clone)]
pub struct SequencePreference {
    /// `Σ_m weight_m · loss_m`, of shape `[1]`, differentiable by both sides' log-likelihoods.
    pub loss: Tensor<1>,
    /// The loss of every pair, outside the graph like all that follows.
    pub loss_m: Tensor<1>,
    /// The margin of every pair, as its loss sees it; above 0 the preferred one is ahead.
    pub margin_m: Tensor<1>,
    /// Implicit rewards `β·log(q/p)` of the preferred sequences, by length where the rule says so.
    pub chosen_reward_m: Tensor<1>,
    /// The same of the others.
    pub rejected_reward_m: Tensor<1>,
}

/// Summed log-likelihoods of sequences, `[n / width]`, from those of their tokens, `[n]`; tokens where `mask_n` is 0 do not
/// count. Differentiable by `logp_n`.
pub fn sequence_log_likelihoods(logp_n: Tensor<1>, mask_n: &Tensor<1>, width: usize) -> Tensor<1> {
    let unused_n = mask_n.clone().without_autodiff().equal_elem(0.0);
    let unused_n = if logp_n.device().is_autodiff() {
        unused_n.autodiff()
    } else {
        unused_n
    };
    let rows = logp_n.dims()[0] / width;
    let counted_n = logp_n.mask_fill(unused_n, 0.0);
    counted_n.reshape([rows, width]).sum_dim(1).squeeze_dim(1)
}

/// The loss of preferring each chosen sequence to the rejected one.
///
/// # Shapes
/// Those of [`Side`]; `weight_m`: `[m]`, 1 / number of pairs for their mean.
pub fn sequence_preference(
    chosen: &Side,
    rejected: &Side,
    rule: &Rule,
    weight_m: Tensor<1>,
) -> SequencePreference {
    let weight_m = weight_m.without_autodiff();
    let part = |side: &Side| {
        let plain = |tensor: &Tensor<1>| tensor.clone().without_autodiff();
        let scale_m = if rule.length_norm {
            plain(&side.tokens_m).recip()
        } else {
            side.tokens_m.ones_like().without_autodiff()
        };
        let logq_m = plain(&side.logq_m);
        let ratio_m = if rule.with_teacher {
            logq_m.clone() - plain(&side.logp_m)
        } else {
            logq_m.clone()
        };
        (logq_m, ratio_m * scale_m.clone(), scale_m)
    };
    let (logq_m, chosen_m, chosen_scale_m) = part(chosen);
    let (_, rejected_m, rejected_scale_m) = part(rejected);
    let scale = rule.scale();
    let margin_m = (chosen_m.clone() - rejected_m.clone()) * scale - rule.margin;
    let (mut loss_m, by_margin_m) = rule.of_margin(margin_m.clone());
    let by_margin_m = by_margin_m * scale;
    let mut by_chosen_m = by_margin_m.clone() * chosen_scale_m.clone();
    if rule.form == Form::Cpo {
        loss_m = loss_m - logq_m * chosen_scale_m.clone();
        by_chosen_m = by_chosen_m - chosen_scale_m;
    }
    let by_rejected_m = (by_margin_m * rejected_scale_m).neg();
    let value = (loss_m.clone() * weight_m.clone()).sum();
    let nothing = value.zeros_like();
    let by_chosen = with_derivative(value, chosen.logq_m.clone(), by_chosen_m * weight_m.clone());
    let by_rejected = with_derivative(nothing, rejected.logq_m.clone(), by_rejected_m * weight_m);
    SequencePreference {
        loss: by_chosen + by_rejected,
        loss_m,
        margin_m,
        chosen_reward_m: chosen_m * rule.beta,
        rejected_reward_m: rejected_m * rule.beta,
    }
}
