//! What figures share: colours, sizes, ranges of axes, and names beside them.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

/// Okabe and Ito's colours, which people with any colour vision tell apart.
pub(crate) const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(100, 100, 100),
    RGBColor(0, 0, 0),
];

/// Width and height, legend included.
pub(crate) const SIZE: (u32, u32) = (860, 420);

/// Width of the legend.
pub(crate) const LEGEND: u32 = 210;

/// From the least to the greatest value with some room, a share of the whole, on both sides; none without values.
pub(crate) fn range(values: impl Iterator<Item = f64>, room: f64) -> Option<Range<f64>> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    let room = ((high - low) * room).max(1e-9);
    (low <= high).then_some(low - room..high + room)
}

/// Where the sample of line `i` lies in the legend.
pub(crate) fn sample(i: usize) -> [(i32, i32); 2] {
    let y = 46 + 22 * i as i32;
    [(0, y), (30, y)]
}

/// Writes the name of line `i` beside its sample.
///
/// # Errors
/// Those of drawing.
pub(crate) fn write_name(
    legend: &DrawingArea<SVGBackend<'_>, Shift>,
    i: usize,
    name: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let [_, (x, y)] = sample(i);
    let style = ("sans-serif", 13)
        .into_font()
        .into_text_style(legend)
        .pos(Pos::new(HPos::Left, VPos::Center));
    legend.draw(&Text::new(name.to_owned(), (x + 8, y), style))?;
    Ok(())
}
