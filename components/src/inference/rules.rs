//! Rules that change single logits before a token is taken: those of transformers' processors, in their order.

use super::Sampling;
use crate::{Error, Result};

/// Values that are handled side by side.
const LANES: usize = 16;

/// Applies the rules that change single logits; gives the greatest.
pub(super) fn rule(
    logits_v: &mut [f32],
    sampling: &Sampling,
    history: &[u32],
    drawn: usize,
    ends: &[u32],
) -> Result<f32> {
    let wrong = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    // All are looked at, so that the compiler may look at several at once.
    if logits_v.iter().fold(false, |any, logit| any | wrong(logit))
        && let Some(id) = logits_v.iter().position(wrong)
    {
        let what = format!("the model's logit of token {id} is {}", logits_v[id]);
        return Err(Error::data("non_finite_logits", what)
            .hint("the weights are damaged or have diverged; in bf16, try f32"));
    }
    penalise(logits_v, sampling.repetition_penalty as f32, history);
    forbid_repeats(logits_v, sampling.no_repeat_ngram, history);
    if drawn < sampling.min_tokens {
        for &id in ends {
            set(logits_v, id, f32::NEG_INFINITY);
        }
    }
    let most = greatest(logits_v);
    if most == f32::NEG_INFINITY {
        return Err(Error::data("no_token_left", "every token is forbidden")
            .hint("look at `no_repeat_ngram` and `min_tokens`"));
    }
    Ok(most)
}

fn greatest(values: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes
            .iter_mut()
            .zip(chunk)
            .for_each(|(lane, value)| *lane = greater(*lane, *value));
    }
    rest.iter()
        .chain(&lanes)
        .copied()
        .fold(f32::NEG_INFINITY, greater)
}

/// Sets a logit; ids beyond the head, which some vocabularies have, are none.
fn set(logits_v: &mut [f32], id: u32, value: f32) {
    if let Some(logit) = logits_v.get_mut(id as usize) {
        *logit = value;
    }
}

/// Makes the tokens of `history` less likely (CTRL, Keskar et al. 2019, §4.1; negative logits are multiplied).
fn penalise(logits_v: &mut [f32], penalty: f32, history: &[u32]) {
    if penalty == 1.0 {
        return;
    }
    let penalised = |logit: f32| {
        if logit < 0.0 {
            logit * penalty
        } else {
            logit / penalty
        }
    };
    let before = |id: u32| Some((id, penalised(*logits_v.get(id as usize)?)));
    // All are computed before any is set, so that a token that occurs twice is penalised once.
    let changed: Vec<(u32, f32)> = history.iter().filter_map(|&id| before(id)).collect();
    for (id, logit) in changed {
        set(logits_v, id, logit);
    }
}

/// Forbids every token that would make the last `n` tokens ones that occurred before.
fn forbid_repeats(logits_v: &mut [f32], n: usize, history: &[u32]) {
    if n == 0 || history.len() < n {
        return;
    }
    let last = &history[history.len() - (n - 1)..];
    for window in history.windows(n) {
        if window[..n - 1] == *last {
            set(logits_v, window[n - 1], f32::NEG_INFINITY);
        }
    }
}
