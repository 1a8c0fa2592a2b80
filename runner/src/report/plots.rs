//! SVG plots: loss curves, score histograms by label, and what tables ask for. Lines differ by colour and by dash.

use super::data::{Bin, Curve, Drawing, DrawnLine, ReportError};
use super::figure::{COLOURS, LEGEND, SIZE, dash, explain, range, style};
use plotters::prelude::*;

/// Room beside what is drawn, as a share of an axis.
const ROOM: f64 = 0.04;

/// A line with its name.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Points that stand by themselves.
    pub(super) dots: Vec<(f64, f64)>,
    /// The outline of what is shaded around it.
    pub(super) band: Vec<(f64, f64)>,
}

/// Training and validation loss of the variants of one step over tokens.
pub(super) fn loss_curves(title: &str, curves: &[&Curve]) -> Result<Option<String>, ReportError> {
    drawing(&losses(title, curves))
}

/// What [`loss_curves`] draws.
pub(super) fn losses(title: &str, curves: &[&Curve]) -> Drawing {
    let mut lines = Vec::new();
    for curve in curves {
        for split in ["train", "valid"] {
            if let Some(points) = curve.points.get(&(split.to_owned(), "loss".to_owned())) {
                let points = if split == "train" {
                    smoothed(points)
                } else {
                    points.clone()
                };
                let name = if curves.len() == 1 {
                    split.to_owned()
                } else {
                    format!("{} {split}", short(&curve.step))
                };
                lines.push(DrawnLine {
                    name,
                    curve: points.into_iter().map(|(x, y)| (x / 1e3, y)).collect(),
                    dots: Vec::new(),
                });
            }
        }
    }
    Drawing {
        title: title.to_owned(),
        x_axis: "tokens trained on (thousands)".to_owned(),
        y_axis: "loss (nats a token)".to_owned(),
        logarithmic: false,
        lines,
    }
}

/// Means of at most a hundred stretches: single steps are noisy.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(100).max(1);
    let mean = |part: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| {
        part.iter().map(pick).sum::<f64>() / part.len() as f64
    };
    points
        .chunks(stretch)
        .map(|part| (mean(part, |p| p.0), mean(part, |p| p.1)))
        .collect()
}

/// Distributions of a score by label, each as the share of the label's own items in a bin.
pub(super) fn histogram(title: &str, bins: &[&Bin]) -> Result<Option<String>, ReportError> {
    let mut groups: Vec<&str> = Vec::new();
    for bin in bins {
        if !groups.contains(&bin.group.as_str()) {
            groups.push(&bin.group);
        }
    }
    let lines: Vec<Line> = groups
        .iter()
        .map(|group| {
            let own: Vec<&&Bin> = bins.iter().filter(|bin| bin.group == *group).collect();
            let total: f64 = own.iter().map(|bin| bin.count).sum();
            let points = own
                .iter()
                .map(|bin| (f64::midpoint(bin.low, bin.high), bin.count / total.max(1.0)))
                .collect();
            Line {
                name: format!("{group} ({total:.0})"),
                points,
                dots: Vec::new(),
                band: Vec::new(),
            }
        })
        .collect();
    draw(title, "score", "share of the label's items", &lines, None)
}

/// A plot that a table asks for.
pub(super) fn drawing(drawing: &Drawing) -> Result<Option<String>, ReportError> {
    let lines = drawing.lines.iter().map(|line| Line {
        name: line.name.clone(),
        points: line.curve.clone(),
        dots: line.dots.clone(),
        band: Vec::new(),
    });
    draw_placed(drawing, &drawing.title, lines.collect())
}

/// Draws lines on the axes of a drawing.
pub(super) fn draw_placed(
    drawing: &Drawing,
    title: &str,
    mut lines: Vec<Line>,
) -> Result<Option<String>, ReportError> {
    if drawing.logarithmic {
        for line in &mut lines {
            for points in [&mut line.points, &mut line.dots, &mut line.band] {
                for (x, y) in points {
                    (*x, *y) = (x.log10(), y.log10());
                }
            }
        }
    }
    let power: Option<fn(&f64) -> String> = drawing.logarithmic.then_some(power_of_ten as fn(&f64) -> String);
    draw(title, &drawing.x_axis, &drawing.y_axis, &lines, power)
}

/// A number whose logarithm stands on an axis.
#[allow(clippy::trivially_copy_pass_by_ref)] // As the axes call it.
fn power_of_ten(at: &f64) -> String {
    let number = 10_f64.powf(*at);
    if (1e-2..1e4).contains(&number) {
        let text = format!("{number:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{number:.1e}")
    }
}

