//! What the kernels share: sizes, blocks of rows that a cube has at hand, and which keys a query sees.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::tiles::{LANES, Product, Row, TILE, add, store, together, zeros};

/// Sixteen bytes more than there are from a row to the next let rows lie in different banks.
const APART: usize = 16;

/// The sizes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sizes {
    /// Heads of queries.
    pub(super) heads: usize,
    /// Heads of keys, and of values.
    pub(super) groups: usize,
    /// Elements of a head: a multiple of [`TILE`].
    pub(super) d: usize,
    /// Elements of a vector.
    pub(super) vector: usize,
    /// Rows of a block.
    pub(super) block: usize,
    /// Whether there are tensor cores for the type.
    pub(super) accelerated: bool,
}

impl Sizes {
    /// Units of a cube: a plane for every sixteen rows of its block.
    pub(super) fn units(self) -> usize {
        self.block / TILE * LANES
    }

    /// Elements from one row of scores to the next.
    pub(super) fn strip(self) -> usize {
        self.block + APART / size_of::<f32>()
    }

    /// Heads in one tensor of queries, keys and values.
    pub(super) fn all(self) -> usize {
        self.heads + 2 * self.groups
    }

    /// Elements from one row of a staged block to the next.
    pub(super) fn stride(self) -> usize {
        self.d + self.vector
    }

    /// Vectors of a staged block.
    pub(super) fn staged(self) -> usize {
        self.block * self.stride() / self.vector
    }

    /// Elements from one row of weights to the next.
    pub(super) fn weights(self) -> usize {
        self.block + self.vector
    }

    /// Of rows of heads with a block of rows of heads: one sum for each pair.
    pub(super) fn across(self) -> Product {
        Product {
            tiles: self.block / TILE,
            depth: self.d / TILE,
            left: self.stride(),
            right: self.stride(),
            across: true,
            vector: self.vector,
            accelerated: self.accelerated,
        }
    }

    /// Of weights for a block with its rows.
    pub(super) fn along(self) -> Product {
        Product {
            tiles: self.d / TILE,
            depth: self.block / TILE,
            left: self.weights(),
            across: false,
            ..self.across()
        }
    }
}

/// Which sequence and heads a cube works on.
#[derive(CubeType)]
pub(super) struct Heads {
    pub(super) sequence: usize,
    /// Of the queries, keys and values, among all heads of the tensor.
    pub(super) query: usize,
    pub(super) key: usize,
    pub(super) value: usize,
}

#[cube]
impl Heads {
    /// Those of a sequence's head of queries, counted through all sequences.
    pub(super) fn new(index: usize, #[comptime] sizes: Sizes) -> Heads {
        let query = index % sizes.heads;
        let group = query / comptime!(sizes.heads / sizes.groups);
        Heads {
            sequence: index / sizes.heads,
            query,
            key: sizes.heads + group,
            value: comptime!(sizes.heads + sizes.groups) + group,
        }
    }
}

/// The first query of a cube that works on a block of `t` queries; the last blocks, which may see most, come first.
#[cube]
pub(super) fn first_of(t: usize, #[comptime] sizes: Sizes) -> usize {
    (t.div_ceil(sizes.block) - 1 - CUBE_POS_X as usize) * sizes.block
}

/// The row of the block that this unit looks after, one of two units that do.
#[cube]
pub(super) fn own_row() -> usize {
    UNIT_POS_Y as usize * TILE + UNIT_POS_X as usize / 2
}

/// The keys that a query sees; none behind the last.
#[cube]
pub(super) fn ends<I: Int>(ranges: &Tensor<I>, sequence: usize, query: usize, t: usize) -> (usize, usize) {
    let mut start = 0usize;
    let mut end = 0usize;
    if query < t {
        let place = (sequence * t + query) * 2;
        start = u32::cast_from(ranges[place]) as usize;
        end = u32::cast_from(ranges[place + 1]) as usize;
    }
    (start, end)
}

