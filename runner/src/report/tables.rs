//! The tables and curves of one step, read from its artifact.

use super::data::{Bin, Curve, Drawing, DrawnLine, HeatMap, ReportError, Row, TableData, failed};
use lyceum_components::table::read_parquet;
use polars::prelude::{Column, DataFrame, DataType};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) fn read_table(
    path: &Path,
    step: String,
    wanted: Option<&[InstancesOf]>,
) -> Result<TableData, ReportError> {
    let frame = Frame::read(&path.join("table.parquet"))?;
    let (variant, metric, group) = (
        frame.text("variant")?,
        frame.text("metric")?,
        frame.text("group")?,
    );
    let (value, n, error) = (
        frame.number("value")?,
        frame.number("n")?,
        frame.number("standard_error")?,
    );
    let rows = (0..variant.len())
        .map(|i| Row {
            variant: variant[i].clone().unwrap_or_default(),
            metric: metric[i].clone().unwrap_or_default(),
            group: group[i].clone(),
            value: value[i].unwrap_or(f64::NAN),
            n: n[i].unwrap_or_default() as u64,
            standard_error: error[i],
        })
        .collect();
    let mut table = TableData {
        step,
        rows,
        instances: BTreeMap::new(),
        histogram: Vec::new(),
        drawings: read_drawings(&path.join("lines.parquet"))?,
        heat_maps: read_heat_maps(&path.join("heat.parquet"))?,
    };
    table.instances = read_instances(&path.join("instances.parquet"), wanted)?;
    let file = path.join("histogram.parquet");
    if file.exists() {
        let frame = Frame::read(&file)?;
        let (variant, group) = (frame.text("variant")?, frame.text("group")?);
        let (low, high, count) = (
            frame.number("bin_low")?,
            frame.number("bin_high")?,
            frame.number("count")?,
        );
        table.histogram = (0..variant.len())
            .map(|i| Bin {
                variant: variant[i].clone().unwrap_or_default(),
                group: group[i].clone().unwrap_or_default(),
                low: low[i].unwrap_or_default(),
                high: high[i].unwrap_or_default(),
                count: count[i].unwrap_or_default(),
            })
            .collect();
    }
    Ok(table)
}

/// The plots that a table asks for; none where the file is not there.
fn read_drawings(file: &Path) -> Result<Vec<Drawing>, ReportError> {
    let mut all: Vec<Drawing> = Vec::new();
    if !file.exists() {
        return Ok(all);
    }
    let frame = Frame::read(file)?;
    let (plot, line) = (frame.text("plot")?, frame.text("line")?);
    let (x_axis, y_axis) = (frame.text("x_axis")?, frame.text("y_axis")?);
    let (logarithmic, joined) = (frame.number("logarithmic")?, frame.number("joined")?);
    let (x, y) = (frame.number("x")?, frame.number("y")?);
    for i in 0..plot.len() {
        let (Some(title), Some(name), Some(x), Some(y)) = (&plot[i], &line[i], x[i], y[i]) else {
            continue;
        };
        let at = all.iter().position(|drawing| drawing.title == *title);
        let at = at.unwrap_or_else(|| {
            all.push(Drawing {
                title: title.clone(),
                x_axis: x_axis[i].clone().unwrap_or_default(),
                y_axis: y_axis[i].clone().unwrap_or_default(),
                logarithmic: logarithmic[i] == Some(1.0),
                lines: Vec::new(),
            });
            all.len() - 1
        });
        let lines = &mut all[at].lines;
        let at = lines.iter().position(|line| line.name == *name);
        let at = at.unwrap_or_else(|| {
            lines.push(DrawnLine {
                name: name.clone(),
                curve: Vec::new(),
                dots: Vec::new(),
            });
            lines.len() - 1
        });
        if joined[i] == Some(1.0) {
            lines[at].curve.push((x, y));
        } else {
            lines[at].dots.push((x, y));
        }
    }
    Ok(all)
}

