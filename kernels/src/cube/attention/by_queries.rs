//! The gradient of queries: probabilities are worked out again from the scores and their log-sum-exp, here by queries and in
//! [`by_keys`](super::by_keys) by keys, so that every sum is one cube's own and its order fixed.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::block::{Heads, Sizes, end_of, ends, first_of, own_row, pairs, stage, start_of, write};
use super::tiles::{TILE, add_plain, together, zeros};

/// `Σ value · gradient` of every query and head, `[b, h, t]`, from two tensors `[b, t, h, d]`: one unit a query and head.
#[cube(launch)]
pub(super) fn levels_kernel<F: Float, N: Size>(
    values: &Tensor<Vector<F, N>>,
    gradient: &Tensor<Vector<F, N>>,
    levels: &mut Tensor<f32>,
    #[comptime] sizes: Sizes,
    #[define(F)] _dtype: ElemType,
) {
    let place = ABSOLUTE_POS;
    if place >= levels.len() {
        terminate!();
    }
    let t = values.shape(1);
    let (head, row) = (place % sizes.heads, place / sizes.heads);
    let start = place * comptime!(sizes.d / sizes.vector);
    let mut sum = 0.0f32;
    for i in 0..comptime!(sizes.d / sizes.vector) {
        let product =
            Vector::<f32, N>::cast_from(values[start + i]) * Vector::<f32, N>::cast_from(gradient[start + i]);
        #[unroll]
        for j in 0..sizes.vector {
            sum += product.extract(j);
        }
    }
    levels[(row / t * sizes.heads + head) * t + row % t] = sum;
}

/// The gradient of the queries, one cube a block of a head's: with `p` the probabilities and `g` what the values' gradient
/// makes of them, `scale · (p ∘ (g − level)) · keys`.
#[cube(launch)]
pub(super) fn queries_kernel<F: Float, I: Int, N: Size>(
    qkv: &Tensor<Vector<F, N>>,
    ranges: &Tensor<I>,
    sums: &Tensor<f32>,
    levels: &Tensor<f32>,
    gradient: &Tensor<Vector<F, N>>,
    by_qkv: &mut Tensor<F>,
    scale: f32,
    #[comptime] sizes: Sizes,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let t = qkv.shape(1);
    let first = first_of(t, sizes);
    let heads = Heads::new(CUBE_POS_Y as usize, sizes);
    let mut queries = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut slopes = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
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
    stage::<F, N>(
        gradient,
        &mut slopes,
        heads.sequence,
        heads.query,
        first,
        sizes.heads,
        sizes,
    );
    let own = own_row();
    let half = UNIT_POS_X as usize % 2;
    let (start, end) = ends::<I>(ranges, heads.sequence, first + own, t);
    let rows = UNIT_POS_Y as usize * TILE;
    let mut sum = 0.0f32;
    let mut level = 0.0f32;
    if first + own < t {
        sum = sums[CUBE_POS_Y as usize * t + first + own];
        level = levels[CUBE_POS_Y as usize * t + first + own];
    }

    let mut by_queries = zeros(comptime!(sizes.d / TILE), sizes.accelerated);
    let mut probabilities = Array::<f32>::new(comptime!(sizes.block / 2));
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
        #[unroll]
        for i in 0..comptime!(sizes.block / 2) {
            let column = comptime!(2 * i).runtime() + half;
            let key = block * sizes.block + column;
            let mut probability = 0.0f32;
            if key >= start && key < end {
                probability = (strip[own * comptime!(sizes.strip()) + column] * scale - sum).exp();
            }
            probabilities[i] = probability;
        }
        together(sizes.accelerated);
        pairs::<F, N>(&slopes, &of_keys, &mut strip, sizes);
        #[unroll]
        for i in 0..comptime!(sizes.block / 2) {
            let column = comptime!(2 * i).runtime() + half;
            let by_score =
                probabilities[i] * (strip[own * comptime!(sizes.strip()) + column] - level) * scale;
            weights[own * comptime!(sizes.weights()) + column] = F::cast_from(by_score);
        }
        together(sizes.accelerated);
        add_plain::<F, N>(
            &mut by_queries,
            &weights,
            rows * comptime!(sizes.weights()),
            &keys,
            comptime!(sizes.along()),
        );
        block += 1;
    }
    let head = heads.sequence * t * sizes.all() + heads.query;
    write::<F>(
        &by_queries,
        &mut strip,
        by_qkv,
        head,
        sizes.all(),
        first,
        t,
        sizes,
    );
}
