//! The loss whose gradient is the policy gradient.

use super::Clipping;
use crate::distill::likelihoods::with_derivative;
use burn::tensor::{Tensor, TensorData};

/// The clipped surrogate of the policy gradient: `−A·ρ` of every token, held where `ρ = w · q / q_old` is too far from 1 to be
/// followed. One of each for every token.
#[derive(Debug, Clone)]
pub struct Surrogate {
    /// Log-likelihood in nats under the student that drew it.
    pub old_logp: Vec<f64>,
    /// Importance weight `w`.
    pub importance: Vec<f64>,
    /// Advantage `A`.
    pub advantage: Vec<f64>,
    /// What it counts in the sum: 1 / number of tokens for their mean. Where it is 0 nothing else is looked at.
    pub weight: Vec<f64>,
    /// Largest distance of a ratio from 1.
    pub clip: f64,
    /// What is clipped.
    pub clipping: Clipping,
}

/// What the surrogate makes of a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfToken {
    /// Its part of the sum, weighted.
    pub loss: f64,
    /// The derivative by its log-likelihood.
    pub by_logp: f64,
    /// `ρ`; 1 where it does not count.
    pub ratio: f64,
    /// Whether it has a gradient: its ratio is not clipped, and it counts.
    pub live: bool,
}

/// What the surrogate makes of all tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Total {
    /// `Σ_n weight_n · loss_n`.
    pub loss: f64,
    /// The share of the tokens that count whose ratio is clipped.
    pub clip_fraction: f64,
}

impl Surrogate {
    /// Of token `n`, whose log-likelihood under the student as it is now is `logp`.
    pub fn of_token(&self, n: usize, logp: f64) -> OfToken {
        let weight = self.weight[n];
        // Before the exponential, so that nothing infinite meets a weight of 0.
        if weight == 0.0 {
            return OfToken {
                loss: 0.0,
                by_logp: 0.0,
                ratio: 1.0,
                live: false,
            };
        }
        let ratio = (logp - self.old_logp[n]).exp() * self.importance[n];
        let [least, most] = [1.0 - self.clip, 1.0 + self.clip];
        let advantage = self.advantage[n];
        let held = match self.clipping {
            Clipping::Advantage if advantage < 0.0 => ratio < least,
            Clipping::Advantage | Clipping::Ratio => ratio > most,
        };
        let scale = -(advantage * weight);
        // ∂ρ/∂log q = ρ
        let (followed, by_logp) = if held {
            (ratio.clamp(least, most), 0.0)
        } else {
            (ratio, ratio * scale)
        };
        OfToken {
            loss: followed * scale,
            by_logp,
            ratio,
            live: !held,
        }
    }

    /// Of all tokens, by their log-likelihoods.
    pub fn total(&self, logp: &[f64]) -> Total {
        let (mut loss, mut live) = (0.0, 0);
        for (n, &logp) in logp.iter().enumerate() {
            let token = self.of_token(n, logp);
            loss += token.loss;
            live += usize::from(token.live);
        }
        let counts = self.weight.iter().filter(|weight| **weight != 0.0).count();
        Total {
            loss,
            clip_fraction: (counts - live) as f64 / counts.max(1) as f64,
        }
    }

    /// The sum as a loss, of shape `[1]`, differentiable by `logp_n`, `[n]`.
    pub fn loss(&self, logp_n: Tensor<1>) -> (Tensor<1>, Total) {
        let plain_n = logp_n.clone().without_autodiff();
        let options = (&plain_n.device(), plain_n.dtype());
        let logp: Vec<f64> = plain_n.clone().into_data().iter().collect();
        let total = self.total(&logp);
        let by_logp = logp
            .iter()
            .enumerate()
            .map(|(n, &logp)| self.of_token(n, logp).by_logp);
        let by_logp_n = TensorData::new(by_logp.collect::<Vec<f64>>(), [logp.len()]);
        let value = Tensor::from_data(TensorData::new(vec![total.loss], [1]), options);
        (
            with_derivative(value, logp_n, Tensor::from_data(by_logp_n, options)),
            total,
        )
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
    fn found(logp: &[f64], tokens: &Surrogate) -> (f64, Vec<f64>, Vec<bool>) {
        let leaf = vector(logp).autodiff().require_grad();
        let (loss, total) = tokens.loss(leaf.clone());
        let by_logp = leaf.grad(&loss.clone().backward()).expect("a leaf's gradient");
        assert_eq!(host(loss.without_autodiff()), [total.loss]);
        let live = logp
            .iter()
            .enumerate()
            .map(|(n, &logp)| tokens.of_token(n, logp).live);
        (total.loss, host(by_logp), live.collect())
    }

    #[test]
    fn ratios_are_held_by_the_advantages_sign_or_above_only() {
        // Ratios 1.5, 0.5, 1.5, 0.5 with advantages of both signs.
        let ratios = [1.5_f64, 0.5, 1.5, 0.5];
        let logp: Vec<f64> = ratios.iter().map(|ratio| ratio.ln() - 1.0).collect();
        let mut tokens = Surrogate {
            old_logp: vec![-1.0; 4],
            importance: vec![1.0; 4],
            advantage: vec![2.0, 2.0, -2.0, -2.0],
            weight: vec![0.25; 4],
            clip: 0.2,
            clipping: Clipping::Advantage,
        };
        assert_eq!(tokens.total(&logp).clip_fraction, 0.5);
        let (loss, by_logp, live) = found(&logp, &tokens);
        assert_eq!(live, [false, true, true, false]);
        // −A·ρ where it is followed, −A at the bound where it is not.
        let expected = 0.25 * (-2.4 - 1.0 + 3.0 + 1.6);
        assert!((loss - expected).abs() < 1e-12, "{loss}");
        let expected = [0.0, -0.25, 0.75, 0.0];
        assert!(
            by_logp.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-12),
            "{by_logp:?}"
        );

        tokens.clipping = Clipping::Ratio;
        let (loss, by_logp, live) = found(&logp, &tokens);
        assert_eq!(live, [false, true, false, true]);
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
        let tokens = |last: f64| Surrogate {
            old_logp: vec![-1.0, -2.0, last],
            importance: vec![1.0, 1.0, last],
            advantage: vec![0.5, -3.0, last],
            weight: vec![0.5, 0.5, 0.0],
            clip: 0.2,
            clipping: Clipping::Advantage,
        };
        let (_, by_logp, live) = found(&[-1.0, -2.0, -3.0], &tokens(-4.0));
        assert_eq!((by_logp, live), (vec![-0.25, 1.5, 0.0], vec![true, true, false]));
        for last in [f64::NEG_INFINITY, f64::NAN] {
            let (loss, by_logp, _) = found(&[-1.0, -2.0, last], &tokens(last));
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
