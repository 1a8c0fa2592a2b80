//! The Euclidean projection onto the probability simplex.

use super::Number;
use rayon::prelude::*;

/// Partial sums of a pass over a row, so that the additions of neighbours do not wait for each other.
const LANES: usize = 8;

/// Projects `row` onto {x ≥ 0, Σx = 1} in the Euclidean norm: x = max(v − τ, 0). Gives τ.
///
/// Michelot's algorithm: τ of the mean over all, then over those above τ, until none falls out. Each pass only lets τ grow
/// and entries fall out, so it ends; from the fourth pass on, only what is left is looked at. Nothing is sorted. Sums are
/// f64 also of f32.
pub fn project_simplex<N: Number>(row: &mut [N]) -> f64 {
    let mean = |(sum, count): (f64, usize)| (sum - 1.0) / count as f64;
    let mut tau = mean(above(row, f64::NEG_INFINITY));
    let mut now = above(row, tau);
    if now.1 < row.len() {
        let mut left: Vec<f64> = row.iter().map(|x| x.wide()).collect();
        let mut before = row.len();
        while now.1 > 0 && now.1 < before {
            before = now.1;
            tau = mean(now);
            now = keep_above(&mut left, tau);
            left.truncate(now.1);
        }
    }
    for x in row {
        *x = N::of((x.wide() - tau).max(0.0));
    }
    tau
}

/// Moves the values above `tau` to the front; gives their sum and number.
fn keep_above(values: &mut [f64], tau: f64) -> (f64, usize) {
    let (mut sum, mut kept) = (0.0, 0);
    for i in 0..values.len() {
        let x = values[i];
        // Written in any case, so that nothing branches on what is as good as random.
        values[kept] = x;
        let above = x > tau;
        sum += if above { x } else { 0.0 };
        kept += usize::from(above);
    }
    (sum, kept)
}

/// Sum and number of the entries above `tau`.
fn above<N: Number>(row: &[N], tau: f64) -> (f64, usize) {
    let (mut sums, mut counts) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut add = |lane: usize, x: f64| {
        let counts_in = if x > tau { 1.0 } else { 0.0 };
        // A product would make a NaN of an infinite entry that does not count.
        sums[lane] += if x > tau { x } else { 0.0 };
        counts[lane] += counts_in;
    };
    for chunk in chunks {
        for (lane, x) in chunk.iter().enumerate() {
            add(lane, x.wide());
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        add(lane, x.wide());
    }
    (sums.iter().sum(), counts.iter().sum::<f64>() as usize)
}

/// Projects every row of `values`, `[rows, width]`.
pub fn project_rows<N: Number>(values: &mut [N], width: usize) {
    values.par_chunks_mut(width.max(1)).for_each(|row| {
        project_simplex(row);
    });
}
