//! Products of sixteen rows with a block of others, summed up in tensor cores where the device has them for the type, else
//! by the units one by one, so that what is built upon them runs and is tested anywhere.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::cmma::{self, Matrix, MatrixIdent, MatrixLayout};
use burn_cubecl::cubecl::prelude::*;

/// Rows and columns of a tile.
pub(super) const TILE: usize = 16;

/// Units that work on a tile together.
pub(super) const LANES: usize = 32;

/// Elements of a tile that a unit has, where the units work one by one.
const HELD: usize = TILE * TILE / LANES;

/// How a product is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Product {
    /// Tiles of the result.
    pub(super) tiles: usize,
    /// Tiles that are summed over.
    pub(super) depth: usize,
    /// Elements from a row of the left factor to the next.
    pub(super) left: usize,
    /// Elements from a row of the right factor to the next.
    pub(super) right: usize,
    /// Whether the right factor's rows are the result's columns, or what is summed over.
    pub(super) across: bool,
    /// Elements of a vector of the right factor.
    pub(super) vector: usize,
    /// Whether there are tensor cores for it.
    pub(super) accelerated: bool,
}

impl Product {
    /// Where a tile of the right factor begins, in vectors.
    fn begin(self, deep: usize, tile: usize) -> usize {
        let (row, column) = if self.across { (tile, deep) } else { (deep, tile) };
        (row * self.right + column) * TILE / self.vector
    }
}

/// Sixteen rows of sums.
#[derive(CubeType)]
pub(super) struct Row {
    fragments: Sequence<Matrix<f32>>,
    held: Sequence<Array<f32>>,
}

/// Sixteen rows of zeros, of this many tiles.
#[cube]
pub(super) fn zeros(#[comptime] tiles: usize, #[comptime] accelerated: bool) -> Row {
    let mut fragments = Sequence::<Matrix<f32>>::new();
    let mut held = Sequence::<Array<f32>>::new();
    #[unroll]
    for _ in 0..tiles {
        if accelerated {
            fragments.push(Matrix::<f32>::from_value(
                MatrixIdent::Accumulator,
                TILE,
                TILE,
                TILE,
                MatrixLayout::Undefined,
                0.0f32,
            ));
        } else {
            let mut tile = Array::<f32>::new(HELD);
            #[unroll]
            for i in 0..HELD {
                tile[i] = 0.0f32;
            }
            held.push(tile);
        }
    }
    Row { fragments, held }
}

/// Adds the product of sixteen rows, whose first vector is `first`, with a block.
#[cube]
pub(super) fn add<F: Float, N: Size>(
    row: &mut Row,
    rows: &[Vector<F, N>],
    first: usize,
    block: &[Vector<F, N>],
    #[comptime] product: Product,
) {
    #[unroll]
    for deep in 0..product.depth {
        if product.accelerated {
            let begin = first + comptime!(deep * TILE / product.vector);
            let mut left = unsafe { uninitialized::<F>(MatrixIdent::A, MatrixLayout::RowMajor) };
            cmma::load(&mut left, &rows[begin..rows.len()], product.left as u32);
            accelerated::<F, N>(row, &left, block, deep, product);
        } else {
            #[unroll]
            for tile in 0..product.tiles {
                let begin = comptime!(product.begin(deep, tile));
                #[unroll]
                for i in 0..HELD {
                    let place = comptime!(i * LANES).runtime() + UNIT_POS_X as usize;
                    let (r, column) = (place / TILE, place % TILE);
                    let mut sum = 0.0f32;
                    for k in 0..TILE {
                        let of_row = r * product.left + k + comptime!(deep * TILE);
                        let x = element::<F, N>(rows, first * product.vector + of_row, product.vector);
                        sum += x * of_block::<F, N>(block, begin, k, column, product);
                    }
                    let held = row.held.index_mut(tile);
                    held[i] += sum;
                }
            }
        }
    }
}

