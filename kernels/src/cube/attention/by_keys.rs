//! The gradients of keys and values: the same sums as those by queries, taken by keys.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::block::{Heads, Sizes, end_of, ends, own_row, pairs, stage, start_of, write};
use super::tiles::{TILE, add_plain, together, zeros};

/// The gradients of keys and values, one cube a block of a head's: the same sums by keys, over all queries that see them.
#[cube(launch)]
pub(super) fn keys_kernel<F: Float, I: Int, N: Size>(
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
    let first = CUBE_POS_X as usize * sizes.block;
    let (sequence, group) = (
        CUBE_POS_Y as usize / sizes.groups,
        CUBE_POS_Y as usize % sizes.groups,
    );
    let each = comptime!(sizes.heads / sizes.groups);
    let heads = Heads::new(sequence * sizes.heads + group * each, sizes);
    let mut keys = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut of_keys = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut queries = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut slopes = Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(sizes.staged()), 32usize);
    let mut strip = Shared::<[f32]>::new_aligned_slice(comptime!(sizes.block * sizes.strip()), 32usize);
    let mut weights = Shared::<[F]>::new_aligned_slice(comptime!(sizes.block * sizes.weights()), 32usize);
    // Of every query of the block: its log-sum-exp and level, and the keys it sees.
    let mut known = Shared::<[f32]>::new_slice(comptime!(2 * sizes.block));
    let mut seen = Shared::<[u32]>::new_slice(comptime!(2 * sizes.block));

    stage::<F, N>(qkv, &mut keys, sequence, heads.key, first, sizes.all(), sizes);
    stage::<F, N>(
        qkv,
        &mut of_keys,
        sequence,
        heads.value,
        first,
        sizes.all(),
        sizes,
    );
    let own = own_row();
    let half = UNIT_POS_X as usize % 2;
    let key = (first + own) as u32;
    let rows = UNIT_POS_Y as usize * TILE;

    let mut by_keys = zeros(comptime!(sizes.d / TILE), sizes.accelerated);
    let mut by_values = zeros(comptime!(sizes.d / TILE), sizes.accelerated);
    let mut probabilities = Array::<f32>::new(comptime!(sizes.block / 2));
    for of_group in 0..each {
        let head = sequence * sizes.heads + group * each + of_group;
        let mut block = 0usize;
        while block * sizes.block < t {
            let from = block * sizes.block;
            let end = end_of::<I>(ranges, sequence, from, t, sizes);
            if start_of::<I>(ranges, sequence, from, t) < first + sizes.block && end > first {
                sync_cube();
                stage::<F, N>(
                    qkv,
                    &mut queries,
                    sequence,
                    head % sizes.heads,
                    from,
                    sizes.all(),
                    sizes,
                );
                stage::<F, N>(
                    gradient,
                    &mut slopes,
                    sequence,
                    head % sizes.heads,
                    from,
                    sizes.heads,
                    sizes,
                );
                let unit = UNIT_POS as usize;
                if unit < sizes.block {
                    let (start, end) = ends::<I>(ranges, sequence, from + unit, t);
                    seen[2 * unit] = start as u32;
                    seen[2 * unit + 1] = end as u32;
                    let mut sum = 0.0f32;
                    let mut level = 0.0f32;
                    if from + unit < t {
                        sum = sums[head * t + from + unit];
                        level = levels[head * t + from + unit];
                    }
                    known[2 * unit] = sum;
                    known[2 * unit + 1] = level;
                }
                sync_cube();
                pairs::<F, N>(&keys, &queries, &mut strip, sizes);
                #[unroll]
                for i in 0..comptime!(sizes.block / 2) {
                    let query = comptime!(2 * i).runtime() + half;
                    let mut probability = 0.0f32;
                    if key >= seen[2 * query] && key < seen[2 * query + 1] {
                        probability =
                            (strip[own * comptime!(sizes.strip()) + query] * scale - known[2 * query]).exp();
                    }
                    probabilities[i] = probability;
                    weights[own * comptime!(sizes.weights()) + query] = F::cast_from(probability);
                }
                together(sizes.accelerated);
                add_plain::<F, N>(
                    &mut by_values,
                    &weights,
                    rows * comptime!(sizes.weights()),
                    &slopes,
                    comptime!(sizes.along()),
                );
                pairs::<F, N>(&of_keys, &slopes, &mut strip, sizes);
                #[unroll]
                for i in 0..comptime!(sizes.block / 2) {
                    let query = comptime!(2 * i).runtime() + half;
                    let by_score = probabilities[i]
                        * (strip[own * comptime!(sizes.strip()) + query] - known[2 * query + 1])
                        * scale;
                    weights[own * comptime!(sizes.weights()) + query] = F::cast_from(by_score);
                }
                together(sizes.accelerated);
                add_plain::<F, N>(
                    &mut by_keys,
                    &weights,
                    rows * comptime!(sizes.weights()),
                    &queries,
                    comptime!(sizes.along()),
                );
            }
            block += 1;
        }
    }
    let start = sequence * t * sizes.all();
    write::<F>(
        &by_keys,
        &mut strip,
        by_qkv,
        start + heads.key,
        sizes.all(),
        first,
        t,
        sizes,
    );
    write::<F>(
        &by_values,
        &mut strip,
        by_qkv,
        start + heads.value,
        sizes.all(),
        first,
        t,
        sizes,
    );
}
