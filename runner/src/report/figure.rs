//! What figures share: colours, sizes, ranges of axes, and names beside them.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
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

/// Dash and gap lengths of line `i`; 0 is an unbroken line. Lines of one colour differ by them.
pub(crate) fn dash(i: usize) -> (u32, u32) {
    const DASHES: [(u32, u32); 4] = [(0, 0), (8, 4), (3, 3), (12, 3)];
    DASHES[(i / COLOURS.len() + i) % DASHES.len()]
}

/// How line `i` is drawn.
pub(crate) fn style(i: usize) -> ShapeStyle {
    COLOURS[i % COLOURS.len()].stroke_width(2)
}

/// Draws a sample of line `i` into the legend, and its name beside it.
///
/// # Errors
/// Those of drawing.
pub(crate) fn explain(
    legend: &DrawingArea<SVGBackend<'_>, Shift>,
    i: usize,
    name: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let y = 46 + 22 * i as i32;
    let sample = [(0, y), (30, y)];
    match dash(i) {
        (0, _) => legend.draw(&PathElement::new(sample, style(i)))?,
        (dash, gap) => legend.draw(&DashedPathElement::new(sample, dash, gap, style(i)))?,
    }
    let font = ("sans-serif", 13)
        .into_font()
        .into_text_style(legend)
        .pos(Pos::new(HPos::Left, VPos::Center));
    legend.draw(&Text::new(name.to_owned(), (38, y), font))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_colour_differ_by_their_dashes() {
        for i in 0..3 * COLOURS.len() {
            assert_eq!(style(i).color, style(i + COLOURS.len()).color);
            assert_ne!(dash(i), dash(i + COLOURS.len()), "line {i}");
        }
    }
}
