//! The training curve: what was measured at which step. It holds nothing that differs between equal runs.

use crate::table::{read_parquet, write_parquet};
use crate::{Error, Result};
use polars::prelude::{Column, DataFrame, DataType};
use std::path::Path;

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Steps taken.
    pub step: u64,
    /// `train` or `valid`.
    pub split: &'static str,
    /// What was measured: `loss`, `lr`, `grad_norm`, and where there are several terms what each says of itself.
    pub metric: &'static str,
    /// Its value.
    pub value: f64,
    /// Tokens trained on so far.
    pub tokens: u64,
}

const SPLITS: [&str; 2] = ["train", "valid"];
/// What a training may measure: of every step, and what terms say of themselves.
const METRICS: [&str; 29] = [
    "loss",
    "lr",
    "grad_norm",
    "cross_entropy",
    "soft_ce",
    "forward_kl",
    "reverse_kl",
    "jsd",
    "skew_forward_kl",
    "skew_reverse_kl",
    "tv",
    "policy_gradient",
    "reward_mean",
    "rev_kl_k3",
    "w_mean",
    "clip_fraction",
    "length",
    "preference",
    "win_rate",
    "margin_mean",
    "logq_chosen",
    "logq_rejected",
    "reward_chosen",
    "reward_rejected",
    "agree_fraction",
    "dropped_equal_pairs",
    "other_data",
    "examples_used",
    "examples_alike",
];

/// Writes points as Parquet: `step`, `split`, `metric`, `value`, `tokens`.
pub(crate) fn write(file: &Path, points: &[Point]) -> Result<()> {
    let columns = vec![
        Column::new("step".into(), points.iter().map(|p| p.step).collect::<Vec<_>>()),
        Column::new("split".into(), points.iter().map(|p| p.split).collect::<Vec<_>>()),
        Column::new(
            "metric".into(),
            points.iter().map(|p| p.metric).collect::<Vec<_>>(),
        ),
        Column::new("value".into(), points.iter().map(|p| p.value).collect::<Vec<_>>()),
        Column::new(
            "tokens".into(),
            points.iter().map(|p| p.tokens).collect::<Vec<_>>(),
        ),
    ];
    let mut frame = DataFrame::new(points.len(), columns).expect("columns of one length");
    write_parquet(file, &mut frame)
}

/// Reads what [`write`] wrote.
pub fn read(file: &Path) -> Result<Vec<Point>> {
    let frame = read_parquet(file)?;
    let bad = |what: String| Error::data("bad_checkpoint", what).in_file(file);
    let column = |name: &str, kind: DataType| {
        frame
            .column(name)
            .and_then(|column| column.cast(&kind))
            .map_err(|error| bad(error.to_string()))
    };
    let (step, tokens) = (
        column("step", DataType::UInt64)?,
        column("tokens", DataType::UInt64)?,
    );
    let (split, metric) = (
        column("split", DataType::String)?,
        column("metric", DataType::String)?,
    );
    let value = column("value", DataType::Float64)?;
    let point = |i: usize| -> Option<Point> {
        let name = |column: &Column, known: &[&'static str]| {
            let found = column.str().ok()?.get(i)?;
            known.iter().copied().find(|name| *name == found)
        };
        Some(Point {
            step: step.u64().ok()?.get(i)?,
            split: name(&split, &SPLITS)?,
            metric: name(&metric, &METRICS)?,
            value: value.f64().ok()?.get(i)?,
            tokens: tokens.u64().ok()?.get(i)?,
        })
    };
    (0..frame.height())
        .map(|i| point(i).ok_or_else(|| bad(format!("row {i} cannot be read"))))
        .collect()
}
