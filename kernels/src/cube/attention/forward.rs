//! The forward pass, one cube a block of a head's queries: a first sweep over the keys finds every query's log-sum-exp, with
//! which a second one weighs the values, so that no sum is ever scaled anew.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::block::{Heads, Sizes, end_of, ends, first_of, own_row, pairs, stage, start_of, write};
use super::tiles::{TILE, add_plain, together, zeros};

/// Below every score.
const LOWEST: f32 = f32::MIN;

/// `ln Σ exp(score)` over the keys that a query sees, `[b, h, t]`; zero where it sees none.
#[cube(launch)]
pub(super) fn sums_kernel<F: Float, I: Int, N: Size>(
    qkv: &Tensor<Vector<F, N>>,
    ranges: &Tensor<I>,
    sums: &mut Tensor<f32>,
    scale: f32,
    #[comptime] sizes: Sizes,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let t = qkv.shape(1);
    let first = first_of(t, sizes);
    let heads = Heads::new(CUBE_POS_Y as usize, sizes);
    let mut queries = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut keys = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut strip = Shared::<[f32]>::new_aligned_slice(comptime!(sizes.block * sizes.strip()), 32usize);
    let mut halves = Shared::<[f32]>::new_slice(comptime!(4 * sizes.block));

    stage::<F, N>(
        qkv,
        &mut queries,
        heads.sequence,
        heads.query,
        first,
        sizes.all(),
        sizes,
    );
    let own = own_row();
    let half = UNIT_POS_X as usize % 2;
    let (start, end) = ends::<I>(ranges, heads.sequence, first + own, t);

    let mut max = LOWEST.runtime();
    let mut sum = 0.0f32;
    let mut block = start_of::<I>(ranges, heads.sequence, first, t) / sizes.block;
    let blocks = end_of::<I>(ranges, heads.sequence, first, t, sizes).div_ceil(sizes.block);
    while block < blocks {
        sync_cube();
        stage::<F, N>(
            qkv,
            &mut keys,
            heads.sequence,
            heads.key,
            block * sizes.block,
            sizes.all(),
            sizes,
        );
        sync_cube();
        pairs::<F, N>(&queries, &keys, &mut strip, sizes);
        let before = max;
        for i in 0..comptime!(sizes.block / 2) {
            let column = 2 * i + half;
            let key = block * sizes.block + column;
            let score = strip[own * comptime!(sizes.strip()) + column] * scale;
            if key >= start && key < end && score > max {
                max = score;
            }
        }
        sum *= (before - max).exp();
        for i in 0..comptime!(sizes.block / 2) {
            let column = 2 * i + half;
            let key = block * sizes.block + column;
            if key >= start && key < end {
                sum += (strip[own * comptime!(sizes.strip()) + column] * scale - max).exp();
            }
        }
        together(sizes.accelerated);
        block += 1;
    }
    halves[own * 4 + half] = max;
    halves[own * 4 + 2 + half] = sum;
    sync_cube();
    if half == 0 && first + own < t {
        let mut highest = halves[own * 4];
        if halves[own * 4 + 1] > highest {
            highest = halves[own * 4 + 1];
        }
        let total = halves[own * 4 + 2] * (halves[own * 4] - highest).exp()
            + halves[own * 4 + 3] * (halves[own * 4 + 1] - highest).exp();
        let mut value = 0.0f32;
        if start < end {
            value = highest + total.ln();
        }
        sums[CUBE_POS_Y as usize * t + first + own] = value;
    }
}

/// The values, `[b, t, h, d]`.
#[cube(launch)]
pub(super) fn values_kernel<F: Float, I: Int, N: Size>(
    qkv: &Tensor<Vector<F, N>>,
    ranges: &Tensor<I>,
    sums: &Tensor<f32>,
    values: &mut Tensor<F>,
    scale: f32,
    #[comptime] sizes: Sizes,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let t = qkv.shape(1);
    let first = first_of(t, sizes);
    let heads = Heads::new(CUBE_POS_Y as usize, sizes);
    let mut queries = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut keys = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut of_keys = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut strip = Shared::<[f32]>::new_aligned_slice(comptime!(sizes.block * sizes.strip()), 32usize);
    let mut weights = Shared::<[F]>::new_aligned_slice(comptime!(sizes.block * sizes.weights()), 32usize);

    stage::<F, N>(
        qkv,
        &mut queries,
        heads.sequence,
        heads.query,
        first,
        sizes.all(),
        sizes,
    );
    let own = own_row();
    let half = UNIT_POS_X as usize % 2;
    let (start, end) = ends::<I>(ranges, heads.sequence, first + own, t);
    let rows = UNIT_POS_Y as usize * TILE;
    let mut sum = 0.0f32;
    if first + own < t {
        sum = sums[CUBE_POS_Y as usize * t + first + own];
    }

    let mut mixed = zeros(comptime!(sizes.d / TILE), sizes.accelerated);
    let mut block = start_of::<I>(ranges, heads.sequence, first, t) / sizes.block;
    let blocks = end_of::<I>(ranges, heads.sequence, first, t, sizes).div_ceil(sizes.block);
    while block < blocks {
        sync_cube();
        stage::<F, N>(
            qkv,
            &mut keys,
            heads.sequence,
            heads.key,
            block * sizes.block,
            sizes.all(),
            sizes,
        );
        stage::<F, N>(
            qkv,
            &mut of_keys,
            heads.sequence,
            heads.value,
            block * sizes.block,
            sizes.all(),
            sizes,
        );
        sync_cube();
        pairs::<F, N>(&queries, &keys, &mut strip, sizes);
        for i in 0..comptime!(sizes.block / 2) {
            let column = 2 * i + half;
            let key = block * sizes.block + column;
            let mut weight = 0.0f32;
            if key >= start && key < end {
                weight = (strip[own * comptime!(sizes.strip()) + column] * scale - sum).exp();
            }
            weights[own * comptime!(sizes.weights()) + column] = F::cast_from(weight);
        }
        together(sizes.accelerated);
        add_plain::<F, N>(
            &mut mixed,
            &weights,
            rows * comptime!(sizes.weights()),
            &of_keys,
            comptime!(sizes.along()),
        );
        block += 1;
    }
    write::<F>(
        &mixed,
        &mut strip,
        values,
        (heads.sequence * t * sizes.heads) + heads.query,
        sizes.heads,
        first,
        t,
        sizes,
    );
}
