//! A mask for a call's sizes: which keys a query sees.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use super::mask::{Mask, Row, Segments};

/// Which keys the queries of a call see.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    /// Where each query sequence stands.
    pub(super) rows: Arc<[Row]>,
    /// Queries of a sequence.
    pub(super) t: usize,
    /// Keys of a sequence.
    pub(super) s: usize,
    pub(super) full: bool,
    window: Option<usize>,
    segments: Option<Segments>,
    pub(super) key_bias: Option<Arc<[f64]>>,
}

impl Sight {
    /// That of `b` sequences of `t` queries over `c` sequences of `s` keys.
    pub(super) fn new(mask: &Mask, [b, t]: [usize; 2], [c, s]: [usize; 2]) -> Self {
        assert!(mask.window != Some(0), "a query sees its own key");
        if let Some(segments) = &mask.segments {
            assert_eq!(segments.len(), c * s, "one segment for each key");
        }
        if let Some(bias) = &mask.key_bias {
            assert_eq!(bias.len(), c * s, "one bias for each key");
        }
        Self {
            rows: rows(mask, [b, t], [c, s]),
            t,
            s,
            full: mask.full,
            window: mask.window,
            segments: mask.segments.clone(),
            key_bias: mask.key_bias.clone(),
        }
    }

    /// The keys that a sequence's query `i` sees, but for those whose bias hides them; empty where it sees none. Neither end
    /// lies before that of the query before.
    pub(super) fn keys(&self, sequence: usize, i: usize) -> Range<usize> {
        let Row { row, first, past } = self.rows[sequence];
        let position = past + i;
        let (mut start, mut end) = (first, if self.full { past + self.t } else { position + 1 });
        if let Some(window) = self.window {
            start = start.max((position + 1).saturating_sub(window));
            end = end.min(position.saturating_add(window));
        }
        if let Some(segments) = &self.segments {
            let [from, to] = segments.of(row * self.s + position);
            (start, end) = (start.max(from), end.min(to));
        }
        start.min(end)..end
    }

    /// Whether a key's bias lets it be seen.
    fn shown(&self, sequence: usize, key: usize) -> bool {
        let place = self.rows[sequence].row * self.s + key;
        self.key_bias
            .as_ref()
            .is_none_or(|bias| bias[place] != f64::NEG_INFINITY)
    }

    /// The sequences and queries, in order.
    fn queries(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.rows.len()).flat_map(|sequence| (0..self.t).map(move |i| (sequence, i)))
    }

    /// Whether a query sees a key.
    fn sees(&self, sequence: usize, i: usize) -> bool {
        self.keys(sequence, i).any(|key| self.shown(sequence, key))
    }

    /// True where a query does not see a key, `[b, 1, t, s]` for the first `s` keys, or `[1, 1, t, s]` where all sequences see
    /// alike; all false for queries that see none, which [`blind`](Self::blind) finds, so that no softmax is taken over
    /// nothing.
    pub(super) fn hidden(&self, s: usize, device: &Device) -> Tensor<4, Bool> {
        let sequences = if self.alike() { 1 } else { self.rows.len() };
        let (mut first, mut end) = (Vec::new(), Vec::new());
        for (sequence, i) in self.queries().take(sequences * self.t) {
            let keys = self.keys(sequence, i);
            let (from, to) = if self.sees(sequence, i) {
                (keys.start, keys.end)
            } else {
                (0, s)
            };
            first.push(from as i64);
            end.push(to as i64);
        }
        let ends = |of: Vec<i64>| {
            Tensor::<4, Int>::from_data(TensorData::new(of, [sequences, 1, self.t, 1]), device)
        };
        let keys = Tensor::<1, Int>::arange(0..s as i64, device).reshape([1, 1, 1, s]);
        let hidden = keys
            .clone()
            .lower(ends(first))
            .bool_or(keys.greater_equal(ends(end)));
        let Some(_) = &self.key_bias else {
            return hidden;
        };
        let veiled = |(sequence, i): (usize, usize)| {
            let sees = self.sees(sequence, i);
            (0..s).map(move |key| sees && !self.shown(sequence, key))
        };
        let veiled: Vec<bool> = self.queries().flat_map(veiled).collect();
        let shape = [self.rows.len(), 1, self.t, s];
        hidden.bool_or(Tensor::from_data(TensorData::new(veiled, shape), device))
    }

    /// The first key that each query sees and the first after them, `[b, t, 2]`; none where that does not say all.
    #[cfg(feature = "cube")]
    pub(super) fn ranges(&self, device: &Device) -> Option<Tensor<3, Int>> {
        let own = |(i, row): (usize, &Row)| row.row == i && row.past == 0;
        if self.t != self.s || self.key_bias.is_some() || !self.rows.iter().enumerate().all(own) {
            return None;
        }
        let ends = |(sequence, i)| {
            let keys = self.keys(sequence, i);
            [keys.start as i64, keys.end as i64]
        };
        let ranges: Vec<i64> = self.queries().flat_map(ends).collect();
        let shape = [self.rows.len(), self.t, 2];
        Some(Tensor::from_data(TensorData::new(ranges, shape), device))
    }

    /// Whether every sequence's queries see the same keys of theirs, but for those whose bias hides them.
    fn alike(&self) -> bool {
        let same = |pair: &[Row]| pair[0].first == pair[1].first && pair[0].past == pair[1].past;
        self.segments.is_none() && self.key_bias.is_none() && self.rows.windows(2).all(same)
    }

    /// True for queries that see no key, `[b, 1, t, 1]`; none where all see one.
    pub(super) fn blind(&self, device: &Device) -> Option<Tensor<4, Bool>> {
        let blind: Vec<bool> = self
            .queries()
            .map(|(sequence, i)| !self.sees(sequence, i))
            .collect();
        let shape = [self.rows.len(), 1, self.t, 1];
        blind
            .contains(&true)
            .then(|| Tensor::from_data(TensorData::new(blind, shape), device))
    }

    /// Key position less query position, one sequence after the other, query by query, for the first `s` keys; of one
    /// sequence where it is the same for all.
    pub(super) fn distances(&self, s: usize) -> Vec<i64> {
        let one = self.rows.windows(2).all(|pair| pair[0].past == pair[1].past);
        self.queries()
            .take_while(|(sequence, _)| *sequence == 0 || !one)
            .flat_map(|(sequence, i)| {
                let position = (self.rows[sequence].past + i) as i64;
                (0..s as i64).map(move |key| key - position)
            })
            .collect()
    }
}

/// The rows of `b` sequences of `t` queries over `c` sequences of `s` keys.
fn rows(mask: &Mask, [b, t]: [usize; 2], [c, s]: [usize; 2]) -> Arc<[Row]> {
    let Some(rows) = &mask.rows else {
        assert_eq!(b, c, "queries and keys agree in their number of sequences");
        assert!(t <= s, "every query has its key");
        let (first, past) = (0, s - t);
        return (0..b).map(|row| Row { row, first, past }).collect();
    };
    assert_eq!(rows.len(), b, "one row for each query sequence");
    for row in rows.iter() {
        assert!(row.row < c, "row {} is one of {c} key sequences", row.row);
        assert!(
            row.past + t <= s,
            "{} past keys and {t} queries fit the {s} keys",
            row.past
        );
    }
    rows.clone()
}
