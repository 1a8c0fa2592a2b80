//! Margins: a metric against the values of one path, with the interval of every mean.

use super::names::plain;
use super::summary::Mean;
use crate::report::ReportError;
use crate::report::figure::{LEGEND, SIZE, dash, explain, range, style};
use plotters::prelude::*;
use serde_json::Value;

/// Room beside what is drawn, as a share of an axis.
const ROOM: f64 = 0.06;
/// Numbers further apart than this factor are drawn on a logarithmic axis.
const WIDE: f64 = 30.0;
/// So many values are written below the axis one by one, at equal distances.
const FEW: usize = 8;
/// How far apart the variants' intervals stand, as a share of the axis.
const APART: f64 = 0.012;

/// One variant's means, by position of the value.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) means: Vec<Option<Mean>>,
}

/// Where values stand on the axis, and what is written there.
enum Axis {
    Numbers,
    Powers,
    /// At equal distances; joined by a line where they have an order.
    Names {
        names: Vec<String>,
        ordered: bool,
    },
}

impl Axis {
    fn of(values: &[Value]) -> Self {
        let numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
        if numbers.len() < values.len() || values.len() <= FEW {
            return Self::Names {
                names: values.iter().map(plain).collect(),
                ordered: numbers.len() == values.len(),
            };
        }
        match (numbers.first(), numbers.last()) {
            (Some(low), Some(high)) if *low > 0.0 && high / low > WIDE => Self::Powers,
            _ => Self::Numbers,
        }
    }

    fn position(&self, i: usize, value: &Value) -> f64 {
        let number = value.as_f64().unwrap_or_default();
        match self {
            Self::Numbers => number,
            Self::Powers => number.log10(),
            Self::Names { .. } => i as f64,
        }
    }

    fn text(&self, at: f64) -> String {
        match self {
            Self::Numbers => format!("{}", (at * 1e6).round() / 1e6),
            Self::Powers => format!("{:.1e}", 10f64.powf(at)),
            Self::Names { names, .. } if (at - at.round()).abs() < 0.01 && at >= -0.01 => {
                names.get(at.round() as usize).cloned().unwrap_or_default()
            }
            Self::Names { .. } => String::new(),
        }
    }
}

/// Draws a margin; none if there is nothing to draw.
pub(super) fn margin(
    title: &str,
    names: [&str; 2],
    values: &[Value],
    lines: &[Line],
) -> Result<Option<String>, ReportError> {
    let axis = Axis::of(values);
    let at: Vec<f64> = values
        .iter()
        .enumerate()
        .map(|(i, value)| axis.position(i, value))
        .collect();
    let ends = lines
        .iter()
        .flat_map(|line| line.means.iter().flatten())
        .flat_map(|mean| {
            let half = mean.half.unwrap_or_default();
            [mean.value - half, mean.value + half]
        });
    let ends = ends.filter(|value| value.is_finite());
    let Some((x, y)) = range(at.iter().copied(), ROOM).zip(range(ends, ROOM)) else {
        return Ok(None);
    };
    let mut svg = String::new();
    paint(&mut svg, title, names, &axis, &at, lines, [x, y]).map_err(|e| ReportError::Plot(e.to_string()))?;
    Ok(Some(svg))
}

fn paint(
    svg: &mut String,
    title: &str,
    [x_name, y_name]: [&str; 2],
    axis: &Axis,
    at: &[f64],
    lines: &[Line],
    [x_range, y_range]: [std::ops::Range<f64>; 2],
) -> Result<(), Box<dyn std::error::Error>> {
    let width = x_range.end - x_range.start;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x_range, y_range)?;
    let label = |at: &f64| axis.text(*at);
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.10))
        .x_labels(8)
        .x_label_formatter(&label)
        .y_labels(8)
        .draw()?;
    for (i, line) in lines.iter().enumerate() {
        let aside = (i as f64 - (lines.len() - 1) as f64 / 2.0) * APART * width;
        let style = style(i);
        let means = || {
            at.iter()
                .zip(&line.means)
                .filter_map(|(x, mean)| Some((x + aside, (*mean)?)))
        };
        if !matches!(axis, Axis::Names { ordered: false, .. }) {
            let points = means().map(|(x, mean)| (x, mean.value));
            match dash(i) {
                (0, _) => {
                    chart.draw_series(LineSeries::new(points, style))?;
                }
                (dash, gap) => {
                    chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?;
                }
            }
        }
        chart.draw_series(means().map(|(x, mean)| Circle::new((x, mean.value), 4, style.filled())))?;
        chart.draw_series(means().filter_map(|(x, mean)| {
            let half = mean.half?;
            Some(PathElement::new(
                [(x, mean.value - half), (x, mean.value + half)],
                style,
            ))
        }))?;
        explain(&legend, i, &line.name)?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(name: &str, count: u32) -> Line {
        let mean = |i: u32| Mean {
            value: f64::from(i),
            half: Some(0.1),
            n: 3,
        };
        Line {
            name: name.into(),
            means: (0..count).map(|i| (i != 1).then(|| mean(i))).collect(),
        }
    }

    #[test]
    fn few_values_are_written_out_and_many_have_an_axis() {
        let few = [json!("adamw"), json!("sgd"), json!("lion")].to_vec();
        let even: Vec<_> = (1..=20).map(|i| json!(f64::from(i) / 4.0)).collect();
        let wide: Vec<_> = (1..=12).map(|i| json!(10f64.powi(-i))).rev().collect();
        for (values, texts) in [
            (few, ["adamw", "lion"]),
            (even, ["\n2\n", "\n4\n"]),
            (wide, ["e-2", "e-10"]),
        ] {
            let lines = [line("s[a]", values.len() as u32)];
            let svg = margin("t", ["lr", "q.loss"], &values, &lines).unwrap().unwrap();
            for text in texts.into_iter().chain(["s[a]", "q.loss"]) {
                assert!(svg.contains(text), "{text}: {svg}");
            }
        }
        assert!(margin("t", ["x", "y"], &[], &[]).unwrap().is_none());
    }
}
