//! What a query sees, and what is added to its scores.

use std::sync::Arc;

use burn::tensor::Tensor;

/// Which keys each query sees, and what is added to its scores. The default is plain causal attention. A key is seen where
/// nothing hides it; what is added to a score is the sum of all there is. A clone costs little:
/// every layer of every token takes one.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// Keys after a query's own are seen as well, as in encoders.
    pub full: bool,
    /// A query sees only keys fewer than this many positions away: of those up to its own, this many at most, its own
    /// included (a sliding window, Jiang et al. 2023).
    pub window: Option<usize>,
    /// A query sees only keys of its own segment: sequences packed into one.
    pub segments: Option<Segments>,
    /// One a key, `[c, s]` row by row, added to its scores; a constant. −∞ hides a key.
    pub key_bias: Option<Arc<[f64]>>,
    /// One a query head: `−slope · |key position − query position|` is added to its scores (ALiBi, Press et al. 2022).
    pub slopes: Option<Arc<[f64]>>,
    /// Added to the scores by distance and head, and learned.
    pub relative: Option<Relative>,
    /// One a query sequence. None: query sequence `b` reads key sequence `b`, all its keys, and its last query stands at
    /// the last key.
    pub rows: Option<Arc<[Row]>>,
}

/// Where a query sequence of `t` stands among the keys: its query `i` is at position `past + i`, and its keys are
/// `first .. past + t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The key sequence it reads.
    pub row: usize,
    /// The first key that is not padding.
    pub first: usize,
    /// Keys before its first query.
    pub past: usize,
}

/// Where the segments of key sequences begin and end; a query is of the segment of the key at its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// For each position, row by row, the first of its segment and the first after it.
    ends: Arc<[[usize; 2]]>,
}

impl Segments {
    /// From ids `[c, s]`, row by row: a segment is a run of positions of equal id.
    pub fn new(ids: &[u32], s: usize) -> Self {
        let mut ends = Vec::with_capacity(ids.len());
        for row in ids.chunks(s.max(1)) {
            let mut first = 0;
            for run in row.chunk_by(PartialEq::eq) {
                ends.resize(ends.len() + run.len(), [first, first + run.len()]);
                first += run.len();
            }
        }
        Self { ends: ends.into() }
    }

    /// Positions of all sequences.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The segment of a position.
    pub(super) fn of(&self, position: usize) -> [usize; 2] {
        self.ends[position]
    }
}

/// A learned bias of the scores by how far a key is away, in buckets that widen with the distance (Raffel et al. 2020, §2.1):
/// one a distance for the nearer half of them, then logarithmic up to `max_distance`, from which on all share the last.
/// Where keys after the query are seen, they have the second half of the buckets.
#[derive(Debug, Clone)]
pub struct Relative {
    /// `[h, buckets]`.
    pub table_hn: Tensor<2>,
    /// From where on the last bucket holds.
    pub max_distance: usize,
}

/// The rule of [`Relative`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buckets {
    pub(super) count: usize,
    pub(super) max_distance: usize,
    /// Keys after the query have buckets of their own.
    pub(super) full: bool,
}

impl Buckets {
    /// The buckets of a mask that has them.
    pub(super) fn of(mask: &Mask) -> Option<Self> {
        let relative = mask.relative.as_ref()?;
        let buckets = Self {
            count: relative.table_hn.dims()[1],
            max_distance: relative.max_distance,
            full: mask.full,
        };
        let side = buckets.side();
        assert!(side >= 2, "there are two buckets a side");
        assert!(
            !mask.full || buckets.count.is_multiple_of(2),
            "both sides have as many"
        );
        assert!(
            buckets.max_distance > side / 2,
            "buckets reach beyond single distances"
        );
        Some(buckets)
    }

    /// Buckets of one side.
    fn side(self) -> usize {
        if self.full { self.count / 2 } else { self.count }
    }

    /// The bucket of a key's position less the query's.
    pub(super) fn index(self, distance: i64) -> usize {
        /// Keeps distances at which a bucket begins from falling into the one before by rounding.
        const ROUNDING: f64 = 1e-9;
        let side = self.side();
        let (first, away) = match distance {
            1.. if self.full => (side, distance as usize),
            1.. => (0, 0),
            _ => (0, distance.unsigned_abs() as usize),
        };
        let single = side / 2;
        if away < single {
            return first + away;
        }
        let ratio = (away as f64 / single as f64).ln() / (self.max_distance as f64 / single as f64).ln();
        let wide = (ratio * (side - single) as f64 + ROUNDING) as usize;
        first + (single + wide).min(side - 1)
    }
}
