//! Plots of runs that differ in their seed only.

use super::data::{Drawing, ReportError, RunData};
use super::plots::{Line, draw_placed, losses};
use super::write::curves_by_step;
use crate::execute::RunFolder;

/// Training curves and what tables ask for, once for all seeds: means in bands. Each plot with its title.
///
/// # Errors
/// The file that cannot be read.
pub(crate) fn plots_over_seeds(folders: &[RunFolder]) -> Result<Vec<(String, String)>, ReportError> {
    let runs: Vec<Vec<(String, Drawing)>> = folders
        .iter()
        .map(|folder| Ok(drawings(&RunData::read(folder)?)))
        .collect::<Result<_, ReportError>>()?;
    let Some((first, others)) = runs.split_first() else {
        return Ok(Vec::new());
    };
    let mut plots = Vec::new();
    for (title, drawing) in first {
        let same = others
            .iter()
            .map(|run| run.iter().find(|(other, _)| other == title));
        if let Some(same) = same.collect::<Option<Vec<_>>>() {
            let same: Vec<&Drawing> = std::iter::once(drawing)
                .chain(same.into_iter().map(|(_, same)| same))
                .collect();
            plots.extend(over_seeds(&same)?.map(|svg| (title.clone(), svg)));
        }
    }
    Ok(plots)
}

/// Every plot of lines of a run, under a title of its own.
fn drawings(run: &RunData) -> Vec<(String, Drawing)> {
    let mut all = Vec::new();
    for (_, title, curves) in curves_by_step(run) {
        let drawing = losses(&title, &curves);
        all.push((title, drawing));
    }
    for table in &run.tables {
        let titled = |drawing: &Drawing| (format!("{} ({})", drawing.title, table.step), drawing.clone());
        all.extend(table.drawings.iter().map(titled));
    }
    all
}

/// The same plot of several seeds: the mean of every curve that all of them have, where all have it, in a band of a standard
/// deviation to either side. None where there is no such curve.
fn over_seeds(drawings: &[&Drawing]) -> Result<Option<String>, ReportError> {
    let Some((first, others)) = drawings.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Ok(None);
    };
    let mut lines = Vec::new();
    for line in &first.lines {
        let same = others.iter().map(|other| {
            let found = other.lines.iter().find(|other| other.name == line.name);
            found.map(|other| other.curve.as_slice())
        });
        let Some(same) = same.collect::<Option<Vec<_>>>() else {
            continue;
        };
        let (mut points, mut low, mut high) = (Vec::new(), Vec::new(), Vec::new());
        for &(x, y) in &line.curve {
            let Some(mut values) = same.iter().map(|curve| at(curve, x)).collect::<Option<Vec<_>>>() else {
                continue;
            };
            values.push(y);
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = (squares / (n - 1.0)).sqrt();
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            points.push((x, mean));
            // A logarithmic axis has no place for less than 0.
            let below = mean - deviation;
            low.push((
                x,
                if first.logarithmic && below <= 0.0 {
                    least
                } else {
                    below
                },
            ));
            high.push((x, mean + deviation));
        }
        low.extend(high.into_iter().rev());
        lines.push(Line {
            name: line.name.clone(),
            points,
            dots: Vec::new(),
            band: low,
        });
    }
    let title = format!(
        "{}: mean and standard deviation of {} seeds",
        first.title,
        drawings.len()
    );
    draw_placed(first, &title, lines)
}

/// A curve's value at `x`, between its points; none beyond its ends.
fn at(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let i = curve.partition_point(|point| point.0 < x);
    let &(right, above) = curve.get(i)?;
    if right == x {
        return Some(above);
    }
    let &(left, below) = curve.get(i.checked_sub(1)?)?;
    Some(below + (above - below) * (x - left) / (right - left))
}

#[cfg(test)]
mod tests {
    use super::super::data::DrawnLine;
    use super::*;

    #[test]
    fn seeds_are_drawn_as_their_mean_in_a_band_where_all_have_a_curve() {
        let seed = |shift: f64, end: f64| Drawing {
            title: "Loss".into(),
            x_axis: "steps".into(),
            y_axis: "loss".into(),
            logarithmic: false,
            lines: vec![DrawnLine {
                name: "uniform".into(),
                curve: vec![(0.0, 4.0 + shift), (end, 2.0 + shift)],
                dots: Vec::new(),
            }],
        };
        let (a, b, mut c) = (seed(0.0, 10.0), seed(0.5, 10.0), seed(0.1, 20.0));
        let svg = over_seeds(&[&a, &b, &c]).unwrap().unwrap();
        assert_eq!(svg.matches("<polygon").count(), 1, "{svg}");
        assert!(svg.contains("standard deviation of 3 seeds"));
        assert!((at(&c.lines[0].curve, 10.0).unwrap() - 3.1).abs() < 1e-12);
        assert_eq!(at(&a.lines[0].curve, 10.5), None);
        c.lines[0].name = "other".into();
        assert!(over_seeds(&[&a, &b, &c]).unwrap().is_none(), "not all have it");
        assert!(over_seeds(&[&a]).unwrap().is_none(), "one seed has no band");
    }
}
