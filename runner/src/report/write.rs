//! Judging the claims, drawing the plots, writing the report.

use super::context::{Plot, context};
use super::data::{Bin, Curve, ReportError, RunData, failed};
use super::heat;
use super::plots;
use super::render::render;
use crate::claims::{Measured, judge};
use crate::execute::record::Verdict;
use crate::execute::{RunFolder, Status};
use crate::spec::{Claim, metric_parts};
use lyceum_components::table::write_parquet;
use lyceum_components::{Error, disk};
use polars::prelude::{Column, DataFrame};
use std::path::{Path, PathBuf};

/// Writes a run's report into its folder, notes the verdicts in its record, and gives them.
pub fn write(folder: &RunFolder) -> Result<Vec<Verdict>, ReportError> {
    let data = RunData::read(folder)?;
    let mut record = data.record.clone();
    let (_, verdicts) = write_runs(&[data], &folder.path)?;
    // The record of a run that is going on is its process's to write.
    if record.status != Status::Running {
        record.verdicts.clone_from(&verdicts);
        folder
            .save(&record)
            .map_err(Error::io("cannot write", folder.record_file()))?;
    }
    Ok(verdicts)
}

/// Writes one report over several runs into a folder, and gives its file. The claims of every experiment among them are
/// judged, over all runs of it that differ only in the seed.
pub fn write_several(folders: &[RunFolder], to: &Path) -> Result<(PathBuf, Vec<Verdict>), ReportError> {
    let runs = folders.iter().map(RunData::read).collect::<Result<Vec<_>, _>>()?;
    write_runs(&runs, to)
}

fn write_runs(runs: &[RunData], to: &Path) -> Result<(PathBuf, Vec<Verdict>), ReportError> {
    let folder = to.join("plots");
    lyceum_components::context::make_folder(&folder)?;
    let judged = judged(runs);
    let verdicts: Vec<Verdict> = judged.iter().flat_map(|group| group.verdicts.clone()).collect();
    let plots = draw(runs, &folder)?;
    write_verdicts(&to.join("verdicts.parquet"), &verdicts)?;
    let text = render(&runs[0].spec.report.template, &context(runs, &judged, &plots))?;
    let file = to.join("report.md");
    disk::write_atomically(&file, text).map_err(Error::io("cannot write", &file))?;
    Ok((file, verdicts))
}

/// Claims judged over the runs of one experiment, which differ at most in the seed.
pub(super) struct Judged<'a> {
    pub(super) runs: Vec<&'a RunData>,
    pub(super) verdicts: Vec<Verdict>,
}

/// The verdicts of every experiment among the runs. Runs that differ only in the seed are seeds of one experiment; of
/// runs that differ in nothing, the last counts.
fn judged(runs: &[RunData]) -> Vec<Judged<'_>> {
    let mut groups: Vec<(Option<toml::Table>, Vec<&RunData>)> = Vec::new();
    for run in runs {
        let spec = run.without_seed();
        match groups.iter_mut().find(|(other, _)| *other == spec) {
            Some((_, own)) => {
                own.retain(|other| other.spec.experiment.seed != run.spec.experiment.seed);
                own.push(run);
            }
            None => groups.push((spec, vec![run])),
        }
    }
    let all = groups.into_iter().map(|(_, runs)| Judged {
        verdicts: runs[0]
            .spec
            .claims
            .iter()
            .map(|claim| verdict(claim, &runs))
            .collect(),
        runs,
    });
    all.collect()
}

fn verdict(claim: &Claim, runs: &[&RunData]) -> Verdict {
    let group = claim.group.as_deref();
    let (mut measured, mut ambiguous) = (Vec::new(), Vec::new());
    for run in runs {
        let [better, than] = [&claim.better, &claim.than].map(|variant| {
            run.measured(&claim.metric, group, variant)
                .unwrap_or_else(|steps| {
                    ambiguous = steps;
                    Measured::default()
                })
        });
        measured.push((better, than));
    }
    let mut verdict = judge(claim, &measured, runs[0].spec.experiment.seed);
    if let Some(first) = ambiguous.first() {
        let name = metric_parts(&claim.metric).1;
        verdict.note = Some(format!(
            "{} measured `{name}`: say which is meant, as in `{first}.{name}`",
            ambiguous
                .iter()
                .map(|step| format!("`{step}`"))
                .collect::<Vec<_>>()
                .join(" and ")
        ));
    }
    verdict
}