/// The heat maps that a table asks for; none where the file is not there.
fn read_heat_maps(file: &Path) -> Result<Vec<HeatMap>, ReportError> {
    let mut all: Vec<HeatMap> = Vec::new();
    if !file.exists() {
        return Ok(all);
    }
    let frame = Frame::read(file)?;
    let text = |name: &str| frame.text(name);
    let (plot, x_axis, y_axis) = (text("plot")?, text("x_axis")?, text("y_axis")?);
    let value_axis = text("value_axis")?;
    let (x, y, value) = (frame.number("x")?, frame.number("y")?, frame.number("value")?);
    for i in 0..plot.len() {
        let (Some(title), Some(x), Some(y), Some(value)) = (&plot[i], x[i], y[i], value[i]) else {
            continue;
        };
        if all.last().is_none_or(|map| map.title != *title) {
            all.push(HeatMap {
                title: title.clone(),
                x_axis: x_axis[i].clone().unwrap_or_default(),
                y_axis: y_axis[i].clone().unwrap_or_default(),
                value_axis: value_axis[i].clone().unwrap_or_default(),
                cells: Vec::new(),
            });
        }
        let last = all.len() - 1;
        all[last].cells.push((x, y, value));
    }
    Ok(all)
}

/// Which instances a claim compares: variant, metric and group.
pub(super) type InstancesOf = (String, String, Option<String>);

/// The instances that are wanted, or all; none where the file is not there.
fn read_instances(
    file: &Path,
    wanted: Option<&[InstancesOf]>,
) -> Result<BTreeMap<InstancesOf, BTreeMap<u64, f64>>, ReportError> {
    let mut all: BTreeMap<InstancesOf, BTreeMap<u64, f64>> = BTreeMap::new();
    if wanted.is_some_and(<[_]>::is_empty) || !file.exists() {
        return Ok(all);
    }
    let frame = Frame::read(file)?;
    let (variant, metric, group) = (
        frame.text("variant")?,
        frame.text("metric")?,
        frame.text("group")?,
    );
    let (instance, value) = (frame.number("instance")?, frame.number("value")?);
    for i in 0..variant.len() {
        let (Some(variant), Some(metric), Some(instance), Some(value)) =
            (&variant[i], &metric[i], instance[i], value[i])
        else {
            continue;
        };
        let of = (variant.clone(), metric.clone(), group[i].clone());
        if wanted.is_none_or(|wanted| wanted.contains(&of)) {
            all.entry(of).or_default().insert(instance as u64, value);
        }
    }
    Ok(all)
}

/// Where a trained model keeps its curve.
pub(super) const CURVE: &str = "metrics.parquet";

pub(super) fn read_curve(path: &Path, step: String, details: Value) -> Result<Curve, ReportError> {
    let frame = Frame::read(&path.join(CURVE))?;
    let (split, metric) = (frame.text("split")?, frame.text("metric")?);
    let (tokens, value) = (frame.number("tokens")?, frame.number("value")?);
    let mut points: BTreeMap<(String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for i in 0..split.len() {
        if let (Some(split), Some(metric), Some(tokens), Some(value)) =
            (&split[i], &metric[i], tokens[i], value[i])
        {
            points
                .entry((split.clone(), metric.clone()))
                .or_default()
                .push((tokens, value));
        }
    }
    Ok(Curve {
        step,
        points,
        details,
    })
}

/// A Parquet file whose columns are asked for by name.
struct Frame {
    path: PathBuf,
    frame: DataFrame,
}

impl Frame {
    fn read(path: &Path) -> Result<Self, ReportError> {
        let frame = read_parquet(path).map_err(|e| failed(path)(e.to_string()))?;
        Ok(Self {
            path: path.to_path_buf(),
            frame,
        })
    }

    fn column(&self, name: &str, kind: &DataType) -> Result<Column, ReportError> {
        let column = self.frame.column(name).and_then(|column| column.cast(kind));
        column.map_err(|e| failed(&self.path)(e.to_string()))
    }

    fn text(&self, name: &str) -> Result<Vec<Option<String>>, ReportError> {
        let column = self.column(name, &DataType::String)?;
        let values = column.str().map_err(|e| failed(&self.path)(e.to_string()))?;
        Ok(values.iter().map(|value| value.map(str::to_owned)).collect())
    }

    fn number(&self, name: &str) -> Result<Vec<Option<f64>>, ReportError> {
        let column = self.column(name, &DataType::Float64)?;
        let values = column.f64().map_err(|e| failed(&self.path)(e.to_string()))?;
        Ok(values.iter().collect())
    }
}
