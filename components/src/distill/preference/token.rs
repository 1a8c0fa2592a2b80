//! Preferences among likeliest tokens. Shape letters: `n` rows (batch × positions), `d` width, `v` vocabulary.

use super::{Form, Rule};
use crate::distill::likelihoods::{of_likelihoods, with_derivative};
use crate::{Error, Result};
use burn::tensor::{Int, Tensor, TensorData};
use lyceum_kernels::{Products, Projection, linear_argmax, linear_nll};

/// Positions that a trimmed length is taken relative to.
const LEGACY_WIDTH: f64 = 256.0;

/// What [`token_preference`] gives.
#[derive(Debug, Clone)]
pub struct TokenPreference {
    /// `Σ_n weight_n · loss_n`, of shape `[1]`, differentiable by the student's hidden states, head and bias.
    pub loss: Tensor<1>,
    /// The loss of every row, outside the graph like all that follows.
    pub loss_n: Tensor<1>,
    /// The margin of every row without β, never above 0 where the teacher is the reference.
    pub margin_n: Tensor<1>,
    /// The teacher's likeliest token.
    pub chosen_n: Tensor<1, Int>,
    /// The student's.
    pub rejected_n: Tensor<1, Int>,
}

/// The loss of preferring, at every row, the teacher's likeliest token to the student's own: of the first, where several are.
///
/// Normalisers cancel in the margin `(z[y_t] − z[y_s]) − (u[y_t] − u[y_s])` of the student's logits `z` and the teacher's `u`,
/// so four of them are all that is looked at. Where both find the same token likeliest there is no gradient.
///
/// # Shapes
/// Those of [`Projection`], over one vocabulary; `weight_n`: `[n]`, 0 for rows that do not count. `width`: positions of one
/// sequence, for trimmed lengths; of these the rows that do not count are a part.
///
/// # Errors
/// `degenerate_length`: with `legacy_trim`, a row whose likeliest tokens are all the same.
pub fn token_preference(
    student: &Projection,
    teacher: &Projection,
    rule: &Rule,
    weight_n: Tensor<1>,
    width: usize,
    products: Products,
) -> Result<TokenPreference> {
    let rejected_n = linear_argmax(student.clone(), products);
    let chosen_n = linear_argmax(teacher.clone(), products);
    let agree_n = chosen_n.clone().equal(rejected_n.clone());
    let mut weight_n = weight_n.without_autodiff();
    if rule.legacy_trim {
        let inverse = inverse_lengths(&rejected_n, width)?;
        let inverse = TensorData::new(inverse, weight_n.dims());
        weight_n = weight_n.clone() * Tensor::from_data(inverse, (&weight_n.device(), weight_n.dtype()));
    }
    let ahead_n = lead(student, &chosen_n, &rejected_n);
    let mut margin_n = ahead_n.clone().without_autodiff();
    if rule.with_teacher {
        margin_n = margin_n - lead(teacher, &chosen_n, &rejected_n).without_autodiff();
    }
    let (loss_n, by_margin_n) = rule.of_margin(margin_n.clone() * rule.scale());
    let by_ahead_n = (by_margin_n * rule.scale() * weight_n.clone()).mask_fill(agree_n, 0.0);
    let value = (loss_n.clone() * weight_n.clone()).sum();
    let found = TokenPreference {
        loss: with_derivative(value, ahead_n, by_ahead_n),
        loss_n,
        margin_n,
        chosen_n,
        rejected_n,
    };
    Ok(if rule.form == Form::Dpop {
        found.with_floor(student, teacher, rule.dpop_lambda, &weight_n, products)
    } else {
        found
    })
}