fn draw(runs: &[RunData], folder: &Path) -> Result<Vec<Plot>, ReportError> {
    let mut drawn = Vec::new();
    for run in runs {
        let suffix = if runs.len() > 1 {
            format!("-{}", run.record.id)
        } else {
            String::new()
        };
        let mut put = |name: String, title: String, kind, svg: Option<String>| {
            let Some(svg) = svg else {
                return Ok::<(), ReportError>(());
            };
            let name = format!("{name}{suffix}.svg");
            let file = folder.join(&name);
            disk::write(&file, svg).map_err(Error::io("cannot write", &file))?;
            drawn.push(Plot {
                title,
                file: format!("plots/{name}"),
                kind,
            });
            Ok(())
        };
        for (step, title, curves) in curves_by_step(run) {
            put(
                format!("loss-{}", plain(step)),
                title.clone(),
                "loss",
                plots::loss_curves(&title, &curves)?,
            )?;
        }
        for table in &run.tables {
            for variant in distinct(table.histogram.iter().map(|bin| bin.variant.as_str())) {
                let bins: Vec<&Bin> = table
                    .histogram
                    .iter()
                    .filter(|bin| bin.variant == variant)
                    .collect();
                let title = format!("Scores of {variant} by label");
                put(
                    format!("scores-{}", plain(variant)),
                    title.clone(),
                    "scores",
                    plots::histogram(&title, &bins)?,
                )?;
            }
            for drawing in &table.drawings {
                put(
                    format!("{}-{}", plain(&table.step), plain(&drawing.title)),
                    format!("{} ({})", drawing.title, table.step),
                    "drawing",
                    plots::drawing(drawing)?,
                )?;
            }
            for map in &table.heat_maps {
                put(
                    format!("{}-{}", plain(&table.step), plain(&map.title)),
                    format!("{} ({})", map.title, table.step),
                    "drawing",
                    heat::heat_map(map)?,
                )?;
            }
        }
    }
    Ok(drawn)
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    names.for_each(|name| {
        if !all.contains(&name) {
            all.push(name);
        }
    });
    all
}

/// Every step that has training curves, a title, and those of its variants.
pub(super) fn curves_by_step(run: &RunData) -> impl Iterator<Item = (&str, String, Vec<&Curve>)> {
    let steps = distinct(run.curves.iter().map(|curve| base(&curve.step)));
    steps.into_iter().map(|step| {
        let curves = run.curves.iter().filter(|curve| base(&curve.step) == step);
        (step, format!("Loss of {step}"), curves.collect())
    })
}

/// A step's name without its variant.
fn base(id: &str) -> &str {
    id.split('[').next().unwrap_or(id)
}

/// A name as it may stand in a file name and a link.
fn plain(name: &str) -> String {
    let kept = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    kept.collect::<String>().trim_end_matches('-').to_owned()
}

fn write_verdicts(file: &Path, verdicts: &[Verdict]) -> Result<(), ReportError> {
    let text = |name: &str, get: &dyn Fn(&Verdict) -> String| {
        Column::new(name.into(), verdicts.iter().map(get).collect::<Vec<_>>())
    };
    let numbers = |name: &str, get: &dyn Fn(&Verdict) -> Option<f64>| {
        Column::new(name.into(), verdicts.iter().map(get).collect::<Vec<_>>())
    };
    let columns = vec![
        text("claim", &|v| v.claim.clone()),
        text("outcome", &|v| v.outcome.name().to_owned()),
        text("metric", &|v| v.metric.clone()),
        text("group", &|v| v.group.clone().unwrap_or_default()),
        text("better", &|v| v.better.clone()),
        text("than", &|v| v.than.clone()),
        numbers("better_value", &|v| v.better_value),
        numbers("than_value", &|v| v.than_value),
        numbers("difference", &|v| v.difference),
        numbers("low", &|v| v.interval.map(|i| i.0)),
        numbers("high", &|v| v.interval.map(|i| i.1)),
        Column::new("n".into(), verdicts.iter().map(|v| v.n).collect::<Vec<_>>()),
    ];
    let mut frame = DataFrame::new(verdicts.len(), columns).map_err(|e| failed(file)(e.to_string()))?;
    Ok(write_parquet(file, &mut frame)?)
}
