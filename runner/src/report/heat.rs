//! Heat maps as SVG.

use super::data::{HeatMap, ReportError};
use plotters::prelude::*;
use std::ops::Range;

const SIZE: (u32, u32) = (860, 420);
const LEGEND: u32 = 120;
/// Colours of the scale, from nothing to the most: they darken evenly, so that they also differ in grey.
const SCALE: [(u8, u8, u8); 5] = [
    (247, 251, 255),
    (198, 219, 239),
    (107, 174, 214),
    (33, 113, 181),
    (8, 48, 107),
];
/// Values beyond this share of all are drawn as the most there is: a few large ones would leave the rest pale.
const SHOWN: f64 = 0.99;
/// Steps of the legend.
const STEPS: usize = 64;

/// Draws it; none where there is nothing to draw.
pub(super) fn heat_map(map: &HeatMap) -> Result<Option<String>, ReportError> {
    let finite: Vec<(f64, f64, f64)> = map
        .cells
        .iter()
        .copied()
        .filter(|(x, y, value)| x.is_finite() && y.is_finite() && value.is_finite())
        .collect();
    let (xs, ys) = (
        places(finite.iter().map(|cell| cell.0)),
        places(finite.iter().map(|cell| cell.1)),
    );
    let mut values: Vec<f64> = finite.iter().map(|cell| cell.2).collect();
    values.sort_by(f64::total_cmp);
    let Some(&least) = values.first() else {
        return Ok(None);
    };
    let most = values[((values.len() - 1) as f64 * SHOWN) as usize];
    let mut svg = String::new();
    paint(&mut svg, map, &finite, [&xs, &ys], least..most).map_err(|e| ReportError::Plot(e.to_string()))?;
    Ok(Some(svg))
}

/// The distinct places, ascending.
fn places(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// From half a cell before the first place to half a cell after the last, and half a cell.
fn span(places: &[f64]) -> (Range<f64>, f64) {
    let (first, last) = (places[0], places[places.len() - 1]);
    let half = match places.len() {
        1 => 0.5,
        count => (last - first) / (count - 1) as f64 / 2.0,
    };
    (first - half..last + half, half)
}

/// The colour at a share of the scale.
fn colour(share: f64) -> RGBColor {
    let at = share.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let low = (at as usize).min(SCALE.len() - 2);
    let part = at - low as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8;
    let (a, b) = (SCALE[low], SCALE[low + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

fn paint(
    svg: &mut String,
    map: &HeatMap,
    cells: &[(f64, f64, f64)],
    [xs, ys]: [&[f64]; 2],
    scale: Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    let ((x_range, x_half), (y_range, y_half)) = (span(xs), span(ys));
    let mut chart = ChartBuilder::on(&plot)
        .caption(&map.title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x_range, y_range)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc(&map.x_axis)
        .y_desc(&map.y_axis)
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 12))
        .x_labels(8)
        .y_labels(8)
        .draw()?;
    let width = (scale.end - scale.start).max(f64::MIN_POSITIVE);
    chart.draw_series(cells.iter().map(|&(x, y, value)| {
        let corners = [(x - x_half, y - y_half), (x + x_half, y + y_half)];
        Rectangle::new(corners, colour((value - scale.start) / width).filled())
    }))?;
    let mut bar = ChartBuilder::on(&legend)
        .caption(&map.value_axis, ("sans-serif", 12))
        .margin(12)
        .margin_bottom(56)
        .margin_right(36)
        .y_label_area_size(40)
        .build_cartesian_2d(0.0..1.0_f64, scale.start..scale.start + width)?;
    bar.configure_mesh()
        .disable_mesh()
        .disable_x_axis()
        .label_style(("sans-serif", 12))
        .y_labels(6)
        .draw()?;
    bar.draw_series((0..STEPS).map(|i| {
        let at = |i: usize| scale.start + width * i as f64 / STEPS as f64;
        let share = (i as f64 + 0.5) / STEPS as f64;
        Rectangle::new([(0.0, at(i)), (1.0, at(i + 1))], colour(share).filled())
    }))?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heat_map_has_a_cell_for_every_value_and_says_what_its_colours_are() {
        let cells = (0..6).map(|i| (f64::from(i % 3) * 10.0, f64::from(i / 3), f64::from(i)));
        let map = HeatMap {
            title: "Weights".into(),
            x_axis: "steps".into(),
            y_axis: "examples".into(),
            value_axis: "weight".into(),
            cells: cells.collect(),
        };
        let svg = heat_map(&map).unwrap().unwrap();
        for text in ["Weights", "steps", "examples", "weight", "#F7FBFF", "#08306B"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(heat_map(&map).unwrap().unwrap(), svg);
        // One for the paper, one a cell, and the legend.
        assert_eq!(svg.matches("<rect").count(), 1 + 6 + STEPS);
    }

    #[test]
    fn nothing_to_draw_is_no_plot_and_equal_values_are_drawn() {
        let mut map = HeatMap {
            title: "Weights".into(),
            x_axis: String::new(),
            y_axis: String::new(),
            value_axis: String::new(),
            cells: vec![(0.0, 0.0, f64::NAN)],
        };
        assert!(heat_map(&map).unwrap().is_none());
        map.cells = vec![(0.0, 0.0, 1.0)];
        assert!(heat_map(&map).unwrap().is_some());
    }
}
