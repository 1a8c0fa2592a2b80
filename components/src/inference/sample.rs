//! From logits to the next token.
//!
//! The rules, their order and their treatment of equal values are those of transformers' logits processors; divisions
//! are taken in f32 as there, exponentials and sums in f64. No step sorts the vocabulary.

use super::Sampling;
use super::rules::rule;
use crate::Result;
use lyceum_kernels::exponentials;
use std::cmp::Ordering;

/// Values that are handled side by side.
const LANES: usize = 16;

/// Probabilities of the next token, up to a common factor: those of the ids that the rules leave, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    ids: Vec<u32>,
    weights: Vec<f64>,
    total: f64,
}

impl Distribution {
    /// What the logits of one position and the rules of `sampling` make of each other. `history` are the tokens read so
    /// far, the last `drawn` of which are new; `ends` are the ids that end a text. The logits are changed on the way.
    ///
    /// With temperature 0 it is the distribution at temperature 1, of which [`heaviest`](Self::heaviest) is taken.
    ///
    /// # Errors
    /// `non_finite_logits`: one is NaN or +∞; `no_token_left`: the rules forbid every token.
    pub fn new(
        logits_v: &mut [f32],
        sampling: &Sampling,
        history: &[u32],
        drawn: usize,
        ends: &[u32],
    ) -> Result<Self> {
        let most = rule(logits_v, sampling, history, drawn, ends)?;
        if sampling.is_greedy() {
            return Ok(Self::of(logits_v, f32::MIN, 1.0, most));
        }
        let least = least_of_most(logits_v, sampling.top_k);
        let mut kept = Self::of(logits_v, least, sampling.temperature as f32, most);
        kept.keep_share(sampling.top_p);
        kept.retain(|_, weight| weight >= sampling.min_p);
        Ok(kept)
    }

    /// The exponentials of logits that are at least `least`, the greatest being 1.
    fn of(logits_v: &[f32], least: f32, temperature: f32, most: f32) -> Self {
        let most = f64::from(most / temperature);
        let exponent = |logit: &f32| f64::from(logit / temperature) - most;
        // Mostly nothing is left out, and without a question at each the logits are read at once.
        let (ids, mut weights): (Vec<u32>, Vec<f64>) = if logits_v.iter().all(|logit| *logit >= least) {
            let ids = (0..logits_v.len() as u32).collect();
            (ids, logits_v.iter().map(exponent).collect())
        } else {
            let kept = logits_v.iter().enumerate().filter(|(_, logit)| **logit >= least);
            kept.map(|(id, logit)| (id as u32, exponent(logit))).unzip()
        };
        exponentials(&mut weights);
        Self::from_weights(ids, weights)
    }

    fn from_weights(ids: Vec<u32>, weights: Vec<f64>) -> Self {
        let total = sum(&weights);
        Self { ids, weights, total }
    }

    /// `(1 − share) · self + share · other`.
    #[must_use]
    pub fn mixed_with(&self, other: &Self, share: f64) -> Self {
        // One division a side instead of one a token.
        let [of_self, of_other] = [(1.0 - share) / self.total, share / other.total];
        if self.ids == other.ids {
            let weights = self.weights.iter().zip(&other.weights);
            let weights = weights.map(|(one, another)| of_self * one + of_other * another);
            return Self::from_weights(self.ids.clone(), weights.collect());
        }
        let last = self.ids.last().max(other.ids.last());
        let mut all = vec![0.0; last.map_or(0, |&id| id as usize + 1)];
        for (part, factor) in [(self, of_self), (other, of_other)] {
            for (&id, weight) in part.ids.iter().zip(&part.weights) {
                all[id as usize] += factor * weight;
            }
        }
        let kept = || all.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
        Self::from_weights(
            kept().map(|(id, _)| id as u32).collect(),
            kept().map(|(_, w)| *w).collect(),
        )
    }

    /// The probability of a token; 0 where the rules leave it out.
    pub fn probability(&self, id: u32) -> f64 {
        let found = self.ids.binary_search(&id);
        found.map_or(0.0, |i| self.weights[i] / self.total)
    }

    /// The most likely token, the least id of several.
    pub fn heaviest(&self) -> u32 {
        let greater = |best: usize, i: usize| {
            if self.weights[i] > self.weights[best] {
                i
            } else {
                best
            }
        };
        self.ids[(0..self.ids.len()).fold(0, greater)]
    }

