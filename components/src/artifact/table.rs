//! Measurements in long form.
//!
//! - `table.parquet`: `variant`, `metric`, `group` (may be empty), `value`, `n`, `standard_error` (may be empty).
//! - `instances.parquet`, where there are instances: `variant`, `metric`, `group`, `instance` (u64), `value`. The mean
//!   of a metric's instances is its value, and variants measured on the same data have the same instance numbers: so
//!   two variants are compared by pairing instances.
//! - `histogram.parquet`, where there are distributions to show: `variant`, `column`, `group`, `bin_low`, `bin_high`,
//!   `count` (u64). Bins are half-open but for the last, ascending, equal for all groups of a variant and column.
//! - `lines.parquet`, where there are curves to show: `plot`, `x_axis`, `y_axis`, `logarithmic`, `line`, `joined` (a line
//!   has a curve, points, or both), `x`, `y`.
//! - `heat.parquet`, where there are heat maps to show: `plot`, `x_axis`, `y_axis`, `value_axis`, and `x`, `y`, `value` of
//!   every cell. Cells are centred on their places, which lie on a grid.
//!
//! Rows come in the order they were added: variants as the experiment names them, metrics as the component lists them.

use super::heat::{Heat, HeatAxes};
use super::lines::{Axes, Lines};
use super::{Artifact, Kind, write_header};
use crate::Result;
use crate::table::{bootstrap_error, fingerprint, frame, ratio, read_parquet, write_parquet};
use polars::prelude::{Column, DataFrame};
use serde::Serialize;
use std::path::Path;

const TABLE: &str = "table.parquet";
const INSTANCES: &str = "instances.parquet";
const HISTOGRAM: &str = "histogram.parquet";
const LINES: &str = "lines.parquet";
const HEAT: &str = "heat.parquet";

/// A table being filled.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Rows,
    instances: Instances,
    histogram: Bins,
    lines: Lines,
    heat: Heat,
}

#[derive(Debug, Clone, Default)]
struct Rows {
    variant: Vec<String>,
    metric: Vec<String>,
    group: Vec<Option<String>>,
    value: Vec<f64>,
    n: Vec<u64>,
    standard_error: Vec<Option<f64>>,
}

/// Instances as runs that share variant, metric and group, so that names are kept once a run.
#[derive(Debug, Clone, Default)]
struct Instances {
    runs: Vec<Run>,
    instance: Vec<u64>,
    value: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Run {
    variant: String,
    metric: String,
    group: Option<String>,
    length: usize,
}

impl Instances {
    fn frame(&self) -> DataFrame {
        fn repeated<'a, T: Copy>(runs: &'a [Run], get: impl Fn(&'a Run) -> T) -> Vec<T> {
            runs.iter()
                .flat_map(|run| std::iter::repeat_n(get(run), run.length))
                .collect()
        }
        frame(vec![
            Column::new("variant".into(), repeated(&self.runs, |run| run.variant.as_str())),
            Column::new("metric".into(), repeated(&self.runs, |run| run.metric.as_str())),
            Column::new("group".into(), repeated(&self.runs, |run| run.group.as_deref())),
            Column::new("instance".into(), &self.instance),
            Column::new("value".into(), &self.value),
        ])
    }
}

#[derive(Debug, Clone, Default)]
struct Bins {
    variant: Vec<String>,
    column: Vec<String>,
    group: Vec<String>,
    low: Vec<f64>,
    high: Vec<f64>,
    count: Vec<u64>,
}

/// What a measurement is of.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The variant, as in `student[uniform]`.
    pub variant: &'a str,
    /// The metric.
    pub metric: &'a str,
    /// The group, if it is of a part of the data only.
    pub group: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Over all of the data.
    pub fn of(variant: &'a str, metric: &'a str) -> Self {
        Self {
            variant,
            metric,
            group: None,
        }
    }

    /// Over `group` only.
    #[must_use]
    pub fn within(mut self, group: Option<&'a str>) -> Self {
        self.group = group;
        self
    }
}