/// The first key that a query of the block sees: no later one sees an earlier one.
#[cube]
pub(super) fn start_of<I: Int>(ranges: &Tensor<I>, sequence: usize, first: usize, t: usize) -> usize {
    u32::cast_from(ranges[(sequence * t + first) * 2]) as usize
}

/// The end of the keys that queries of the block see.
#[cube]
pub(super) fn end_of<I: Int>(
    ranges: &Tensor<I>,
    sequence: usize,
    first: usize,
    t: usize,
    #[comptime] sizes: Sizes,
) -> usize {
    let mut last = first + sizes.block;
    if last > t {
        last = t;
    }
    u32::cast_from(ranges[(sequence * t + last) * 2 - 1]) as usize
}

/// Copies a block of a head's rows out of `[b, t, heads, d]`; zeros behind the last.
#[cube]
pub(super) fn stage<F: Float, N: Size>(
    from: &Tensor<Vector<F, N>>,
    to: &mut [Vector<F, N>],
    sequence: usize,
    head: usize,
    first: usize,
    #[comptime] heads: usize,
    #[comptime] sizes: Sizes,
) {
    let t = from.shape(1);
    let width = comptime!(sizes.d / sizes.vector);
    let start = ((sequence * t + first) * heads + head) * width;
    let mut i = UNIT_POS as usize;
    while i < comptime!(sizes.block * sizes.d / sizes.vector) {
        let (row, column) = (i / width, i % width);
        let place = row * comptime!(sizes.stride() / sizes.vector) + column;
        if first + row < t {
            to[place] = from[start + row * heads * width + column];
        } else {
            to[place] = Vector::<F, N>::new(F::new(0.0));
        }
        i += comptime!(sizes.units());
    }
}

/// What sixteen rows of a block, this plane's, make with every row of another: the sums go to the plane's rows of `strip`.
#[cube]
pub(super) fn pairs<F: Float, N: Size>(
    rows: &[Vector<F, N>],
    block: &[Vector<F, N>],
    strip: &mut [f32],
    #[comptime] sizes: Sizes,
) {
    let own = UNIT_POS_Y as usize * TILE;
    let tiles = comptime!(sizes.block / TILE);
    let mut sums = zeros(tiles, sizes.accelerated);
    let first = own * comptime!(sizes.stride() / sizes.vector);
    add::<F, N>(&mut sums, rows, first, block, comptime!(sizes.across()));
    let stride = comptime!(sizes.strip());
    store(
        &sums,
        strip,
        own * stride,
        stride,
        0usize,
        tiles,
        sizes.accelerated,
    );
    together(sizes.accelerated);
}

/// Writes sums of a block's rows to a head of `[b, t, heads, d]`, whose first row is `head` heads from the beginning.
#[cube]
pub(super) fn write<F: Float>(
    row: &Row,
    strip: &mut [f32],
    to: &mut Tensor<F>,
    head: usize,
    #[comptime] heads: usize,
    first: usize,
    t: usize,
    #[comptime] sizes: Sizes,
) {
    let own = UNIT_POS_Y as usize * TILE;
    #[unroll]
    for part in 0..comptime!(sizes.d.div_ceil(sizes.block)) {
        let from = comptime!(part * sizes.block / TILE);
        let until = comptime!(((part + 1) * sizes.block).min(sizes.d) / TILE);
        let width = comptime!((until - from) * TILE);
        together(sizes.accelerated);
        store(
            row,
            strip,
            own * comptime!(sizes.strip()),
            comptime!(sizes.strip()),
            from,
            until,
            sizes.accelerated,
        );
        together(sizes.accelerated);
        let mut i = UNIT_POS_X as usize;
        while i < comptime!(TILE * width) {
            let (r, column) = (i / width, i % width);
            let place = first + own + r;
            if place < t {
                let start = (head + place * heads) * sizes.d + comptime!(from * TILE);
                to[start + column] = F::cast_from(strip[(own + r) * comptime!(sizes.strip()) + column]);
            }
            i += LANES;
        }
    }
}
