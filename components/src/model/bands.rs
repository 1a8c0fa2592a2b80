//! Rows of a pass in bands, which on a processor go through the layers beside each other.

use super::decoder::{Decoder, check};
use super::integers;
use super::layer::Place;
use burn::tensor::{Int, Tensor};
use lyceum_kernels::beside;
use std::ops::Range;

/// Positions of a band at the least: below, products are too small to be fast.
const LEAST: usize = 384;

/// The most bands of a pass. Like `LEAST` it depends on no machine, so that bytes do not either.
const MOST: usize = 8;

/// Bands of a pass over that many positions, where there are as many rows: a power of two, as threads mostly are, so that none
/// has a band more to do than another.
pub(crate) fn bands(positions: usize) -> usize {
    1 << (positions / LEAST).clamp(1, MOST).ilog2()
}

/// Rows that go through the layers together.
pub(crate) struct Band {
    /// Their positions among all `b·t`.
    pub(crate) positions: Range<usize>,
    /// Rows, and positions of each.
    pub(crate) sizes: [usize; 2],
    /// Where their tokens stand, and which of them the last layer gives.
    pub(crate) place: Place,
}

impl Decoder {
    /// The bands of `[b, t]` positions from position 0 on, of which the last layer gives the `wanted`, ascending; none: all.
    pub(crate) fn bands(&self, [b, t]: [usize; 2], wanted: Option<&[usize]>) -> Vec<Band> {
        check([b, t], wanted);
        // A probe wants to see operations one after the other, and a GPU takes a whole pass at once.
        let whole = self.config.probe.is_some() || !self.is_on_processor();
        let count = if whole { 1 } else { bands(b * t).min(b).max(1) };
        let place = self.at_start(t, None);
        let band = |i: usize| {
            let [first, end] = [i * b / count, (i + 1) * b / count];
            let positions = first * t..end * t;
            let wanted = wanted.map(|wanted| {
                let [from, to] = [positions.start, positions.end]
                    .map(|end| wanted.partition_point(|&position| position < end));
                let own = wanted[from..to].iter();
                let own = own.map(|&position| (position - positions.start) as i64);
                integers(own.collect(), &self.device())
            });
            Band {
                positions,
                sizes: [end - first, t],
                place: Place {
                    wanted,
                    ..place.clone()
                },
            }
        };
        (0..count).map(band).collect()
    }

    /// The final normed hidden states of ids `[b, t]`, outside any graph; `wanted` as in [`Self::bands`].
    pub(super) fn forward_in_bands(&self, inputs_bt: Tensor<2, Int>, wanted: Option<&[usize]>) -> Tensor<2> {
        let sizes = inputs_bt.dims();
        let bands = self.bands(sizes, wanted);
        if let [whole] = bands.as_slice() {
            return self.forward(inputs_bt, &whole.place, None);
        }
        let forward = |band: &Band| {
            let [rows, t] = band.sizes;
            let inputs_bt = inputs_bt.clone().narrow(0, band.positions.start / t, rows);
            self.forward(inputs_bt, &band.place, None)
        };
        Tensor::cat(beside(bands.iter().collect(), forward), 0)
    }
}
