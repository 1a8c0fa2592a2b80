//! Holding what was measured against what the baseline says.

use super::baseline::{self, Baseline, ClaimEntry, Measure, MetricEntry, PerformanceEntry};
use super::case::{Case, Place, State, Subject};
use super::machine;
use super::read::Stored;
use super::tolerance::{agree, words};
use crate::execute::RunRecord;
use crate::execute::record::Outcome;
use crate::report::measurements::Measurement;
use serde_json::Value;
use std::collections::BTreeSet;

/// What one run came to.
#[derive(Debug)]
pub(super) struct Measured {
    /// Its record, with the claims' verdicts.
    pub(super) record: RunRecord,
    /// The rows of its tables.
    pub(super) all: Vec<Measurement>,
    /// Classes of the machines that made its artifacts.
    pub(super) machines: BTreeSet<String>,
    /// Calibration loops in a second while it ran; none where that was not measured.
    pub(super) loops_per_second: Option<f64>,
}

impl Measured {
    /// The measurement that an entry is about.
    pub(super) fn of(&self, metric: &MetricEntry) -> Option<&Measurement> {
        self.all.iter().find(|row| key(row) == owned(metric))
    }

    /// Whether an entry is for the machines that the numbers come from.
    pub(super) fn is_for(&self, metric: &MetricEntry) -> bool {
        let only = |class: &String| self.machines.len() == 1 && self.machines.contains(class);
        metric.machine.as_ref().is_none_or(only)
    }

    /// The ratio that a performance entry is about, or why there is none.
    pub(super) fn ratio(&self, step: &str, measure: Measure) -> Result<f64, String> {
        let step = self.record.steps.iter().find(|found| found.id == step);
        let step = step.ok_or("the experiment has no such step")?;
        if step.cached {
            return Err("the step came from the store: its speed was not measured".into());
        }
        let loops = self
            .loops_per_second
            .ok_or("speed is judged with `--jobs 1` alone")?;
        match measure {
            Measure::WallSeconds => Ok(step.wall_seconds * loops),
            Measure::TokensPerSecond => match step.measures.get(measure.name()) {
                Some(rate) => Ok(rate / loops),
                None => Err("the step does not measure tokens per second".into()),
            },
        }
    }
}

/// The name of a measurement in a baseline: step and metric, variant, group.
pub(super) fn key(row: &Measurement) -> (String, &str, Option<&str>) {
    (
        format!("{}.{}", row.step, row.metric),
        &row.variant,
        row.group.as_deref(),
    )
}

fn owned(metric: &MetricEntry) -> (String, &str, Option<&str>) {
    let (name, variant, group) = metric.key();
    (name.to_owned(), variant, group)
}

/// Judges every entry, and names what has none. With `strict`, a claim that is not decided is short.
pub(super) fn judge(stored: &Stored, measured: &Measured, strict: bool) -> Vec<Case> {
    let Baseline {
        metrics,
        claims,
        performance,
        ..
    } = &stored.baseline;
    let mut cases: Vec<Case> = Vec::new();
    for entry in metrics {
        cases.push(metric(entry, measured, stored.place(entry.value.span())));
    }
    let known = |row: &Measurement| metrics.iter().any(|entry| key(row) == owned(entry));
    for row in measured.all.iter().filter(|row| !known(row)) {
        let (name, variant, group) = key(row);
        cases.push(Case {
            measured: Some(row.value.into()),
            ..case(
                Subject::Metric,
                baseline::name(&name, variant, group),
                State::Skipped,
                "measured, but not in the baseline: `--update` adds it",
            )
        });
    }
    for entry in claims {
        cases.push(claim(entry, measured, strict, stored.place(entry.outcome.span())));
    }
    for verdict in &measured.record.verdicts {
        if claims.iter().any(|entry| entry.name == verdict.claim) {
            continue;
        }
        let (state, message) = match verdict.outcome {
            Outcome::NotHeld => (State::Short, "not held, and not in the baseline"),
            Outcome::NotDecided if strict => (State::Short, "not decided, which `--strict` does not allow"),
            _ => (
                State::Skipped,
                "a claim that is not in the baseline: `--update` adds it",
            ),
        };
        cases.push(Case {
            measured: Some(verdict.outcome.name().into()),
            ..case(Subject::Claim, verdict.claim.clone(), state, message)
        });
    }
    for entry in performance {
        cases.push(speed(entry, measured, stored.place(entry.ratio.span())));
    }
    cases
}