impl Table {
    /// Adds a figure without instances.
    pub fn figure(&mut self, place: Place, value: f64, n: u64, standard_error: Option<f64>) {
        let rows = &mut self.rows;
        rows.variant.push(place.variant.to_owned());
        rows.metric.push(place.metric.to_owned());
        rows.group.push(place.group.map(str::to_owned));
        rows.value.push(value);
        rows.n.push(n);
        rows.standard_error.push(standard_error);
    }

    /// Adds a figure that is the mean of its instances' parts, and the instances.
    pub fn mean(&mut self, place: Place, instances: &[u64], parts: &[f64]) {
        let value = parts.iter().sum::<f64>() / parts.len() as f64;
        self.estimate(place, value, instances, parts);
    }

    /// Adds the weighted mean Σwx / Σw, and every instance's part in it (see [`ratio`]).
    pub fn weighted_mean(&mut self, place: Place, instances: &[u64], values: &[f64], weights: &[f64]) {
        let (value, parts) = ratio(values, weights);
        self.estimate(place, value, instances, &parts);
    }

    /// Adds a figure, and every instance's part in it; the parts must average to it.
    pub fn estimate(&mut self, place: Place, value: f64, instances: &[u64], parts: &[f64]) {
        self.figure(place, value, parts.len() as u64, bootstrap_error(parts));
        self.instances.runs.push(Run {
            variant: place.variant.to_owned(),
            metric: place.metric.to_owned(),
            group: place.group.map(str::to_owned),
            length: parts.len(),
        });
        self.instances.instance.extend(instances);
        self.instances.value.extend(parts);
    }

    /// Adds a histogram of `column` with one series a group. All groups share the bins; values must be finite.
    pub fn histogram(&mut self, variant: &str, column: &str, groups: &[(String, Vec<f64>)], bins: usize) {
        let all = || groups.iter().flat_map(|(_, values)| values.iter().copied());
        let low = all().fold(f64::INFINITY, f64::min);
        let mut high = all().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return;
        }
        if low == high {
            high = low + 1.0;
        }
        let edge = |i: usize| low + (high - low) * (i as f64 / bins as f64);
        for (group, values) in groups {
            let mut counts = vec![0_u64; bins];
            for value in values {
                let bin = ((value - low) / (high - low) * bins as f64) as usize;
                counts[bin.min(bins - 1)] += 1;
            }
            for (i, count) in counts.into_iter().enumerate() {
                let bins = &mut self.histogram;
                bins.variant.push(variant.to_owned());
                bins.column.push(column.to_owned());
                bins.group.push(group.clone());
                bins.low.push(edge(i));
                bins.high.push(edge(i + 1));
                bins.count.push(count);
            }
        }
    }

    /// Adds a curve to a plot.
    pub fn curve(&mut self, axes: Axes, line: &str, points: &[(f64, f64)]) {
        self.lines.add(axes, line, true, points);
    }

    /// Adds points to a plot; those of a line that has a curve look like it.
    pub fn dots(&mut self, axes: Axes, line: &str, points: &[(f64, f64)]) {
        self.lines.add(axes, line, false, points);
    }

    /// Adds cells, each with its place and its value, to a heat map.
    pub fn heat(&mut self, axes: HeatAxes, cells: &[(f64, f64, f64)]) {
        self.heat.add(axes, cells);
    }

    /// Writes it as the artifact in `folder`.
    pub fn write(&self, folder: &Path, details: impl Serialize) -> Result<()> {
        let mut files = vec![TABLE];
        let rows = &self.rows;
        let columns = vec![
            Column::new("variant".into(), &rows.variant),
            Column::new("metric".into(), &rows.metric),
            Column::new("group".into(), &rows.group),
            Column::new("value".into(), &rows.value),
            Column::new("n".into(), &rows.n),
            Column::new("standard_error".into(), &rows.standard_error),
        ];
        write_parquet(&folder.join(TABLE), &mut frame(columns))?;
        if !self.instances.runs.is_empty() {
            write_parquet(&folder.join(INSTANCES), &mut self.instances.frame())?;
            files.push(INSTANCES);
        }
        let bins = &self.histogram;
        if !bins.count.is_empty() {
            let columns = vec![
                Column::new("variant".into(), &bins.variant),
                Column::new("column".into(), &bins.column),
                Column::new("group".into(), &bins.group),
                Column::new("bin_low".into(), &bins.low),
                Column::new("bin_high".into(), &bins.high),
                Column::new("count".into(), &bins.count),
            ];
            write_parquet(&folder.join(HISTOGRAM), &mut frame(columns))?;
            files.push(HISTOGRAM);
        }
        if !self.lines.is_empty() {
            write_parquet(&folder.join(LINES), &mut self.lines.frame())?;
            files.push(LINES);
        }
        if !self.heat.is_empty() {
            write_parquet(&folder.join(HEAT), &mut self.heat.frame())?;
            files.push(HEAT);
        }
        let print = fingerprint(folder, &files, "")?;
        write_header(folder, Kind::Table, print, None, details)
    }
}

