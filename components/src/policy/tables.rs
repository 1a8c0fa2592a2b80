//! What lies beside the weights of a policy.

use super::law::LawEpoch;
use super::report::LawReport;
use crate::Result;
use crate::table::{frame, write_parquet};
use polars::prelude::Column;
use std::path::Path;

/// Losses and similarities, a row a policy and state.
pub(crate) const CURVES: &str = "curves.parquet";
/// What every policy epoch came to.
pub(crate) const EPOCHS: &str = "epochs.parquet";
/// Every example's part at some steps under the found weights.
pub(crate) const CONTRIBUTIONS: &str = "contributions.parquet";
/// How the policies of [`CURVES`] are called: equal weights, and those that were found.
pub(crate) const POLICIES: [&str; 2] = ["equal", "found"];

/// `epoch`, `objective` (before its step), `gradient_norm`, `gap`.
pub(super) fn write_epochs(folder: &Path, epochs: &[LawEpoch]) -> Result<()> {
    let float = |name: &str, get: fn(&LawEpoch) -> f64| {
        Column::new(name.into(), epochs.iter().map(get).collect::<Vec<f64>>())
    };
    let columns = vec![
        Column::new("epoch".into(), (0..epochs.len() as u64).collect::<Vec<_>>()),
        float("objective", |epoch| epoch.objective),
        float("gradient_norm", |epoch| epoch.gradient),
        float("gap", |epoch| epoch.gap),
    ];
    write_parquet(&folder.join(EPOCHS), &mut frame(columns))
}

/// A row a policy and state; what concerns weights is empty at θ_T.
pub(super) fn write_curves(folder: &Path, reports: [&LawReport; 2]) -> Result<()> {
    let states = || {
        POLICIES
            .into_iter()
            .zip(reports)
            .flat_map(|(name, report)| (0..report.target.len()).map(move |t| (name, report, t)))
    };
    let float = |name: &str, get: fn(&LawReport) -> &[f64]| {
        let values: Vec<Option<f64>> = states()
            .map(|(_, report, t)| get(report).get(t).copied().filter(|value| value.is_finite()))
            .collect();
        Column::new(name.into(), values)
    };
    let count = |name: &str, get: fn(&LawReport) -> &[usize]| {
        let counts = states().map(|(_, report, t)| get(report).get(t).map(|&count| count as u64));
        Column::new(name.into(), counts.collect::<Vec<_>>())
    };
    let columns = vec![
        Column::new(
            "policy".into(),
            states().map(|(name, _, _)| name).collect::<Vec<_>>(),
        ),
        Column::new(
            "step".into(),
            states().map(|(_, _, t)| t as u64).collect::<Vec<_>>(),
        ),
        float("target_loss", |report| &report.target),
        float("test_loss", |report| &report.test),
        float("similarity_test", |report| &report.similarity_test),
        float("similarity_target", |report| &report.similarity_target),
        float("similarity_costate", |report| &report.similarity_costate),
        float("gap", |report| &report.gap),
        count("support", |report| &report.support),
        count("opposed", |report| &report.opposed),
        count("opposed_unused", |report| &report.opposed_unused),
    ];
    write_parquet(&folder.join(CURVES), &mut frame(columns))
}

/// A row a traced step and example: `step`, `example`, `weight`, and its products with the gradient of the test loss and with
/// the costate.
pub(super) fn write_contributions(folder: &Path, report: &LawReport) -> Result<()> {
    let rows = || {
        let traced = report.traced.iter();
        traced.flat_map(|traced| (0..traced.weights.len()).map(move |n| (traced, n)))
    };
    let columns = vec![
        Column::new(
            "step".into(),
            rows().map(|(traced, _)| traced.step as u64).collect::<Vec<_>>(),
        ),
        Column::new(
            "example".into(),
            rows().map(|(_, n)| n as u64).collect::<Vec<_>>(),
        ),
        Column::new(
            "weight".into(),
            rows().map(|(traced, n)| traced.weights[n]).collect::<Vec<_>>(),
        ),
        Column::new(
            "test".into(),
            rows().map(|(traced, n)| traced.by_test[n]).collect::<Vec<_>>(),
        ),
        Column::new(
            "costate".into(),
            rows().map(|(traced, n)| traced.by_costate[n]).collect::<Vec<_>>(),
        ),
    ];
    write_parquet(&folder.join(CONTRIBUTIONS), &mut frame(columns))
}
