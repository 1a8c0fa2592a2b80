//! Lines and points that a table's report draws.

use crate::table::frame;
use polars::prelude::{Column, DataFrame};

/// A plot: its title, what its axes show, and whether they are logarithmic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axes<'a> {
    /// The title; a report has one plot of each.
    pub title: &'a str,
    /// What x is, with its unit.
    pub x: &'a str,
    /// What y is, with its unit.
    pub y: &'a str,
    /// Whether both axes are logarithmic; then both numbers of a point are above 0.
    pub logarithmic: bool,
}

/// What is drawn, point by point.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    plot: Vec<String>,
    x_axis: Vec<String>,
    y_axis: Vec<String>,
    logarithmic: Vec<bool>,
    line: Vec<String>,
    joined: Vec<bool>,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Lines {
    pub(super) fn add(&mut self, axes: Axes, line: &str, joined: bool, points: &[(f64, f64)]) {
        for &(x, y) in points {
            self.plot.push(axes.title.to_owned());
            self.x_axis.push(axes.x.to_owned());
            self.y_axis.push(axes.y.to_owned());
            self.logarithmic.push(axes.logarithmic);
            self.line.push(line.to_owned());
            self.joined.push(joined);
            self.x.push(x);
            self.y.push(y);
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
            Column::new("logarithmic".into(), &self.logarithmic),
            Column::new("line".into(), &self.line),
            Column::new("joined".into(), &self.joined),
            Column::new("x".into(), &self.x),
            Column::new("y".into(), &self.y),
        ])
    }
}