/// The rows of the table in `artifact`.
pub fn read_table(artifact: &Artifact) -> Result<DataFrame> {
    read_parquet(&artifact.path.join(TABLE))
}

/// The instances of the table in `artifact`, if it has any.
pub fn read_instances(artifact: &Artifact) -> Result<Option<DataFrame>> {
    read_if_there(&artifact.path.join(INSTANCES))
}

/// The histograms of the table in `artifact`, if it has any.
pub fn read_histogram(artifact: &Artifact) -> Result<Option<DataFrame>> {
    read_if_there(&artifact.path.join(HISTOGRAM))
}

fn read_if_there(file: &Path) -> Result<Option<DataFrame>> {
    file.exists().then(|| read_parquet(file)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{f64_column, u64_column};

    fn written(table: &Table) -> (tempfile::TempDir, Artifact) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        table.write(folder.path(), ()).expect("writes");
        let artifact = Artifact::open(folder.path(), "evaluate.x/k", "quality").expect("opens");
        (folder, artifact)
    }

    #[test]
    fn rows_keep_their_order_and_instances_average_to_the_value() {
        let mut table = Table::default();
        for variant in ["student[b]", "student[a]"] {
            table.weighted_mean(Place::of(variant, "loss"), &[3, 9], &[1.0, 2.0], &[1.0, 3.0]);
        }
        let (_folder, artifact) = written(&table);
        let rows = read_table(&artifact).expect("reads");
        let file = Path::new("table.parquet");
        assert_eq!(f64_column(&rows, "value", file).expect("floats"), [1.75, 1.75]);
        let variants = rows
            .column("variant")
            .expect("there")
            .str()
            .expect("text")
            .clone();
        assert_eq!(variants.get(0), Some("student[b]"));
        let instances = read_instances(&artifact).expect("reads").expect("there");
        assert_eq!(
            u64_column(&instances, "instance", file).expect("counts"),
            [3, 9, 3, 9]
        );
        let parts = f64_column(&instances, "value", file).expect("floats");
        assert!((f64::midpoint(parts[0], parts[1]) - 1.75).abs() < 1e-15);
        assert!(read_histogram(&artifact).expect("reads").is_none());
    }

    #[test]
    fn a_histogram_counts_every_value_once_in_shared_bins() {
        let mut table = Table::default();
        let groups = [
            ("good".to_owned(), vec![0.0, 0.5, 1.0]),
            ("bad".to_owned(), vec![-1.0]),
        ];
        table.histogram("difference", "score", &groups, 4);
        table.histogram("constant", "score", &[("all".to_owned(), vec![2.0; 5])], 4);
        table.histogram("empty", "score", &[], 4);
        let (_folder, artifact) = written(&table);
        let bins = read_histogram(&artifact).expect("reads").expect("there");
        let file = Path::new("histogram.parquet");
        let counts = u64_column(&bins, "count", file).expect("counts");
        assert_eq!(counts, [0, 0, 1, 2, 1, 0, 0, 0, 5, 0, 0, 0]);
        let lows = f64_column(&bins, "bin_low", file).expect("floats");
        assert_eq!(lows[..4], [-1.0, -0.5, 0.0, 0.5]);
    }
}
