//! The report of a sweep: what was swept, verdicts, means, margins, the best settings, failures, cost.

use super::folder::PointRecord;
use super::names::Names;
use super::plots::{Line, margin};
use super::prepare::Prepared;
use super::results::{self, Result};
use super::summary::{Group, Quantity, groups, listed, quantities, ranked, values_of};
use crate::claims::judge;
use crate::execute::{RunFolder, Status};
use crate::report::measurements::measured;
use crate::report::{ReportError, plots_over_seeds, render, verdict};
use crate::spec::{Claim, Sweep};
use crate::units::{duration, number};
use lyceum_components::disk;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Writes `results.parquet`, `results.csv`, the plots and `report.md`. `records` belong to the points in their order.
///
/// # Errors
/// The file that cannot be read or written.
pub fn write(prepared: &Prepared, records: &[Option<PointRecord>]) -> std::result::Result<(), ReportError> {
    let results = results::read(prepared, records)?;
    make(&prepared.folder.plots())?;
    results::write(prepared, &results)?;
    let context = context(prepared, records, &results)?;
    let text = render("sweep", &context)?;
    let stale = stale(&prepared.folder.plots(), &text);
    put(&prepared.folder.report_file(), text)?;
    // Plots that stay harm nobody.
    for file in stale {
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

/// Plots of an earlier report that this one does not show.
fn stale(folder: &Path, report: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.map(|entry| entry.path());
    let shown = |file: &Path| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_none_or(|name| report.contains(&format!("](plots/{name})")))
    };
    files.filter(|file| !shown(file)).collect()
}

fn make(folder: &Path) -> std::result::Result<(), ReportError> {
    disk::create_dir_all(folder).map_err(|e| ReportError::File {
        path: folder.to_path_buf(),
        message: e.to_string(),
    })
}

fn put(file: &Path, text: String) -> std::result::Result<(), ReportError> {
    disk::write_atomically(file, text).map_err(|e| ReportError::File {
        path: file.to_path_buf(),
        message: e.to_string(),
    })
}

fn context(
    prepared: &Prepared,
    records: &[Option<PointRecord>],
    results: &[Result<'_>],
) -> std::result::Result<Value, ReportError> {
    let base = &prepared.base;
    let none = Sweep::default();
    let sweep = base.sweep.as_ref().unwrap_or(&none);
    let names = prepared.names();
    let groups = groups(results);
    let quantities = quantities(results);
    let ranked = ranked(&base.claims, sweep, &quantities);
    let drawn: Vec<&Quantity> = if ranked.is_empty() {
        quantities
            .iter()
            .filter(|quantity| quantity.group.is_none())
            .collect()
    } else {
        ranked.iter().map(|(quantity, _)| quantity).collect()
    };
    let seeds: BTreeSet<u64> = prepared.points.iter().map(|point| point.seed).collect();
    let swept: Vec<Value> = prepared
        .paths
        .iter()
        .map(|path| {
            let told = names.told(path).map(str::to_owned);
            let values = told.unwrap_or_else(|| listed(&values_of(results, path)));
            json!({ "path": path, "name": names.of(path), "values": values })
        })
        .collect();
    let failed = |record: &&PointRecord| record.status == Status::Failed;
    let failures: Vec<Value> = records
        .iter()
        .flatten()
        .filter(failed)
        .map(|record| {
            json!({
                "id": record.id, "settings": names.label(&record.settings), "seed": record.seed,
                "error": record.error.clone().unwrap_or_default(),
            })
        })
        .collect();
    Ok(json!({
        "title": base.experiment.title.clone().unwrap_or_else(|| base.experiment.name.clone()),
        "file": base.file.strip_prefix(&base.root).unwrap_or(&base.file),
        "points": prepared.points.len(),
        "done": results.len(),
        "settings": groups.len(),
        "seeds": seeds,
        "swept": swept,
        "verdicts": verdicts(&base.claims, &groups, &names),
        "best": best(&ranked, &groups, results, &names),
        "means": quantities.iter().map(|quantity| means(quantity, &groups, results, &names)).collect::<Vec<_>>(),
        "plots": plots(prepared, &drawn, results, &names)?,
        "curves": curves(prepared, &groups)?,
        "failures": failures,
        "cost": cost(results, &names),
    }))
}

/// The claims, once for every group.
fn verdicts(claims: &[Claim], groups: &[Group<'_>], names: &Names) -> Vec<Value> {
    let mut all = Vec::new();
    for claim in claims {
        for group in groups {
            let runs = group.members.iter().map(|result| {
                let side = |variant: &str| {
                    measured(&result.measured, &claim.metric, claim.group.as_deref(), variant)
                };
                (side(&claim.better), side(&claim.than))
            });
            let seed = group.members.first().map_or(0, |result| result.point.seed);
            let mut shown = verdict(&judge(claim, &runs.collect::<Vec<_>>(), seed));
            shown["settings"] = names.label(group.settings).into();
            all.push(shown);
        }
    }
    all
}

/// A table of one quantity: settings down, variants across.
fn means(quantity: &Quantity, groups: &[Group<'_>], results: &[Result<'_>], names: &Names) -> Value {
    let variants = quantity.variants(results);
    let rows = groups.iter().filter_map(|group| {
        let means: Vec<_> = variants
            .iter()
            .map(|variant| quantity.mean(group, variant))
            .collect();
        let n = means.iter().flatten().map(|mean| mean.n).max()?;
        let cells = means
            .iter()
            .map(|mean| mean.map_or("–".to_owned(), |mean| mean.text()));
        Some(json!({
            "settings": names.label(group.settings), "cells": cells.collect::<Vec<_>>(), "n": n,
        }))
    });
    json!({ "title": quantity.title(), "variants": variants, "rows": rows.collect::<Vec<_>>() })
}

/// The best settings of every variant by every ranked quantity, and which of them is best of all.
fn best(
    ranked: &[(Quantity, bool)],
    groups: &[Group<'_>],
    results: &[Result<'_>],
    names: &Names,
) -> Vec<Value> {
    let mut all = Vec::new();
    for (quantity, lower) in ranked {
        let sign = if *lower { 1.0 } else { -1.0 };
        let mut rows = Vec::new();
        for variant in quantity.variants(results) {
            let means = groups
                .iter()
                .filter_map(|group| Some((group, quantity.mean(group, &variant)?)))
                .filter(|(_, mean)| mean.value.is_finite());
            let first = means.min_by(|(_, a), (_, b)| (sign * a.value).total_cmp(&(sign * b.value)));
            rows.extend(first.map(|(group, mean)| (variant, group, mean)));
        }
        rows.sort_by(|(_, _, a), (_, _, b)| (sign * a.value).total_cmp(&(sign * b.value)));
        all.extend(rows.iter().enumerate().map(|(i, (variant, group, mean))| {
            json!({
                "metric": quantity.title(), "lower": lower, "variant": variant, "first": i == 0,
                "settings": names.label(group.settings), "value": mean.text(), "n": mean.n,
            })
        }));
    }
    all
}

fn plots(
    prepared: &Prepared,
    drawn: &[&Quantity],
    results: &[Result<'_>],
    names: &Names,
) -> std::result::Result<Vec<Value>, ReportError> {
    let mut all = Vec::new();
    for path in &prepared.paths {
        let values = values_of(results, path);
        if values.len() < 2 || names.told(path).is_some() {
            continue;
        }
        for quantity in drawn {
            let line = |variant: String| Line {
                means: values
                    .iter()
                    .map(|value| quantity.margin(results, &variant, path, value))
                    .collect(),
                name: variant,
            };
            let lines: Vec<Line> = quantity.variants(results).into_iter().map(line).collect();
            let title = format!("{} by {}", quantity.title(), names.of(path));
            let axes = [names.of(path), &quantity.title()];
            if let Some(svg) = margin(&title, axes, &values, &lines)? {
                all.push(kept(prepared, &title, svg)?);
            }
        }
    }
    Ok(all)
}

/// Training curves and tables' own where only seeds were swept, those of all seeds in one plot.
fn curves(prepared: &Prepared, groups: &[Group<'_>]) -> std::result::Result<Vec<Value>, ReportError> {
    let [only] = groups else {
        return Ok(Vec::new());
    };
    let home = prepared.store.home();
    let members = only.members.iter();
    let folders: Vec<_> = members
        .map(|result| RunFolder::new(home, &result.record.id))
        .collect();
    let plots = plots_over_seeds(&folders)?.into_iter();
    plots.map(|(title, svg)| kept(prepared, &title, svg)).collect()
}

/// Writes a plot, and says where.
fn kept(prepared: &Prepared, title: &str, svg: String) -> std::result::Result<Value, ReportError> {
    let name = format!("{}.svg", in_file_names(title));
    put(&prepared.folder.plots().join(&name), svg)?;
    Ok(json!({ "title": title, "file": format!("plots/{name}") }))
}

fn in_file_names(title: &str) -> String {
    let kept = title
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    kept.collect()
}

/// What the points cost. A step that several points share was made once: its FLOPs count once in the sum.
fn cost(results: &[Result<'_>], names: &Names) -> Value {
    let mut distinct: BTreeMap<&str, f64> = BTreeMap::new();
    let mut seconds = 0.0;
    let rows: Vec<Value> = results
        .iter()
        .map(|result| {
            let steps = &result.record.steps;
            distinct.extend(steps.iter().map(|step| (step.key.as_str(), step.flops)));
            let wall: f64 = steps.iter().map(|step| step.wall_seconds).sum();
            seconds += wall;
            json!({
                "id": result.point.id, "settings": names.label(&result.point.settings),
                "seed": result.point.seed, "run": result.record.id,
                "cached": steps.iter().filter(|step| step.cached).count(), "steps": steps.len(),
                "wall": duration(wall), "flops": number(steps.iter().map(|step| step.flops).sum()),
            })
        })
        .collect();
    json!({
        "rows": rows, "wall": duration(seconds), "artifacts": distinct.len(),
        "flops": number(distinct.values().sum()),
    })
}
