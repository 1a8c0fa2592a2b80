//! Where queries, keys and values lie.

use burn_flex::FlexTensor;

use crate::flex;

/// Heads of consecutive positions inside a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    /// The first element of the first head.
    first: usize,
    /// From one position to the next.
    pub(super) position: usize,
    /// From one sequence to the next.
    sequence: usize,
    /// A head's elements.
    d: usize,
}

impl Heads {
    /// Heads from `first` on of a tensor `[b, t, h, d]`.
    fn new([_, t, h, d]: [usize; 4], first: usize) -> Self {
        Self {
            first: first * d,
            position: h * d,
            sequence: t * h * d,
            d,
        }
    }

    /// Where a head's vector begins.
    pub(super) fn place(self, sequence: usize, position: usize, head: usize) -> usize {
        self.first + sequence * self.sequence + position * self.position + head * self.d
    }
}

/// Queries, keys and values.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    /// Their elements.
    pub(super) data: [&'a [f32]; 3],
    /// Where they lie.
    pub(super) heads: [Heads; 3],
    /// Key sequences.
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) g: usize,
    pub(super) d: usize,
}

impl<'a> Operands<'a> {
    /// Each a tensor of its own.
    pub(super) fn apart([q, k, v]: [&'a FlexTensor; 3]) -> Self {
        let (queries, keys): ([usize; 4], [usize; 4]) = (flex::dims(q), flex::dims(k));
        Self {
            data: [q, k, v].map(FlexTensor::storage),
            heads: [queries, keys, keys].map(|dims| Heads::new(dims, 0)),
            c: keys[0],
            h: queries[2],
            g: keys[2],
            d: queries[3],
        }
    }

    /// `[b, t, h + 2g, d]`.
    pub(super) fn packed(qkv: &'a FlexTensor, g: usize) -> Self {
        let dims: [usize; 4] = flex::dims(qkv);
        let h = dims[2] - 2 * g;
        Self {
            data: [qkv.storage(); 3],
            heads: [0, h, h + g].map(|first| Heads::new(dims, first)),
            c: dims[0],
            h,
            g,
            d: dims[3],
        }
    }

    /// Copies a head's vectors of consecutive positions side by side.
    pub(super) fn gather(&self, which: usize, target: &mut Vec<f32>, place: [usize; 3], count: usize) {
        let [sequence, position, head] = place;
        let heads = self.heads[which];
        let source = &self.data[which][heads.place(sequence, position, head)..];
        gather(target, source, heads.position, self.d, count);
    }
}

/// Copies `count` vectors that begin `stride` apart side by side.
pub(super) fn gather(target: &mut Vec<f32>, source: &[f32], stride: usize, d: usize, count: usize) {
    target.clear();
    for vector in source.chunks(stride).take(count) {
        target.extend_from_slice(&vector[..d]);
    }
}
