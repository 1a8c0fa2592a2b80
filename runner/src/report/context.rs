//! What a template sees: plain data, numbers already written out.

use super::data::{Row, RunData, TableData};
use super::reported::{Figure, figures};
use super::write::Judged;
use crate::execute::record::{Basis, StepRecord, Verdict};
use crate::units::{bytes, duration, number};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A plot that was drawn: its title and its file, relative to the report.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) file: String,
    pub(super) kind: &'static str,
}

/// The context of one report over one or several runs. The first run gives the head.
pub(super) fn context(runs: &[RunData], judged: &[Judged<'_>], plots: &[Plot]) -> Value {
    let first = &runs[0];
    let head = &first.spec.experiment;
    let paper = head.paper.as_deref().unwrap_or_default();
    json!({
        "title": head.title.clone().unwrap_or_else(|| head.name.clone()),
        "name": head.name,
        "paper": head.paper,
        "file": first.record.file,
        "runs": runs.iter().map(run).collect::<Vec<_>>(),
        "judged": judged.iter().map(|group| group_of(group, judged.len() > 1)).collect::<Vec<_>>(),
        "beside": beside(runs),
        "tables": runs.iter().flat_map(|data| tables(data, runs.len() > 1)).collect::<Vec<_>>(),
        "plots": plots.iter().map(|p| json!({ "title": p.title, "file": p.file, "kind": p.kind })).collect::<Vec<_>>(),
        "models": runs.iter().flat_map(models).collect::<Vec<_>>(),
        "selections": runs.iter().flat_map(selections).collect::<Vec<_>>(),
        "measured": measured(judged.iter().flat_map(|group| &group.verdicts)),
        "reported": reported(&figures(paper)),
        "spec": first.spec_text,
    })
}

/// The verdicts of one experiment; named where there are others beside it.
fn group_of(group: &Judged<'_>, named: bool) -> Value {
    let ids: Vec<&str> = group.runs.iter().map(|run| run.record.id.as_str()).collect();
    json!({
        "name": named.then(|| group.runs[0].spec.experiment.name.clone()),
        "runs": ids,
        "verdicts": group.verdicts.iter().map(verdict).collect::<Vec<_>>(),
    })
}

fn run(data: &RunData) -> Value {
    let record = &data.record;
    let steps = &record.steps;
    let new = steps.iter().filter(|step| !step.cached);
    json!({
        "id": record.id,
        "seed": data.spec.experiment.seed,
        "precision": data.spec.experiment.precision,
        "status": record.status.name(),
        "started": record.started,
        "finished": record.finished.clone().unwrap_or_default(),
        "version": record.version,
        "device": record.device,
        "cpu": record.cpu,
        "cached": steps.iter().filter(|step| step.cached).count(),
        "count": steps.len(),
        "wall": duration(new.clone().map(|step| step.wall_seconds).sum()),
        "overhead": duration(new.clone().map(|step| step.overhead_seconds).sum()),
        "memory": bytes(new.map(|step| step.peak_memory_bytes).max().unwrap_or_default() as f64),
        "flops": number(steps.iter().map(|step| step.flops).sum()),
        "steps": steps.iter().map(cost).collect::<Vec<_>>(),
        "unreadable": data.unreadable.iter().map(|(step, why)| json!({ "step": step, "why": why })).collect::<Vec<_>>(),
    })
}

fn cost(step: &StepRecord) -> Value {
    let or_dash = |known: bool, text: String| if known { text } else { "–".to_owned() };
    let rate = step.measures.get("tokens_per_second").copied();
    json!({
        "id": step.id,
        "component": step.component,
        "cached": step.cached,
        "wall": or_dash(!step.cached, duration(step.wall_seconds)),
        "tokens": or_dash(step.tokens > 0, number(step.tokens as f64)),
        "flops": or_dash(step.flops > 0.0, number(step.flops)),
        "rate": or_dash(rate.is_some(), number(rate.unwrap_or_default())),
        "memory": or_dash(step.peak_memory_bytes > 0, bytes(step.peak_memory_bytes as f64)),
        "error": step.error,
    })
}

/// A verdict, its numbers written out.
pub(crate) fn verdict(verdict: &Verdict) -> Value {
    let signed = |value: f64| format!("{value:+.4}");
    let plain = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
    json!({
        "outcome": verdict.outcome.name(),
        "claim": verdict.claim,
        "metric": verdict.metric,
        "group": verdict.group.clone().unwrap_or_default(),
        "better": verdict.better,
        "than": verdict.than,
        "better_value": plain(verdict.better_value),
        "than_value": plain(verdict.than_value),
        "difference": verdict.difference.map_or("–".to_owned(), signed),
        "interval": verdict.interval.map_or("–".to_owned(), |(low, high)| format!("{} to {}", signed(low), signed(high))),
        "n": verdict.n,
        "basis": match verdict.basis {
            Basis::Seeds => "seeds",
            Basis::Instances => "one run, instances",
            Basis::Values => "one run",
        },
        "note": verdict.note.clone().unwrap_or_default(),
    })
}

/// One Markdown table a table artifact and group column: variants down, metrics across.
fn tables(data: &RunData, name_the_run: bool) -> Vec<Value> {
    let mut all = Vec::new();
    for table in &data.tables {
        let title = if name_the_run {
            format!("{} ({})", table.step, data.record.id)
        } else {
            table.step.clone()
        };
        all.extend(pivot(
            &title,
            table,
            |row| row.group.is_none(),
            |row| row.metric.clone(),
        ));
        let mut metrics: Vec<&String> = Vec::new();
        for row in table.rows.iter().filter(|row| row.group.is_some()) {
            if !metrics.contains(&&row.metric) {
                metrics.push(&row.metric);
            }
        }
        for metric in metrics {
            let title = format!("{title}: {metric} by label");
            let group = |row: &Row| row.group.clone().unwrap_or_default();
            all.extend(pivot(
                &title,
                table,
                |row| row.group.is_some() && row.metric == *metric,
                group,
            ));
        }
    }
    all
}

/// A figure as tables show it: counts from a thousand on without decimals.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.4}")
    }
}

