//! Which keys a query sees.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// Which keys each query sees, and what is added to its scores. The default is plain causal attention. A clone costs nothing:
/// every layer of every token takes one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mask {
    /// A query sees at most this many keys, its own included (a sliding window, Jiang et al. 2023).
    pub window: Option<usize>,
    /// One a query head: `slope · (key position − query position)` is added to its scores (ALiBi, Press et al. 2022).
    pub slopes: Option<Arc<[f64]>>,
    /// One a query sequence. None: query sequence `b` reads key sequence `b`, all its keys, and its last query stands at
    /// the last key.
    pub rows: Option<Arc<[Row]>>,
}

/// Where a query sequence stands among the keys: its query `i` is at position `past + i` and sees keys
/// `first ..= past + i`. A query before `first` sees nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The key sequence it reads.
    pub row: usize,
    /// The first key that is not padding.
    pub first: usize,
    /// Keys before its first query.
    pub past: usize,
}

impl Mask {
    /// The rows of `b` sequences of `t` queries over keys of shape `[c, s, …]`.
    pub(super) fn rows(&self, [b, t]: [usize; 2], [c, s]: [usize; 2]) -> Arc<[Row]> {
        let Some(rows) = &self.rows else {
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

    /// The keys that query `i` of a row sees; empty where it sees none.
    pub(super) fn keys(&self, row: Row, i: usize) -> Range<usize> {
        let end = row.past + i + 1;
        let start = end.saturating_sub(self.window.unwrap_or(end)).max(row.first);
        start.min(end)..end
    }

    /// True where a query does not see a key, `[b, 1, t, s]`; all false for queries that see none, which
    /// [`blind`](Self::blind) finds, so that no softmax is taken over nothing.
    pub(super) fn hidden(&self, rows: &[Row], [t, s]: [usize; 2], device: &Device) -> Tensor<4, Bool> {
        let mut hidden = Vec::with_capacity(rows.len() * t * s);
        for row in rows {
            for i in 0..t {
                let keys = self.keys(*row, i);
                hidden.extend((0..s).map(|key| !keys.is_empty() && !keys.contains(&key)));
            }
        }
        Tensor::from_data(TensorData::new(hidden, [rows.len(), 1, t, s]), device)
    }

    /// True for queries that see no key, `[b, 1, t, 1]`; none where all see one.
    pub(super) fn blind(&self, rows: &[Row], t: usize, device: &Device) -> Option<Tensor<4, Bool>> {
        let blind: Vec<bool> = rows
            .iter()
            .flat_map(|row| (0..t).map(|i| self.keys(*row, i).is_empty()))
            .collect();
        blind
            .contains(&true)
            .then(|| Tensor::from_data(TensorData::new(blind, [rows.len(), 1, t, 1]), device))
    }
}

/// Key position less query position, `[b, 1, t, s]`, row by row.
pub(super) fn distances(rows: &[Row], [t, s]: [usize; 2]) -> TensorData {
    let mut distances = Vec::with_capacity(rows.len() * t * s);
    for row in rows {
        for i in 0..t {
            distances.extend((0..s).map(|key| key as f64 - (row.past + i) as f64));
        }
    }
    TensorData::new(distances, [rows.len(), 1, t, s])
}
