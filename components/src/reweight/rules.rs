//! From what examples contribute to what they weigh: the rules of the practical form (learning law, sheet 8).

use crate::trajectory::project_simplex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the contributions c of a batch's B examples become weights on the simplex; s is their standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// max(0, c), divided by its sum (Ren et al. 2018, arXiv 1803.09050).
    #[default]
    Rectified,
    /// The point of the simplex that is nearest to 1/B + `strength` · c / (B s).
    Project,
    /// softmax(`strength` · c / s).
    Softmax,
    /// Equal weights of the highest `fraction` of the examples.
    TopFraction,
    /// Equal weights of the examples with c > 0.
    Filter,
}

/// A rule with its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weigh {
    /// The rule.
    pub rule: Rule,
    /// κ of `project`; one over the temperature of `softmax`.
    pub strength: f64,
    /// Share that `top_fraction` keeps.
    pub fraction: f64,
    /// γ ← (1 − m) γ + m / B.
    pub mix_uniform: f64,
}

impl Weigh {
    /// Weights whose mean is 1, so that equal ones are 1 exactly. None where the contributions say nothing, because none is above
    /// 0 or all are alike: then all examples count alike.
    pub fn factors(&self, contributions: &[f64]) -> Option<Vec<f64>> {
        let count = contributions.len() as f64;
        let deviation = deviation(contributions);
        if deviation == 0.0 || !contributions.iter().any(|c| *c > 0.0) {
            return None;
        }
        let mut factors = match self.rule {
            Rule::Rectified => contributions.iter().map(|c| c.max(0.0)).collect(),
            Rule::Project => {
                let moved = |c: &f64| 1.0 / count + self.strength * c / (count * deviation);
                let mut weights: Vec<f64> = contributions.iter().map(moved).collect();
                project_simplex(&mut weights);
                weights
            }
            Rule::Softmax => {
                let most = contributions.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weight = |c: &f64| (self.strength * (c - most) / deviation).exp();
                contributions.iter().map(weight).collect()
            }
            Rule::TopFraction => highest(contributions, self.fraction),
            Rule::Filter => contributions
                .iter()
                .map(|c| f64::from(u8::from(*c > 0.0)))
                .collect(),
        };
        let sum: f64 = factors.iter().sum();
        for factor in &mut factors {
            *factor = (1.0 - self.mix_uniform) * *factor * count / sum + self.mix_uniform;
        }
        Some(factors)
    }
}

/// 1 for the highest share of the values, at least one of them; of equal values the first.
fn highest(values: &[f64], share: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]).then(i.cmp(&j)));
    let count = ((share * values.len() as f64).round() as usize).clamp(1, values.len());
    let mut chosen = vec![0.0; values.len()];
    order[..count].iter().for_each(|&i| chosen[i] = 1.0);
    chosen
}

/// Population standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weigh(rule: Rule) -> Weigh {
        Weigh {
            rule,
            strength: 1.0,
            fraction: 0.5,
            mix_uniform: 0.0,
        }
    }

    #[track_caller]
    fn assert_near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        }
    }

    #[test]
    fn every_rule_by_hand() {
        let c = [3.0, -1.0, 1.0, -3.0];
        let of = |rule| weigh(rule).factors(&c).expect("something is above 0");
        assert_near(&of(Rule::Rectified), &[3.0, 0.0, 1.0, 0.0]);
        assert_near(&of(Rule::Filter), &[2.0, 0.0, 2.0, 0.0]);
        assert_near(&of(Rule::TopFraction), &[2.0, 0.0, 2.0, 0.0]);
        // s = √5. Softmax of c/s, whose mean is 1.
        let e = c.map(|c: f64| (c / 5.0_f64.sqrt()).exp());
        let sum: f64 = e.iter().sum();
        assert_near(&of(Rule::Softmax), &e.map(|e| 4.0 * e / sum));
        // With so small a strength nothing leaves the simplex, and the sum stays 1 since c adds up to 0.
        let small = Weigh {
            strength: 0.1,
            ..weigh(Rule::Project)
        };
        let near = c.map(|c| 1.0 + 0.1 * c / 5.0_f64.sqrt());
        assert_near(&small.factors(&c).expect("weights"), &near);
        // With a large one only the best is left.
        let large = Weigh {
            strength: 100.0,
            ..weigh(Rule::Project)
        };
        assert_near(&large.factors(&c).expect("weights"), &[4.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn factors_have_mean_one_and_mixing_lifts_what_is_zero() {
        let c = [0.3, 0.2, -0.7, 0.05, 1.1, -0.2, 0.0];
        for rule in [
            Rule::Rectified,
            Rule::Project,
            Rule::Softmax,
            Rule::TopFraction,
            Rule::Filter,
        ] {
            let mixed = Weigh {
                mix_uniform: 0.25,
                ..weigh(rule)
            };
            for weigh in [weigh(rule), mixed] {
                let factors = weigh.factors(&c).expect("weights");
                let mean = factors.iter().sum::<f64>() / 7.0;
                assert!((mean - 1.0).abs() < 1e-12, "{weigh:?}");
                let least = factors.iter().copied().fold(f64::INFINITY, f64::min);
                assert!(least >= weigh.mix_uniform, "{weigh:?}: {factors:?}");
            }
            // Scaling and permuting contributions scale nothing and permute the factors.
            let of = |c: &[f64]| weigh(rule).factors(c).expect("weights");
            let scaled = c.map(|c| 1e-3 * c);
            assert_near(&of(&scaled), &of(&c));
            let mut turned = c;
            turned.rotate_left(2);
            let mut expected = of(&c);
            expected.rotate_left(2);
            assert_near(&of(&turned), &expected);
        }
    }

    #[test]
    fn contributions_that_say_nothing_give_no_factors() {
        for rule in [
            Rule::Rectified,
            Rule::Project,
            Rule::Softmax,
            Rule::TopFraction,
            Rule::Filter,
        ] {
            assert_eq!(weigh(rule).factors(&[-1.0, -2.0, 0.0]), None);
            assert_eq!(weigh(rule).factors(&[2.0, 2.0]), None);
        }
    }
}
