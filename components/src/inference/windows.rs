//! Sequences to score, and what their tokens cost: the one place where log-probabilities of chosen tokens are taken.

use crate::model::{Decoder, integers};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use lyceum_kernels::{linear_likelihoods, linear_nll};

/// A stretch of tokens that a model reads at once: `ids[from..]` are scored, `ids[from - 1]` being the input before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window<'a> {
    /// Inputs and, shifted by one, labels.
    pub(crate) ids: &'a [u32],
    /// The first token that is scored, at least 1.
    pub(crate) from: usize,
}

/// A token's log-probability in nats, and whether no token was more likely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judged {
    pub(crate) logprob: f64,
    pub(crate) greedy: bool,
}

/// Windows of at most `context` tokens, begun every `stride` tokens, fewer than `context`, that score every token but the first once: each token
/// has at least `context − stride` tokens before it where there are that many (the convention of published perplexities).
pub(crate) fn strided(ids: &[u32], context: usize, stride: usize) -> Vec<Window<'_>> {
    let mut windows = Vec::new();
    let (mut start, mut scored) = (0, 1);
    while scored < ids.len() {
        let end = (start + context).min(ids.len());
        windows.push(Window {
            ids: &ids[start..end],
            from: scored - start,
        });
        (start, scored) = (start + stride, end);
    }
    windows
}

/// The log-probability of every scored token of some windows, read as one batch.
pub(crate) fn logprobs(decoder: &Decoder, windows: &[Window], device: &Device) -> Vec<Vec<f64>> {
    let (hidden_nd, targets_n, counts) = read(decoder, windows, device);
    let nll_n = linear_nll(
        hidden_nd,
        decoder.head(),
        decoder.head_bias(),
        targets_n,
        decoder.products(),
    );
    split(floats(nll_n).into_iter().map(|nll| -nll), &counts)
}

/// The same, with whether each was the most likely token.
pub(crate) fn judged(decoder: &Decoder, windows: &[Window], device: &Device) -> Vec<Vec<Judged>> {
    let (hidden_nd, targets_n, counts) = read(decoder, windows, device);
    split(judge(decoder, hidden_nd, targets_n).into_iter(), &counts)
}

/// Judges the targets `[n]` after the hidden states `[n, d]`, never holding rows × vocabulary.
pub(crate) fn judge(decoder: &Decoder, hidden_nd: Tensor<2>, targets_n: Tensor<1, Int>) -> Vec<Judged> {
    let found = linear_likelihoods(
        hidden_nd,
        decoder.head(),
        decoder.head_bias(),
        targets_n,
        decoder.products(),
    );
    let judged = floats(found.nll_n).into_iter().zip(floats(found.least_n));
    judged
        .map(|(nll, least)| Judged {
            logprob: 0.0 - nll, // No minus zero.
            greedy: nll <= least,
        })
        .collect()
}

/// Hidden states before the scored tokens of all windows, one after the other, with those tokens and how many each window
/// has.
fn read(decoder: &Decoder, windows: &[Window], device: &Device) -> (Tensor<2>, Tensor<1, Int>, Vec<usize>) {
    let inputs: Vec<&[u32]> = windows.iter().map(|w| &w.ids[..w.ids.len() - 1]).collect();
    let (inputs_bt, width) = padded(&inputs, device);
    let row = |(row, window): (usize, &Window)| {
        let first = row * width + window.from - 1;
        first..first + window.ids.len() - window.from
    };
    let chosen: Vec<usize> = windows.iter().enumerate().flat_map(row).collect();
    let targets = windows.iter().flat_map(|window| &window.ids[window.from..]);
    let targets: Vec<i64> = targets.map(|&id| i64::from(id)).collect();
    let counts = windows.iter().map(|window| window.ids.len() - window.from);
    (
        decoder.hidden_at(inputs_bt, Some(&chosen)),
        integers(targets, device),
        counts.collect(),
    )
}

/// Ids as a batch `[b, t]`, padded on the right to the longest, with its width.
pub(crate) fn padded(ids: &[&[u32]], device: &Device) -> (Tensor<2, Int>, usize) {
    let width = ids.iter().map(|ids| ids.len()).max().unwrap_or_default();
    let mut all = vec![0_i64; ids.len() * width];
    for (row, ids) in all.chunks_mut(width.max(1)).zip(ids) {
        row.iter_mut()
            .zip(*ids)
            .for_each(|(place, &id)| *place = i64::from(id));
    }
    let inputs_bt = Tensor::from_data(TensorData::new(all, [ids.len(), width]), device);
    (inputs_bt, width)
}

/// A tensor's values.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.cast(DType::F64).into_data();
    data.try_into_vec::<f64>().expect("cast to f64 above")
}

/// Cuts values that follow each other into lists of these lengths.
pub(crate) fn split<T>(mut values: impl Iterator<Item = T>, counts: &[usize]) -> Vec<Vec<T>> {
    let take = |&count: &usize| values.by_ref().take(count).collect();
    counts.iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_first_is_scored_once_with_context_before_it() {
        for length in [0, 1, 2, 7, 8, 9, 12, 13, 40] {
            let ids: Vec<u32> = (0..length).collect();
            for (context, stride) in [(8, 4), (8, 1), (8, 7), (2, 1)] {
                let windows = strided(&ids, context, stride);
                let mut scored = Vec::new();
                for window in windows {
                    assert!(window.ids.len() <= context && window.from >= 1);
                    for (at, &id) in window.ids.iter().enumerate().skip(window.from) {
                        assert!(
                            at >= (context - stride).min(id as usize),
                            "{length} {context} {stride}"
                        );
                        scored.push(id);
                    }
                }
                assert_eq!(scored, ids.get(1..).unwrap_or_default());
            }
        }
    }
}