impl TokenPreference {
    /// With `λ·max(0, log p(y_t) − log q(y_t))` added.
    fn with_floor(
        mut self,
        student: &Projection,
        teacher: &Projection,
        lambda: f64,
        weight_n: &Tensor<1>,
        products: Products,
    ) -> Self {
        let logp_n = self.log_likelihoods(teacher, products);
        let floor = of_likelihoods(student.clone(), self.chosen_n.clone(), products, |logq_n| {
            let short_n = (logp_n - logq_n.clone().without_autodiff()).clamp_min(0.0);
            let by_logq_n = short_n.zeros_like() - lambda;
            let by_logq_n = by_logq_n.mask_fill(short_n.clone().lower_equal_elem(0.0), 0.0);
            let lost_n = short_n * lambda;
            let value = (lost_n.clone() * weight_n.clone()).sum();
            (
                with_derivative(value, logq_n, by_logq_n * weight_n.clone()),
                lost_n,
            )
        });
        self.loss = self.loss + floor.loss;
        self.loss_n = self.loss_n + floor.other;
        self
    }

    /// Implicit rewards `β·log(q/p)` of the teacher's likeliest token and of the student's, outside the graph. They look at
    /// both distributions once more.
    pub fn rewards(
        &self,
        student: &Projection,
        teacher: &Projection,
        beta: f64,
        products: Products,
    ) -> [Tensor<1>; 2] {
        let chosen_n = self.log_likelihoods(student, products) - self.log_likelihoods(teacher, products);
        // What the student's own token has more is what the four logits say.
        let between_n = lead(student, &self.rejected_n, &self.chosen_n).without_autodiff()
            - lead(teacher, &self.rejected_n, &self.chosen_n).without_autodiff();
        [chosen_n.clone() * beta, (chosen_n + between_n) * beta]
    }

    /// Log-likelihood of the teacher's likeliest token, outside the graph.
    fn log_likelihoods(&self, of: &Projection, products: Products) -> Tensor<1> {
        let Projection {
            hidden_nd,
            head_vd,
            bias_v,
        } = of.clone();
        linear_nll(hidden_nd, head_vd, bias_v, self.chosen_n.clone(), products).neg()
    }
}

/// How far the logit of `first_n` is above that of `second_n` at every row, from two rows of the head.
fn lead(of: &Projection, first_n: &Tensor<1, Int>, second_n: &Tensor<1, Int>) -> Tensor<1> {
    let placed = |ids: &Tensor<1, Int>, autodiff: bool| {
        if autodiff {
            ids.clone().autodiff()
        } else {
            ids.clone()
        }
    };
    let tracked = of.hidden_nd.device().is_autodiff();
    let (first_n, second_n) = (placed(first_n, tracked), placed(second_n, tracked));
    let dtype = of.hidden_nd.dtype();
    let rows = |ids: Tensor<1, Int>| of.head_vd.clone().select(0, ids).cast(dtype);
    let between_nd = rows(first_n.clone()) - rows(second_n.clone());
    let lead_n = (of.hidden_nd.clone() * between_nd).sum_dim(1).squeeze_dim::<1>(1);
    match &of.bias_v {
        None => lead_n,
        Some(bias_v) => lead_n + bias_v.clone().select(0, first_n) - bias_v.clone().select(0, second_n),
    }
}

/// What is left of a row when the run of equal ids at its end is cut off, all of it.
pub fn trimmed_length(ids: &[i64]) -> usize {
    let last = ids.last();
    ids.len() - ids.iter().rev().take_while(|id| Some(*id) == last).count()
}

/// For every row of the batch, the inverse of its sequence's trimmed length, relative to 256.
fn inverse_lengths(ids_n: &Tensor<1, Int>, width: usize) -> Result<Vec<f64>> {
    let ids: Vec<i64> = ids_n.clone().into_data().iter::<i64>().collect();
    let mut inverse = Vec::with_capacity(ids.len());
    for (row, ids) in ids.chunks(width).enumerate() {
        let length = trimmed_length(ids);
        if length == 0 {
            let message =
                "the student finds one token likeliest at every place: nothing is left to divide by";
            return Err(Error::data("degenerate_length", message)
                .at(format!("row {row} of the batch"))
                .hint("leave `legacy_trim` out, or train the student on labels first"));
        }
        inverse.extend(std::iter::repeat_n(LEGACY_WIDTH / length as f64, ids.len()));
    }
    Ok(inverse)
}