    /// The token at which the cumulative distribution, over ascending ids, passes `uniform` in (0, 1).
    pub fn draw(&self, uniform: f64) -> u32 {
        let mut left = uniform * self.total;
        let passed = self.weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a crumb behind the last; that one is it, then.
        let last = || self.weights.iter().rposition(|weight| *weight > 0.0);
        self.ids[passed.or_else(last).unwrap_or_default()]
    }

    fn retain(&mut self, keep: impl Fn(u32, f64) -> bool) {
        let kept = |i: &usize| keep(self.ids[*i], self.weights[*i]);
        if (0..self.ids.len()).all(|i| kept(&i)) {
            return;
        }
        let kept: Vec<usize> = (0..self.ids.len()).filter(kept).collect();
        let ids = kept.iter().map(|&i| self.ids[i]).collect();
        let weights = kept.iter().map(|&i| self.weights[i]).collect();
        *self = Self::from_weights(ids, weights);
    }

    /// Keeps the heaviest ids, as few as hold `share` of the total; of equal ones the greater ids, and always one.
    ///
    /// The lightest of them is found by halving: the heavier half is split again while it holds enough, else what it
    /// holds is set aside and the other half is split.
    fn keep_share(&mut self, share: f64) {
        if share >= 1.0 {
            return;
        }
        // Even all together, ids below this weight hold no more than what is left out.
        let negligible = (1.0 - share) * self.total / self.ids.len() as f64;
        let all = self.weights.iter().copied().zip(self.ids.iter().copied());
        let mut candidates: Vec<(f64, u32)> = all.filter(|(weight, _)| *weight >= negligible).collect();
        let mut rest = candidates.as_mut_slice();
        let mut wanted = share * self.total;
        while rest.len() > 1 {
            let middle = (rest.len() - 1) / 2;
            rest.select_nth_unstable_by(middle, |a, b| by_weight(*b, *a));
            let (heavier, lighter) = rest.split_at_mut(middle + 1);
            let held: f64 = heavier.iter().map(|(weight, _)| weight).sum();
            if held >= wanted {
                rest = heavier;
            } else {
                wanted -= held;
                rest = lighter;
            }
        }
        let Some(&lightest) = rest.first() else { return };
        self.retain(|id, weight| by_weight((weight, id), lightest).is_ge());
    }
}

