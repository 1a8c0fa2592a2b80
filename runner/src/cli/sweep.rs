//! `lyceum sweep`.

use super::load::prepare;
use super::{Format, print, say, spec_options};
use crate::execute::{Status, cancel_on_signal};
use crate::sweep::{self, How, Keys, PointRecord, Prepared, Show};
use crate::units::count;
use crate::{Exit, device};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Runs an experiment at every point of its `[sweep]`, and reports on all of them. Steps that points share run once; a
/// point that fails does not stop the others. The same command again does only what is missing.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    file: PathBuf,
    #[command(flatten)]
    spec: spec_options::SpecOptions,
    /// How many points run at a time; they divide the processor's threads.
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    /// How the outcome is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let options = arguments.spec.options();
    let prepared = match prepare(&arguments.file, &options) {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    if let Err(error) = device::choose(&prepared.base.runtime.device) {
        say(&format!("error: {error}\n  hint: {}", error.hint));
        return Exit::Wrong;
    }
    let keys: Vec<Keys> = match prepared.plans(false) {
        Ok(plans) => plans.iter().map(sweep::keys).collect(),
        Err(error) => return failed(&error),
    };
    let absolute = |folder: &PathBuf| std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
    let settings = options.environment.iter().map(|(name, _)| name.clone());
    let how = How {
        jobs: arguments.jobs.get(),
        allow: options.allow.iter().map(absolute).collect(),
        without: settings.filter(|name| name.starts_with("LYCEUM__")).collect(),
    };
    let cancel = cancel_on_signal();
    let mut show = Show::new(&prepared);
    let ended = sweep::run(&prepared, &keys, &how, &cancel, &mut show);
    drop(show);
    let records = match ended {
        Ok(records) => records,
        Err(error) => {
            let folder = prepared.folder.path.display();
            return failed(&format!(
                "cannot keep the state of the sweep in `{folder}`: {error}"
            ));
        }
    };
    if cancel.is_cancelled() && records.contains(&None) {
        say("interrupted; state was kept, run the same command again to go on");
        return Exit::Interrupted;
    }
    if let Err(error) = sweep::write(&prepared, &records) {
        say(&format!(
            "error: the points are done, but the report could not be written: {error}"
        ));
        return Exit::Failed;
    }
    finish(
        &prepared,
        &records.into_iter().flatten().collect::<Vec<_>>(),
        arguments.format,
    )
}

fn failed(error: &dyn std::fmt::Display) -> Exit {
    say(&format!("error: {error}"));
    Exit::Failed
}

fn finish(prepared: &Prepared, records: &[PointRecord], format: Format) -> Exit {
    let failed: Vec<&PointRecord> = records
        .iter()
        .filter(|record| record.status == Status::Failed)
        .collect();
    say(&format!(
        "{}, {} failed",
        count(records.len(), "point"),
        failed.len()
    ));
    for record in &failed {
        say(&format!(
            "  {}  {}",
            record.id,
            record.error.as_deref().unwrap_or_default()
        ));
    }
    let folder = &prepared.folder;
    let printed = match format {
        Format::Text => print(&format!(
            "results: {}\nreport: {}\n",
            folder.parquet_file().display(),
            folder.report_file().display()
        )),
        Format::Json => print(&format!(
            "{:#}\n",
            json!({
                "experiment": prepared.base.experiment.name, "points": records,
                "results": folder.parquet_file(), "report": folder.report_file(),
            })
        )),
    };
    if failed.is_empty() { printed } else { Exit::Failed }
}