/// The part of a step's id in brackets, or all of it.
fn short(id: &str) -> &str {
    id.split_once('[')
        .and_then(|(_, rest)| rest.strip_suffix(']'))
        .unwrap_or(id)
}

/// Draws lines; `label` says what is written at places of the axes, where that is not the number itself.
fn draw(
    title: &str,
    x_name: &str,
    y_name: &str,
    lines: &[Line],
    label: Option<fn(&f64) -> String>,
) -> Result<Option<String>, ReportError> {
    let all = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().chain(&line.dots).chain(&line.band))
            .filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let Some((x_range, y_range)) = range(all().map(|p| p.0), ROOM).zip(range(all().map(|p| p.1), ROOM))
    else {
        return Ok(None);
    };
    let mut svg = String::new();
    paint(
        &mut svg,
        title,
        [x_name, y_name],
        lines,
        [x_range, y_range],
        label,
    )
    .map_err(|e| ReportError::Plot(e.to_string()))?;
    Ok(Some(svg))
}

fn paint(
    svg: &mut String,
    title: &str,
    [x_name, y_name]: [&str; 2],
    lines: &[Line],
    [x_range, y_range]: [std::ops::Range<f64>; 2],
    label: Option<fn(&f64) -> String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x_range, y_range)?;
    let mut mesh = chart.configure_mesh();
    if let Some(label) = &label {
        mesh.x_label_formatter(label).y_label_formatter(label);
    }
    mesh.x_desc(x_name)
        .y_desc(y_name)
        .axis_desc_style(("sans-serif", 14))
        .label_style(("sans-serif", 12))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.10))
        .x_labels(8)
        .y_labels(8)
        .draw()?;
    for (i, line) in lines.iter().enumerate() {
        let style = style(i);
        if !line.band.is_empty() {
            let shade = COLOURS[i % COLOURS.len()].mix(0.15).filled();
            chart.draw_series(std::iter::once(Polygon::new(line.band.clone(), shade)))?;
        }
        let (dash, gap) = dash(i);
        let points = line.points.iter().copied();
        if dash == 0 {
            chart.draw_series(LineSeries::new(points, style))?;
        } else {
            chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?;
        }
        let dots = line.dots.iter().map(|&dot| Circle::new(dot, 3, style.filled()));
        chart.draw_series(dots)?;
        explain(&legend, i, &line.name)?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::data::DrawnLine;
    use super::*;
    use std::collections::BTreeMap;

    fn curve(step: &str) -> Curve {
        let points = (0..300)
            .map(|i| (f64::from(i) * 10.0, 5.0 - f64::from(i) * 0.01))
            .collect();
        let points = BTreeMap::from([(("train".to_owned(), "loss".to_owned()), points)]);
        Curve {
            step: step.into(),
            points,
            details: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_plot_names_its_axes_and_lines_and_is_the_same_each_time() {
        let (a, b) = (curve("s[uniform]"), curve("s[miniplm]"));
        let svg = loss_curves("student", &[&a, &b]).unwrap().unwrap();
        for text in [
            "uniform train",
            "miniplm train",
            "loss (nats a token)",
            "tokens trained on",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(loss_curves("student", &[&a, &b]).unwrap().unwrap(), svg);
    }

    #[test]
    fn a_tables_plot_has_its_lines_and_dots_and_powers_on_logarithmic_axes() {
        let mut of_table = Drawing {
            title: "Scaling law".into(),
            x_axis: "tokens trained on".into(),
            y_axis: "loss".into(),
            logarithmic: true,
            lines: vec![DrawnLine {
                name: "uniform".into(),
                curve: vec![(1e6, 4.0), (1e9, 2.0)],
                dots: vec![(1e7, 3.0), (1e8, 2.5)],
            }],
        };
        let svg = drawing(&of_table).unwrap().unwrap();
        for text in ["uniform", "tokens trained on", "1.0e7", "<circle"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 2);
        of_table.logarithmic = false;
        let plain = drawing(&of_table).unwrap().unwrap();
        assert!(!plain.contains("1.0e7"), "{plain}");
        of_table.lines.clear();
        assert!(drawing(&of_table).unwrap().is_none());
    }

    #[test]
    fn nothing_to_draw_is_no_plot() {
        assert!(loss_curves("none", &[]).unwrap().is_none());
        assert!(histogram("none", &[]).unwrap().is_none());
    }

    #[test]
    fn smoothing_keeps_the_mean_and_leaves_few_points() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let smooth = smoothed(&points);
        assert_eq!(smooth.len(), 100);
        assert!(smooth.iter().all(|(_, y)| (y - 0.5).abs() < 1e-12));
    }
}
