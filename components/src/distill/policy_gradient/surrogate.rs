//! The loss whose gradient is the policy gradient.

use super::Clipping;
use crate::distill::likelihoods::with_derivative;
use burn::tensor::Tensor;

/// What is known of drawn tokens, each `[n]`; constants of the graph.
#[derive(Debug, Clone)]
pub struct DrawnTokens {
    /// Log-likelihood in nats under the student that drew them.
    pub old_logp_n: Tensor<1>,
    /// Importance weight `w`.
    pub importance_n: Tensor<1>,
    /// Advantage `A`.
    pub advantage_n: Tensor<1>,
    /// What the token counts in the sum: 1 / number of tokens for their mean. Where it is 0 nothing else is looked at.
    pub weight_n: Tensor<1>,
}

/// What [`surrogate`] gives.
#[derive(Debug, Clone)]
pub struct Surrogate {
    /// `Σ_n weight_n · loss_n`, of shape `[1]`, differentiable.
    pub loss: Tensor<1>,
    /// `ρ = w · q / q_old`, outside the graph.
    pub ratio_n: Tensor<1>,
    /// 1 where the token has a gradient, 0 where its ratio is clipped or it does not count; outside the graph.
    pub live_n: Tensor<1>,
}

/// The clipped surrogate of the policy gradient: `−A·ρ` of every token, held where `ρ` is too far from 1 to be followed.
///
/// # Shapes
/// `logp_n`, the log-likelihoods under the student as it is now, and all of `tokens`: `[n]`.
pub fn surrogate(logp_n: Tensor<1>, tokens: &DrawnTokens, clip: f64, clipping: Clipping) -> Surrogate {
    let [old_n, importance_n, advantage_n, weight_n] = [
        &tokens.old_logp_n,
        &tokens.importance_n,
        &tokens.advantage_n,
        &tokens.weight_n,
    ]
    .map(|tensor| tensor.clone().without_autodiff());
    // What does not count is replaced before the exponential, so that nothing infinite meets a weight of 0.
    let unused_n = weight_n.clone().equal_elem(0.0);
    let moved_n = logp_n.clone().without_autodiff() - old_n;
    let moved_n = moved_n.mask_fill(unused_n.clone(), 0.0);
    let scale_n = (advantage_n.clone() * weight_n)
        .mask_fill(unused_n.clone(), 0.0)
        .neg();
    let ratio_n = moved_n.exp() * importance_n.mask_fill(unused_n.clone(), 1.0);

    let above_n = ratio_n.clone().greater_elem(1.0 + clip);
    let held_n = match clipping {
        Clipping::Ratio => above_n,
        Clipping::Advantage => {
            let falls_n = advantage_n.lower_elem(0.0);
            let below_n = ratio_n.clone().lower_elem(1.0 - clip);
            let rises_n = falls_n.clone().bool_not();
            falls_n.bool_and(below_n).bool_or(rises_n.bool_and(above_n))
        }
    };
    let bound_n = ratio_n.clone().clamp(1.0 - clip, 1.0 + clip);
    let value = (ratio_n.clone().mask_where(held_n.clone(), bound_n) * scale_n.clone()).sum();
    // ∂ρ/∂log q = ρ
    let by_logp_n = (ratio_n.clone() * scale_n).mask_fill(held_n.clone(), 0.0);
    let live_n = ratio_n.ones_like().mask_fill(held_n.bool_or(unused_n), 0.0);
    Surrogate {
        loss: with_derivative(value, logp_n, by_logp_n),
        ratio_n,
        live_n,
    }
}

