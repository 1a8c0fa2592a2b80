//! Heat maps that a table's report draws.

use crate::table::frame;
use polars::prelude::{Column, DataFrame};

/// A heat map: its title, what its axes and its colours show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeatAxes<'a> {
    /// The title; a report has one plot of each.
    pub title: &'a str,
    /// What x is, with its unit.
    pub x: &'a str,
    /// What y is, with its unit.
    pub y: &'a str,
    /// What a colour is, with its unit.
    pub value: &'a str,
}

/// What is drawn, cell by cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Heat {
    plot: Vec<String>,
    x_axis: Vec<String>,
    y_axis: Vec<String>,
    value_axis: Vec<String>,
    x: Vec<f64>,
    y: Vec<f64>,
    value: Vec<f64>,
}

impl Heat {
    pub(super) fn add(&mut self, axes: HeatAxes, cells: &[(f64, f64, f64)]) {
        for &(x, y, value) in cells {
            self.plot.push(axes.title.to_owned());
            self.x_axis.push(axes.x.to_owned());
            self.y_axis.push(axes.y.to_owned());
            self.value_axis.push(axes.value.to_owned());
            self.x.push(x);
            self.y.push(y);
            self.value.push(value);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.x.is_empty()
    }

    pub(super) fn frame(&self) -> DataFrame {
        frame(vec![
            Column::new("plot".into(), &self.plot),
            Column::new("x_axis".into(), &self.x_axis),
            Column::new("y_axis".into(), &self.y_axis),
            Column::new("value_axis".into(), &self.value_axis),
            Column::new("x".into(), &self.x),
            Column::new("y".into(), &self.y),
            Column::new("value".into(), &self.value),
        ])
    }
}
