//! A new baseline: what the run agrees with stays as it is, so that a diff shows what moved and nothing else.

use super::baseline::{
    Baseline, ClaimEntry, Measure, MetricEntry, PerformanceEntry, Tolerance, ToleranceKind,
};
use super::case::State;
use super::judge::{self, Measured};
use super::read::Stored;
use super::text;
use crate::report::measurements::Measurement;
use lyceum_components::disk;
use std::io;
use std::path::Path;
use toml::Spanned;

/// The least time a step must take for its speed to be put into a baseline, in seconds. Shorter ones vary too much.
const LONG: f64 = 2.0;
/// Tolerance of a new speed: half as fast is short. Machines that are shared need that much.
const SPEED_TOLERANCE: f64 = 1.0;

/// Writes the baseline of a run to `file` where it differs from the old one; gives the difference as a unified diff.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn update(file: &Path, old: Option<&Stored>, measured: &Measured) -> io::Result<Option<String>> {
    let new = renewed(old, measured);
    if old.is_some_and(|old| old.baseline == new) {
        return Ok(None);
    }
    let new = Baseline {
        lyceum: env!("CARGO_PKG_VERSION").to_owned(),
        ..new
    };
    let text = text::write(&new, old.map(|old| (&old.baseline, old.text())));
    disk::write_atomically(file, &text)?;
    let name = file.display().to_string();
    let from = if old.is_some() { &name } else { "/dev/null" };
    let diff = similar::TextDiff::from_lines(old.map_or("", Stored::text), &text);
    Ok(Some(diff.unified_diff().header(from, &name).to_string()))
}

fn renewed(old: Option<&Stored>, measured: &Measured) -> Baseline {
    let experiment = Spanned::new(0..0, measured.record.experiment.clone());
    let Some(stored) = old else {
        return Baseline {
            experiment,
            lyceum: String::new(),
            metrics: measured.all.iter().map(|row| new_metric(row, None)).collect(),
            claims: new_claims(&[], measured).collect(),
            performance: new_speeds(measured).collect(),
        };
    };
    let old = &stored.baseline;
    let mut metrics: Vec<MetricEntry> = old
        .metrics
        .iter()
        .filter_map(|entry| {
            let case = judge::metric(entry, measured, stored.place(entry.value.span()));
            match (case.state, measured.of(entry)) {
                (State::Short, Some(row)) => Some(moved(entry, row)),
                (State::Short, None) => None,
                _ => Some(entry.clone()),
            }
        })
        .collect();
    for row in &measured.all {
        let about = |entry: &&MetricEntry| {
            let (metric, variant, group) = judge::key(row);
            entry.key() == (metric.as_str(), variant, group)
        };
        if !metrics.iter().filter(about).any(|entry| measured.is_for(entry)) {
            let other = metrics.iter().find(about).cloned();
            let machine = measured.machines.first().filter(|_| measured.machines.len() == 1);
            match (other, machine) {
                (None, _) => metrics.push(new_metric(row, None)),
                (Some(other), Some(machine)) => metrics.push(new_metric(row, Some((&other, machine)))),
                // Numbers of several classes of machines are the baseline of none.
                (Some(_), None) => {}
            }
        }
    }
    let claims = old.claims.iter().filter_map(|entry| {
        let verdicts = &measured.record.verdicts;
        let verdict = verdicts.iter().find(|verdict| verdict.claim == entry.name)?;
        Some(ClaimEntry {
            name: entry.name.clone(),
            outcome: Spanned::new(0..0, verdict.outcome),
        })
    });
    let speeds = old.performance.iter().filter_map(|entry| {
        let case = judge::speed(entry, measured, stored.place(entry.ratio.span()));
        let ratio = measured.ratio(&entry.step, entry.measure);
        match (case.state, ratio) {
            (State::Short, Err(_)) => None,
            (State::Short, Ok(ratio)) => Some(with_ratio(entry, ratio)),
            (State::Passed, Ok(ratio)) if !case.message.is_empty() => Some(with_ratio(entry, ratio)),
            _ => Some(entry.clone()),
        }
    });
    Baseline {
        experiment,
        lyceum: old.lyceum.clone(),
        metrics,
        claims: claims.chain(new_claims(&old.claims, measured)).collect(),
        performance: speeds.collect(),
    }
}

/// An entry with the number of a measurement.
fn moved(entry: &MetricEntry, row: &Measurement) -> MetricEntry {
    let interval = entry.tolerance.get_ref().kind == ToleranceKind::Interval;
    MetricEntry {
        value: Spanned::new(0..0, row.value),
        standard_error: row
            .standard_error
            .filter(|_| interval || entry.standard_error.is_some()),
        n: (interval || entry.n.is_some()).then_some(row.n),
        ..entry.clone()
    }
}

/// The entry of a measurement that had none; for a class of machines where others have theirs, with their tolerance.
fn new_metric(row: &Measurement, like: Option<(&MetricEntry, &String)>) -> MetricEntry {
    let (metric, variant, group) = judge::key(row);
    let entry = MetricEntry {
        metric,
        variant: variant.to_owned(),
        group: group.map(str::to_owned),
        value: Spanned::new(0..0, row.value),
        standard_error: None,
        n: None,
        tolerance: Spanned::new(0..0, Tolerance::default_of(row.value, row.n)),
        machine: None,
    };
    match like {
        Some((like, machine)) => MetricEntry {
            machine: Some(machine.clone()),
            ..moved(like, row)
        },
        None => entry,
    }
}

fn new_claims<'a>(old: &'a [ClaimEntry], measured: &'a Measured) -> impl Iterator<Item = ClaimEntry> + 'a {
    let verdicts = measured.record.verdicts.iter();
    let unknown = verdicts.filter(|verdict| old.iter().all(|entry| entry.name != verdict.claim));
    unknown.map(|verdict| ClaimEntry {
        name: verdict.claim.clone(),
        outcome: Spanned::new(0..0, verdict.outcome),
    })
}

/// Speeds of the steps that processed tokens for long enough. Only a new baseline gets them: which of them are worth
/// keeping is for its owner to say.
fn new_speeds(measured: &Measured) -> impl Iterator<Item = PerformanceEntry> + '_ {
    let steps = measured.record.steps.iter();
    let long = steps.filter(|step| step.wall_seconds >= LONG);
    long.filter_map(|step| {
        let measure = Measure::TokensPerSecond;
        let ratio = measured.ratio(&step.id, measure).ok()?;
        Some(PerformanceEntry {
            step: step.id.clone(),
            measure,
            ratio: Spanned::new(0..0, rounded(ratio)),
            tolerance: Spanned::new(0..0, SPEED_TOLERANCE),
        })
    })
}

fn with_ratio(entry: &PerformanceEntry, ratio: f64) -> PerformanceEntry {
    PerformanceEntry {
        ratio: Spanned::new(0..0, rounded(ratio)),
        ..entry.clone()
    }
}

/// Three digits: no speed is known better.
fn rounded(ratio: f64) -> f64 {
    format!("{ratio:.2e}").parse().unwrap_or(ratio)
}