impl Surrogate {
    /// The share of the tokens that count whose ratio is clipped, of shape `[1]`.
    pub fn clip_fraction(&self, weight_n: &Tensor<1>) -> Tensor<1> {
        let weight_n = weight_n.clone().without_autodiff();
        let unused_n = weight_n.equal_elem(0.0);
        let counts = self.live_n.ones_like().mask_fill(unused_n, 0.0).sum();
        (counts.clone() - self.live_n.clone().sum()) / counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distill::policy_gradient::{PolicyGradient, advantages};
    use burn::tensor::{DType, Device, TensorData};

    fn vector(values: &[f64]) -> Tensor<1> {
        Tensor::from_data(
            TensorData::new(values.to_vec(), [values.len()]),
            (&Device::flex(), DType::F64),
        )
    }

    fn host(tensor: Tensor<1>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    /// Loss, derivatives by the log-likelihoods, and which tokens are followed.
    fn found(logp: &[f64], tokens: &DrawnTokens, clipping: Clipping) -> (f64, Vec<f64>, Vec<f64>) {
        let leaf = vector(logp).autodiff().require_grad();
        let found = surrogate(leaf.clone(), tokens, 0.2, clipping);
        let gradients = found.loss.clone().backward();
        let by_logp = leaf.grad(&gradients).expect("a leaf's gradient");
        (
            host(found.loss.without_autodiff())[0],
            host(by_logp),
            host(found.live_n),
        )
    }

    #[test]
    fn ratios_are_held_by_the_advantages_sign_or_above_only() {
        // Ratios 1.5, 0.5, 1.5, 0.5 with advantages of both signs.
        let ratios = [1.5_f64, 0.5, 1.5, 0.5];
        let logp: Vec<f64> = ratios.iter().map(|ratio| ratio.ln() - 1.0).collect();
        let tokens = DrawnTokens {
            old_logp_n: vector(&[-1.0; 4]),
            importance_n: vector(&[1.0; 4]),
            advantage_n: vector(&[2.0, 2.0, -2.0, -2.0]),
            weight_n: vector(&[0.25; 4]),
        };
        let (loss, by_logp, live) = found(&logp, &tokens, Clipping::Advantage);
        assert_eq!(live, [0.0, 1.0, 1.0, 0.0]);
        // −A·ρ where it is followed, −A at the bound where it is not.
        let expected = 0.25 * (-2.4 - 1.0 + 3.0 + 1.6);
        assert!((loss - expected).abs() < 1e-12, "{loss}");
        let expected = [0.0, -0.25, 0.75, 0.0];
        assert!(
            by_logp.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-12),
            "{by_logp:?}"
        );

        let (loss, by_logp, live) = found(&logp, &tokens, Clipping::Ratio);
        assert_eq!(live, [0.0, 1.0, 0.0, 1.0]);
        let expected = 0.25 * (-2.4 - 1.0 + 2.4 + 1.0);
        assert!((loss - expected).abs() < 1e-12, "{loss}");
        let expected = [0.0, -0.25, 0.0, 0.25];
        assert!(
            by_logp.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-12),
            "{by_logp:?}"
        );
    }

    #[test]
    fn at_the_student_that_drew_it_is_reinforce_and_padding_is_never_looked_at() {
        let tokens = |last: f64| DrawnTokens {
            old_logp_n: vector(&[-1.0, -2.0, last]),
            importance_n: vector(&[1.0, 1.0, last]),
            advantage_n: vector(&[0.5, -3.0, last]),
            weight_n: vector(&[0.5, 0.5, 0.0]),
        };
        let (_, by_logp, live) = found(&[-1.0, -2.0, -3.0], &tokens(-4.0), Clipping::Advantage);
        assert_eq!((by_logp, live), (vec![-0.25, 1.5, 0.0], vec![1.0, 1.0, 0.0]));
        for last in [f64::NEG_INFINITY, f64::NAN] {
            let (loss, by_logp, _) = found(&[-1.0, -2.0, last], &tokens(last), Clipping::Advantage);
            assert_eq!((loss, by_logp), (1.25, vec![-0.25, 1.5, 0.0]), "{last}");
        }
    }

    #[test]
    fn a_response_of_one_token_has_no_long_term_in_the_paper() {
        let paper: PolicyGradient = serde_json::from_str(r#"{ "mode": "paper" }"#).expect("a table");
        let found = advantages(&paper.recipe(), &[3.0, 0.0, 1.0, 2.0], &[1.0, 0.0, 1.0, 1.0], 2);
        assert_eq!(found, [0.0, 0.0, 2.0, 0.0]);
    }
}
