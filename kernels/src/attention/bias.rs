//! What the fused body adds to scores: by distance and head, and by key.

use std::ops::Range;
use std::sync::Arc;

use super::mask::Buckets;
use super::sight::Sight;
use crate::simd::vectorised;

/// What is added to scores by the distance of the key.
#[derive(Debug, Clone)]
pub(super) struct Distance {
    /// ALiBi's slopes, one a head; none if empty.
    pub(super) slopes: Arc<[f64]>,
    /// How a learned table is read, if there is one.
    pub(super) buckets: Option<Buckets>,
}

/// What is added to the scores of a call.
pub(super) struct Biases {
    /// Heads beside each other, `span` distances each; empty where nothing is added.
    by_distance: Vec<f32>,
    /// Distances.
    span: usize,
    /// The index of distance zero.
    reach: usize,
    /// `[c, s]`; empty where nothing is added.
    by_key: Vec<f32>,
    /// Keys of a sequence.
    s: usize,
}

impl Biases {
    /// Those of a call; `table` is `[h, buckets]`.
    pub(super) fn new(distance: &Distance, sight: &Sight, h: usize, table: &[f32]) -> Self {
        let past = sight.rows.iter().map(|row| row.past).max().unwrap_or(0);
        let reach = (past + sight.t).saturating_sub(1);
        let span = reach + if sight.full { sight.t.max(1) } else { 1 };
        let distances = || (0..span).map(move |index| index as i64 - reach as i64);
        let Distance { slopes, buckets } = distance;
        let indices: Vec<usize> = buckets
            .iter()
            .flat_map(|buckets| distances().map(|distance| buckets.index(distance)))
            .collect();
        let mut by_distance = Vec::new();
        if !slopes.is_empty() || buckets.is_some() {
            by_distance.reserve(h * span);
            for head in 0..h {
                let slope = slopes.get(head).map_or(0.0, |slope| *slope as f32);
                by_distance.extend(distances().map(|distance| -slope * distance.abs() as f32));
                let biases = &mut by_distance[head * span..];
                if let Some(buckets) = buckets {
                    let table = &table[head * buckets.count..];
                    for (bias, index) in biases.iter_mut().zip(&indices) {
                        *bias += table[*index];
                    }
                }
            }
        }
        let by_key = sight.key_bias.iter().flat_map(|bias| bias.iter());
        Self {
            by_distance,
            span,
            reach,
            by_key: by_key.map(|bias| *bias as f32).collect(),
            s: sight.s,
        }
    }

    /// Distances of a head.
    pub(super) fn span(&self) -> usize {
        self.span
    }

    /// Where a key's distance lies among those of a head.
    pub(super) fn index(&self, position: usize, key: usize) -> usize {
        self.reach + key - position
    }

    /// What is added to a query's scores for these keys of a sequence: by distance and by key, each empty where it is nothing.
    pub(super) fn of(&self, head: usize, position: usize, row: usize, keys: &Range<usize>) -> [&[f32]; 2] {
        let part = |values, start| part(values, start, keys.len());
        [
            part(
                &self.by_distance,
                head * self.span + self.index(position, keys.start),
            ),
            part(&self.by_key, row * self.s + keys.start),
        ]
    }
}

/// A part of a slice that may be empty.
fn part(values: &[f32], start: usize, count: usize) -> &[f32] {
    if values.is_empty() {
        values
    } else {
        &values[start..start + count]
    }
}

/// The gradient of a table `[h, buckets]` from gradients of scores added up by distance: `sums` holds `[c, h, span]`.
pub(super) fn by_table(buckets: Buckets, biases: &Biases, h: usize, sums: &[f32]) -> Vec<f32> {
    let mut gradient = vec![0.0; h * buckets.count];
    for sums in sums.chunks_exact(h * biases.span) {
        for (head, sums) in sums.chunks_exact(biases.span).enumerate() {
            for (index, sum) in sums.iter().enumerate() {
                let bucket = buckets.index(index as i64 - biases.reach as i64);
                gradient[head * buckets.count + bucket] += f64::from(*sum);
            }
        }
    }
    gradient.into_iter().map(|sum| sum as f32).collect()
}

vectorised! {
    /// Adds `values` to `sums`.
    pub(super) fn add<FMA>(sums: &mut [f32], values: &[f32]) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
}