fn by_weight(a: (f64, u32), b: (f64, u32)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// The token that temperature 0 takes, the least id of several, and the natural logarithm of its probability at
/// temperature 1; what else holds of [`Distribution::new`] holds here.
///
/// # Errors
/// As [`Distribution::new`].
pub(super) fn most_likely(
    logits_v: &mut [f32],
    sampling: &Sampling,
    history: &[u32],
    drawn: usize,
    ends: &[u32],
) -> Result<(u32, f64)> {
    /// Exponentials that are held at once.
    const CHUNK: usize = 512;
    let most = rule(logits_v, sampling, history, drawn, ends)?;
    let id = logits_v
        .iter()
        .position(|logit| *logit == most)
        .unwrap_or_default();
    let mut total = 0.0;
    let mut weights = [0.0; CHUNK];
    for logits in logits_v.chunks(CHUNK) {
        let weights = &mut weights[..logits.len()];
        for (weight, logit) in weights.iter_mut().zip(logits) {
            *weight = f64::from(*logit) - f64::from(most);
        }
        exponentials(weights);
        total += sum(weights);
    }
    Ok((id as u32, 0.0 - f64::ln(total)))
}

/// The sum, in lanes: several additions are then under way at once.
fn sum(values: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().sum();
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum::<f64>() + rest
}

/// The least of the `k` greatest logits; the least finite one if `k` is 0 or more than there are.
fn least_of_most(logits_v: &[f32], k: usize) -> f32 {
    if k == 0 || k >= logits_v.len() {
        return f32::MIN;
    }
    let mut all = logits_v.to_vec();
    let (_, least, _) = all.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    least.max(f32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn random(v: usize) -> Vec<f32> {
        let mut stream = Stream::new(4, "logits");
        (0..v).map(|_| stream.normal() as f32 * 3.0).collect()
    }

    fn sampled(change: impl Fn(&mut Sampling)) -> Sampling {
        let mut sampling = Sampling {
            temperature: 1.0,
            ..Sampling::default()
        };
        change(&mut sampling);
        sampling
    }

    #[test]
    fn a_share_is_what_sorting_finds() {
        for share in [0.0, 0.1, 0.5, 0.9, 0.999] {
            let logits = random(1000);
            let all = Distribution::new(&mut logits.clone(), &sampled(|_| ()), &[], 0, &[]).expect("weights");
            let mut order: Vec<(f64, u32)> = (0..1000).map(|id| (all.probability(id), id)).collect();
            order.sort_by(|a, b| by_weight(*b, *a));
            let mut before = 0.0;
            let kept = order.iter().take_while(|(p, _)| {
                let keep = before < share || before == 0.0;
                before += p;
                keep
            });
            let mut expected: Vec<u32> = kept.map(|(_, id)| *id).collect();
            expected.sort_unstable();
            let top = sampled(|sampling| sampling.top_p = share);
            let found = Distribution::new(&mut logits.clone(), &top, &[], 0, &[]).expect("weights");
            assert_eq!(found.ids, expected, "{share}");
        }
    }

    #[test]
    fn the_drawn_token_is_where_the_cumulative_distribution_passes() {
        let [a, b, c] = [0.25_f32.ln(), 0.5_f32.ln(), 0.25_f32.ln()];
        let all = Distribution::new(&mut [a, f32::NEG_INFINITY, b, c], &sampled(|_| ()), &[], 0, &[]);
        let all = all.expect("weights");
        for (uniform, id) in [
            (1e-9, 0),
            (0.2499, 0),
            (0.2501, 2),
            (0.7499, 2),
            (0.7501, 3),
            (1.0, 3),
        ] {
            assert_eq!(all.draw(uniform), id, "{uniform}");
        }
        assert_eq!(all.heaviest(), 2);
        assert_eq!(all.probability(1), 0.0);
    }

    #[test]
    fn the_most_likely_token_is_the_heaviest_of_its_distribution() {
        for v in [1, 15, 1000] {
            let mut logits = random(v);
            logits[v / 2] = f32::NEG_INFINITY;
            if v == 1 {
                logits[0] = 3.0;
            }
            let greedy = Sampling::default();
            let all = Distribution::new(&mut logits.clone(), &greedy, &[], 0, &[]).expect("weights");
            let (id, logprob) = most_likely(&mut logits, &greedy, &[], 0, &[]).expect("a token");
            assert_eq!(id, all.heaviest());
            assert!((logprob - all.probability(id).ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn a_mixture_is_of_probabilities() {
        let weights =
            |ids: &[u32], weights: &[f64]| Distribution::from_weights(ids.to_vec(), weights.to_vec());
        let (a, b) = (weights(&[0, 2], &[1.0, 3.0]), weights(&[2, 5], &[5.0, 5.0]));
        let mixed = a.mixed_with(&b, 0.2);
        let of = |id| mixed.probability(id);
        for (id, p) in [(0, 0.2), (1, 0.0), (2, 0.7), (5, 0.1)] {
            assert!((of(id) - p).abs() < 1e-12, "{id}");
        }
        let mixed = a.mixed_with(&weights(&[0, 2], &[1.0, 1.0]), 0.2);
        for (id, p) in [(0, 0.3), (1, 0.0), (2, 0.7)] {
            assert!((mixed.probability(id) - p).abs() < 1e-12, "{id}");
        }
    }

    #[test]
    fn what_is_no_distribution_is_told() {
        let code = |logits: &mut [f32], sampling: &Sampling, history: &[u32]| {
            let made = Distribution::new(logits, sampling, history, 0, &[]);
            made.expect_err("a mistake").code()
        };
        assert_eq!(
            code(&mut [0.0, f32::NAN], &sampled(|_| ()), &[]),
            "non_finite_logits"
        );
        assert_eq!(
            code(&mut [f32::INFINITY, 0.0], &Sampling::default(), &[]),
            "non_finite_logits"
        );
        let none = sampled(|sampling| sampling.no_repeat_ngram = 1);
        assert_eq!(code(&mut [0.0, 1.0], &none, &[1, 0]), "no_token_left");
    }
}
