//! Taking things out of the store: plain files that other programs read, checked against their hashes on the way.

mod curve;
mod files;

use crate::execute::{RunFolder, RunRecord, StepRecord};
use crate::store::{Manifest, Store};
use lyceum_components::{Artifact, Error, Kind, Result, disk};
use std::fs;
use std::path::{Path, PathBuf};

/// What tables become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Form {
    /// Parquet, as they are stored.
    #[default]
    Parquet,
    /// CSV.
    Csv,
    /// JSON: a list of rows.
    Json,
    /// Event files of training curves, and nothing else.
    Tensorboard,
}

/// What is taken out of a run: steps, or an output of one of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted<'a> {
    /// The steps: one, or every variant of one.
    pub steps: Vec<&'a StepRecord>,
    /// Name of the output; empty for all of the artifact.
    pub output: &'a str,
}

/// The steps that `name` means in a run, as in `student`, `student[miniplm]` or `tokens.train`. None if there are none.
pub fn wanted<'a>(record: &'a RunRecord, name: &'a str) -> Option<Wanted<'a>> {
    let steps = |id: &str| -> Vec<&'a StepRecord> {
        let done = record.steps.iter().filter(|step| step.error.is_none());
        let variant = |step: &StepRecord| step.id.strip_prefix(id).is_some_and(|rest| rest.starts_with('['));
        done.filter(|step| step.id == id || variant(step)).collect()
    };
    // A dot may stand in a variant's name too.
    let split = name.rsplit_once('.').filter(|(_, output)| !output.contains(']'));
    [Some((name, "")), split]
        .into_iter()
        .flatten()
        .map(|(id, output)| Wanted {
            steps: steps(id),
            output,
        })
        .find(|wanted| !wanted.steps.is_empty())
}

/// Writes steps into `to`: one step right into it, several into folders of their names.
///
/// # Errors
/// `missing_artifact`, `damaged_artifact`, `unknown_output`, `no_curve`, or what the file system says.
pub fn steps(store: &Store, wanted: &Wanted<'_>, to: &Path, form: Form) -> Result<()> {
    for step in &wanted.steps {
        let folder = match wanted.steps[..] {
            [_] => to.to_path_buf(),
            _ => to.join(&step.id),
        };
        if form == Form::Tensorboard {
            if !curve::write(store, step, &folder)? {
                return Err(Error::data(
                    "no_curve",
                    format!("step `{}` trained nothing: it has no curve", step.id),
                ));
            }
        } else {
            artifact(store, step, wanted.output, &folder, form)?;
        }
    }
    Ok(())
}

/// Writes a whole run into `to`: its report, its tables and its models.
///
/// # Errors
/// As [`steps`].
pub fn run(store: &Store, folder: &RunFolder, record: &RunRecord, to: &Path, form: Form) -> Result<()> {
    let done = record.steps.iter().filter(|step| step.error.is_none());
    if form == Form::Tensorboard {
        let mut curves = 0;
        for step in done {
            curves += usize::from(curve::write(store, step, &to.join(&step.id))?);
        }
        let none = || Error::data("no_curve", format!("run `{}` trained nothing", record.id));
        return if curves == 0 { Err(none()) } else { Ok(()) };
    }
    for file in [folder.record_file(), folder.resolved_file(), folder.report_file()] {
        copy_if_there(&file, to)?;
    }
    for plot in fs::read_dir(folder.plots()).into_iter().flatten().flatten() {
        copy_if_there(&plot.path(), &to.join("plots"))?;
    }
    let verdicts = folder.verdicts_file();
    if verdicts.exists() {
        make(to)?;
        files::table(&verdicts, &to.join("verdicts.parquet"), form)?;
    }
    for step in done {
        let opened = Artifact::open(&folder.artifact(step), &step.location, &step.id);
        if opened.is_ok_and(|found| matches!(found.header.kind, Kind::Table | Kind::Model)) {
            artifact(store, step, "", &to.join("steps").join(&step.id), form)?;
        }
    }
    Ok(())
}

fn artifact(store: &Store, step: &StepRecord, output: &str, to: &Path, form: Form) -> Result<()> {
    let manifest = manifest(store, step)?;
    let inside = if output.is_empty() {
        String::new()
    } else {
        format!("{output}/")
    };
    if !manifest.outputs.iter().any(|name| name == output) && !output.is_empty() {
        return Err(Error::data(
            "unknown_output",
            format!("step `{}` has no output `{output}`", step.id),
        )
        .hint(format!("it has {}", manifest.outputs.join(", "))));
    }
    let source = store.folder(&step.component, &step.key);
    make(to)?;
    for entry in &manifest.files {
        let Some(path) = entry.path.strip_prefix(&inside) else {
            continue;
        };
        // The header is the store's own: other programs have no use for it.
        if path.rsplit('/').next() == Some(lyceum_components::artifact::HEADER) {
            continue;
        }
        let file = to.join(path);
        make(file.parent().unwrap_or(to))?;
        files::checked(&source.join(&entry.path), &file, entry, form)?;
    }
    Ok(())
}

/// The manifest of a step's artifact.
fn manifest(store: &Store, step: &StepRecord) -> Result<Manifest> {
    store.find(&step.component, &step.key).ok_or_else(|| {
        let message = format!(
            "the artifact of step `{}` is not in the store, or not whole",
            step.id
        );
        Error::data("missing_artifact", message)
            .hint("run the experiment again: what is missing is made anew")
    })
}

fn make(folder: &Path) -> Result<()> {
    disk::create_dir_all(folder).map_err(Error::io("cannot make the folder", folder))
}

fn copy_if_there(file: &Path, to: &Path) -> Result<()> {
    let Ok(content) = fs::read(file) else {
        return Ok(());
    };
    make(to)?;
    let target: PathBuf = to.join(file.file_name().unwrap_or_default());
    disk::write(&target, content).map_err(Error::io("cannot write", &target))
}