/// As [`add`], where the rows are not in vectors.
#[cube]
pub(super) fn add_plain<F: Float, N: Size>(
    row: &mut Row,
    rows: &[F],
    first: usize,
    block: &[Vector<F, N>],
    #[comptime] product: Product,
) {
    #[unroll]
    for deep in 0..product.depth {
        if product.accelerated {
            let begin = first + comptime!(deep * TILE);
            let mut left = unsafe { uninitialized::<F>(MatrixIdent::A, MatrixLayout::RowMajor) };
            cmma::load(&mut left, &rows[begin..rows.len()], product.left as u32);
            accelerated::<F, N>(row, &left, block, deep, product);
        } else {
            #[unroll]
            for tile in 0..product.tiles {
                let begin = comptime!(product.begin(deep, tile));
                #[unroll]
                for i in 0..HELD {
                    let place = comptime!(i * LANES).runtime() + UNIT_POS_X as usize;
                    let (r, column) = (place / TILE, place % TILE);
                    let mut sum = 0.0f32;
                    for k in 0..TILE {
                        let x = f32::cast_from(rows[first + r * product.left + k + comptime!(deep * TILE)]);
                        sum += x * of_block::<F, N>(block, begin, k, column, product);
                    }
                    let held = row.held.index_mut(tile);
                    held[i] += sum;
                }
            }
        }
    }
}

/// # Safety
/// What it gives is loaded before it is used.
#[cube]
unsafe fn uninitialized<F: Float>(
    #[comptime] ident: MatrixIdent,
    #[comptime] layout: MatrixLayout,
) -> Matrix<F> {
    unsafe { Matrix::<F>::uninitialized(ident, TILE, TILE, TILE, layout) }
}

/// Adds the products of a fragment with a block's tiles.
#[cube]
fn accelerated<F: Float, N: Size>(
    row: &mut Row,
    left: &Matrix<F>,
    block: &[Vector<F, N>],
    #[comptime] deep: usize,
    #[comptime] product: Product,
) {
    let layout = comptime!(if product.across {
        MatrixLayout::ColMajor
    } else {
        MatrixLayout::RowMajor
    });
    #[unroll]
    for tile in 0..product.tiles {
        let begin = comptime!(product.begin(deep, tile));
        let mut right = unsafe { uninitialized::<F>(MatrixIdent::B, layout) };
        cmma::load(&mut right, &block[begin..block.len()], product.right as u32);
        let sums = row.fragments.index(tile);
        cmma::execute(left, &right, sums, sums);
    }
}

/// An element of the right factor's tile that begins at this vector.
#[cube]
fn of_block<F: Float, N: Size>(
    block: &[Vector<F, N>],
    begin: usize,
    k: usize,
    column: usize,
    #[comptime] product: Product,
) -> f32 {
    let place = if product.across {
        column * product.right + k
    } else {
        k * product.right + column
    };
    element::<F, N>(block, begin * product.vector + place, product.vector)
}

#[cube]
fn element<F: Float, N: Size>(values: &[Vector<F, N>], place: usize, #[comptime] vector: usize) -> f32 {
    f32::cast_from(values[place / vector].extract_dynamic(place % vector))
}

/// Writes tiles `from..to` side by side, from place `first` on, rows this far apart.
#[cube]
pub(super) fn store(
    row: &Row,
    strip: &mut [f32],
    first: usize,
    #[comptime] stride: usize,
    #[comptime] from: usize,
    #[comptime] to: usize,
    #[comptime] accelerated: bool,
) {
    #[unroll]
    for tile in from..to {
        let begin = first + comptime!((tile - from) * TILE);
        if accelerated {
            let end = strip.len();
            cmma::store(
                &mut strip[begin..end],
                row.fragments.index(tile),
                stride as u32,
                MatrixLayout::RowMajor,
            );
        } else {
            #[unroll]
            for i in 0..HELD {
                let place = comptime!(i * LANES).runtime() + UNIT_POS_X as usize;
                let held = row.held.index(tile);
                strip[begin + (place / TILE) * stride + place % TILE] = held[i];
            }
        }
    }
}

/// Waits for the units that work on the same rows.
#[cube]
pub(super) fn together(#[comptime] accelerated: bool) {
    if accelerated {
        sync_plane();
    } else {
        sync_cube();
    }
}