fn pivot(
    title: &str,
    table: &TableData,
    wanted: impl Fn(&Row) -> bool,
    column: impl Fn(&Row) -> String,
) -> Option<Value> {
    let (mut columns, mut variants): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut cells: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut n = 0;
    for row in table.rows.iter().filter(|row| wanted(row)) {
        let name = column(row);
        if !columns.contains(&name) {
            columns.push(name.clone());
        }
        if !variants.contains(&row.variant) {
            variants.push(row.variant.clone());
        }
        n = n.max(row.n);
        let error = row
            .standard_error
            .map_or(String::new(), |error| format!(" ± {error:.4}"));
        let value = figure(row.value);
        cells.insert((row.variant.clone(), name), format!("{value}{error}"));
    }
    if columns.is_empty() {
        return None;
    }
    let rows: Vec<Value> = variants
        .iter()
        .map(|variant| {
            let own = columns.iter().map(|column| {
                cells
                    .get(&(variant.clone(), column.clone()))
                    .cloned()
                    .unwrap_or_else(|| "–".to_owned())
            });
            json!({ "variant": variant, "cells": own.collect::<Vec<_>>() })
        })
        .collect();
    Some(json!({ "title": title, "columns": columns, "rows": rows, "n": n }))
}

/// Every measurement of several runs, one column a run; empty for one run.
fn beside(runs: &[RunData]) -> Vec<Value> {
    let mut names: Vec<(&str, &str, &str)> = Vec::new();
    let mut cells: BTreeMap<(&str, &str, &str, usize), f64> = BTreeMap::new();
    for (i, run) in runs.iter().enumerate().filter(|_| runs.len() > 1) {
        for table in &run.tables {
            for row in table.rows.iter().filter(|row| row.group.is_none()) {
                let name = (table.step.as_str(), row.variant.as_str(), row.metric.as_str());
                if !names.contains(&name) {
                    names.push(name);
                }
                cells.insert((name.0, name.1, name.2, i), row.value);
            }
        }
    }
    let line = |(step, variant, metric): (&str, &str, &str)| {
        let values = (0..runs.len()).map(|i| match cells.get(&(step, variant, metric, i)) {
            Some(value) => format!("{value:.4}"),
            None => "–".to_owned(),
        });
        json!({ "metric": format!("{step}.{metric}"), "variant": variant, "cells": values.collect::<Vec<_>>() })
    };
    names.into_iter().map(line).collect()
}

fn models(data: &RunData) -> Vec<Value> {
    let of = |curve: &super::data::Curve| {
        let get = |name: &str| {
            curve
                .details
                .get(name)
                .and_then(Value::as_f64)
                .unwrap_or_default()
        };
        let charged = curve.details.get("charged").and_then(Value::as_object);
        let charged: f64 = charged.map_or(0.0, |by| by.values().filter_map(Value::as_f64).sum());
        let flops = match charged {
            0.0 => number(get("flops")),
            charged => format!("{}, {} charged", number(get("flops")), number(charged)),
        };
        let last = |split: &str| {
            let points = curve.points.get(&(split.to_owned(), "loss".to_owned()));
            points
                .and_then(|points| points.last())
                .map_or("–".to_owned(), |(_, loss)| format!("{loss:.4}"))
        };
        json!({
            "step": curve.step,
            "parameters": number(get("parameters")),
            "steps": get("steps") as u64,
            "tokens": number(get("tokens_trained")),
            "flops": flops,
            "train": last("train"),
            "valid": last("valid"),
        })
    };
    data.curves.iter().map(of).collect()
}

fn selections(data: &RunData) -> Vec<Value> {
    let of = |chosen: &super::data::Chosen| {
        let get = |name: &str| chosen.details.get(name).and_then(Value::as_f64);
        let threshold = get("threshold").map_or("–".to_owned(), |value| format!("{value:.4}"));
        json!({
            "step": chosen.step,
            "kept": get("kept").unwrap_or_default() as u64,
            "of": get("of").unwrap_or_default() as u64,
            "threshold": threshold,
        })
    };
    data.selections.iter().map(of).collect()
}

/// What the claims measured, to be set beside what a paper reports.
fn measured<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    for verdict in verdicts {
        for (name, value) in [
            (&verdict.better, verdict.better_value),
            (&verdict.than, verdict.than_value),
        ] {
            let Some(value) = value else { continue };
            let row = json!({ "variant": name, "metric": verdict.metric, "value": format!("{value:.4}") });
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    rows
}

fn reported(figures: &[Figure]) -> Vec<Value> {
    let main = figures
        .iter()
        .filter(|figure| figure.dataset.starts_with("average") || figure.metric == "acceleration_ratio");
    main.map(|f| {
        json!({
            "setting": f.setting, "method": f.method, "model": f.model,
            "metric": format!("{} {}", f.dataset, f.metric), "value": f.value.to_string(),
        })
    })
    .collect()
}