fn case(subject: Subject, name: String, state: State, message: impl Into<String>) -> Case {
    Case {
        subject,
        name,
        state,
        place: None,
        baseline: None,
        measured: None,
        tolerance: None,
        message: message.into(),
    }
}

/// Judges a number.
pub(super) fn metric(entry: &MetricEntry, measured: &Measured, place: Place) -> Case {
    let value = *entry.value.get_ref();
    let tolerance = entry.tolerance.get_ref();
    let mut case = Case {
        place: Some(place),
        baseline: Some(value.into()),
        tolerance: Some(words(tolerance)),
        ..case(Subject::Metric, entry.name(), State::Passed, "")
    };
    if !measured.is_for(entry) {
        let made = measured
            .machines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" and ");
        case.state = State::Skipped;
        case.message = format!(
            "for machines of class {}; the numbers are from {made}, and this is {}",
            entry.machine.as_deref().unwrap_or_default(),
            machine::here()
        );
        return case;
    }
    let Some(row) = measured.of(entry) else {
        case.state = State::Short;
        case.message = "not measured any more".into();
        return case;
    };
    case.measured = Some(row.value.into());
    if let Err(why) = agree(entry, row) {
        case.state = State::Short;
        case.message = why;
    }
    case
}

/// Judges a claim.
pub(super) fn claim(entry: &ClaimEntry, measured: &Measured, strict: bool, place: Place) -> Case {
    let expected = *entry.outcome.get_ref();
    let mut case = Case {
        place: Some(place),
        baseline: Some(expected.name().into()),
        ..case(Subject::Claim, entry.name.clone(), State::Passed, "")
    };
    let verdicts = &measured.record.verdicts;
    let Some(verdict) = verdicts.iter().find(|verdict| verdict.claim == entry.name) else {
        case.state = State::Short;
        case.message = "not a claim of the experiment any more".into();
        return case;
    };
    let outcome = verdict.outcome;
    case.measured = Some(outcome.name().into());
    if rank(outcome) < rank(expected) {
        case.state = State::Short;
        case.message = format!("{}, the baseline says {}", outcome.name(), expected.name());
    } else if strict && outcome == Outcome::NotDecided {
        case.state = State::Short;
        case.message = "not decided, which `--strict` does not allow".into();
    } else if rank(outcome) > rank(expected) {
        case.message = format!(
            "{}, better than the baseline's {}",
            outcome.name(),
            expected.name()
        );
    }
    case
}

fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::NotHeld => 0,
        Outcome::NotDecided => 1,
        Outcome::Held => 2,
    }
}

/// Judges a speed.
pub(super) fn speed(entry: &PerformanceEntry, measured: &Measured, place: Place) -> Case {
    let (base, tolerance) = (*entry.ratio.get_ref(), *entry.tolerance.get_ref());
    let mut case = Case {
        place: Some(place),
        baseline: Some(base.into()),
        tolerance: Some(format!("{tolerance} slower")),
        ..case(
            Subject::Performance,
            format!("{} of {}", entry.measure.name(), entry.step),
            State::Passed,
            "",
        )
    };
    let known = measured.record.steps.iter().any(|step| step.id == entry.step);
    let ratio = match measured.ratio(&entry.step, entry.measure) {
        Ok(ratio) => ratio,
        Err(why) => {
            case.state = if known { State::Skipped } else { State::Short };
            case.message = why;
            return case;
        }
    };
    case.measured = Some(Value::from(ratio));
    let slower = slower(entry.measure, base, ratio);
    let unit = match entry.measure {
        Measure::TokensPerSecond => "tokens a calibration loop",
        Measure::WallSeconds => "calibration loops",
    };
    if slower > 1.0 + tolerance {
        case.state = State::Short;
        case.message = format!(
            "{slower:.2} times as slow: {ratio:.4} {unit}, the baseline says {base} (at most {:.2} times)",
            1.0 + tolerance
        );
    } else if slower < 1.0 / (1.0 + tolerance) {
        case.message = format!("{:.2} times as fast as the baseline", 1.0 / slower);
    }
    case
}

/// How many times as slow a ratio is as the baseline's.
fn slower(measure: Measure, base: f64, ratio: f64) -> f64 {
    match measure {
        Measure::TokensPerSecond => base / ratio,
        Measure::WallSeconds => ratio / base,
    }
}
