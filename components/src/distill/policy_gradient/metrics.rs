//! What is logged of a set of rollouts.

use super::Rollout;
use super::returns::row;

/// Figures of a set of rollouts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RolloutMetrics {
    /// Reward of a token, scaled and clipped, averaged over all tokens.
    pub reward_mean: f64,
    /// Estimated reverse KL of a token in nats: of each response the mean over its tokens, averaged over the responses.
    pub rev_kl_k3: f64,
    /// Importance weight of a token, averaged over all tokens.
    pub w_mean: f64,
    /// Tokens of a response, the end included, averaged.
    pub length: f64,
}

impl RolloutMetrics {
    /// The figures; `rewards` and `importance` are what the rollout gave. None where there is no token.
    pub fn of(rollout: &Rollout, rewards: &[f64], importance: &[f64]) -> Option<Self> {
        let mean = |values: &[f64], mask: &[f32]| {
            let tokens: f64 = mask.iter().map(|mask| f64::from(*mask)).sum();
            let places = values.iter().zip(mask).filter(|(_, mask)| **mask > 0.0);
            let sum: f64 = places.map(|(value, _)| value).sum();
            (tokens > 0.0).then(|| (sum / tokens, tokens))
        };
        let mask = rollout.mask;
        let k3 = rollout.k3();
        let of_row = |i: usize| mean(&k3[row(i, rollout.width)], &mask[row(i, rollout.width)]);
        let responses: Vec<(f64, f64)> = (0..mask.len() / rollout.width).filter_map(of_row).collect();
        let count = responses.len() as f64;
        Some(Self {
            reward_mean: mean(rewards, mask)?.0,
            rev_kl_k3: responses.iter().map(|(k3, _)| k3).sum::<f64>() / count,
            w_mean: mean(importance, mask)?.0,
            length: responses.iter().map(|(_, tokens)| tokens).sum::<f64>() / count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_count_alike_in_the_divergence_and_tokens_in_the_rest() {
        let rollout = Rollout {
            width: 2,
            mask: &[1.0, 1.0, 1.0, 0.0],
            student: &[0.0, 0.0, -1.0, f64::NAN],
            teacher: &[0.0, 0.0, 0.0, f64::NAN],
            teacher_drawn: None,
        };
        let found = RolloutMetrics::of(&rollout, &[1.0, 2.0, 6.0, 9.0], &[1.0, 0.5, 0.0, 9.0]);
        let k3 = 1.0_f64.exp_m1() - 1.0;
        let expected = RolloutMetrics {
            reward_mean: 3.0,
            rev_kl_k3: k3 / 2.0,
            w_mean: 0.5,
            length: 1.5,
        };
        assert_eq!(found, Some(expected));
        let none = Rollout {
            mask: &[0.0; 4],
            ..rollout
        };
        assert_eq!(RolloutMetrics::of(&none, &[0.0; 4], &[1.0; 4]), None);
    }
}
