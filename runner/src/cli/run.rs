//! `lyceum run`.

use super::advice::show_error;
use super::load::{load, open_store};
use super::{Format, print, say, spec_options};
use crate::execute::{self, Status, cancel_on_signal, record::Verdict};
use crate::report::ReportError;
use crate::units::{count, duration};
use crate::{Exit, device, plan, report};
use lyceum_components::Error;
use std::path::PathBuf;
use std::time::Instant;

/// Runs an experiment. What is in the store is not computed again; interrupted or killed, the same command goes on.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    file: PathBuf,
    #[command(flatten)]
    spec: spec_options::SpecOptions,
    /// How the outcome is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let start = Instant::now();
    let resolved = match load(&arguments.file, &arguments.spec.options()) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let device = match device::choose(&resolved.runtime.device) {
        Ok(device) => device,
        Err(error) => {
            say(&format!("error: {error}\n  hint: {}", error.hint));
            return Exit::Wrong;
        }
    };
    let store = open_store(&resolved);
    let planned = match plan::Planner::new(&store).plan(&resolved, false) {
        Ok(planned) => planned,
        Err(error) => {
            show_error("", &error.into());
            return Exit::Failed;
        }
    };
    if let Err(error) = plan::check_space(&planned, store.home()) {
        show_error("", &error);
        return Exit::Failed;
    }
    let ended = match execute::run(&resolved, &planned, &store, &device, &cancel_on_signal()) {
        Ok(ended) => ended,
        Err(error) => {
            show_error("", &error);
            return Exit::Failed;
        }
    };
    if let Some((step, error)) = &ended.failure {
        if matches!(error, Error::Interrupted) {
            say("interrupted; state was kept, run the same command again to go on");
            return Exit::Interrupted;
        }
        show_error(&format!("step `{step}`: "), error);
        if arguments.format == Format::Json {
            let failed =
                serde_json::json!({ "step": step, "code": error.code(), "message": error.to_string() });
            print(&format!(
                "{:#}\n",
                serde_json::json!({ "run": ended.record.id, "failed": failed })
            ));
        }
        return if error.code() == execute::UNEXPECTED {
            Exit::Wrong
        } else {
            Exit::Failed
        };
    }
    debug_assert_eq!(ended.record.status, Status::Done);
    let verdicts = match report::write(&ended.folder) {
        Ok(verdicts) => verdicts,
        Err(error) => {
            let doing = "the steps are done, but the report could not be written: ";
            match error {
                ReportError::Write(error) => show_error(doing, &error),
                other => say(&format!("error: {doing}{other}")),
            }
            return Exit::Failed;
        }
    };
    let cached = ended.record.steps.iter().filter(|step| step.cached).count();
    let took = duration(start.elapsed().as_secs_f64());
    say(&format!(
        "{}, {cached} from cache, in {took}",
        count(ended.record.steps.len(), "step")
    ));
    let report = ended.folder.report_file();
    match arguments.format {
        Format::Text => {
            let lines: String = verdicts.iter().map(verdict_line).collect();
            print(&format!("{lines}report: {}\n", report.display()))
        }
        Format::Json => print(&format!(
            "{:#}\n",
            serde_json::json!({ "run": ended.record.id, "report": report, "verdicts": verdicts })
        )),
    }
}

fn verdict_line(verdict: &Verdict) -> String {
    let numbers = match (verdict.difference, verdict.interval) {
        (Some(difference), Some((low, high))) => {
            format!(
                ": difference {difference:+.4}, 95 % interval {low:+.4} to {high:+.4}, n = {}",
                verdict.n
            )
        }
        (Some(difference), None) => format!(": difference {difference:+.4}"),
        _ => verdict
            .note
            .as_ref()
            .map(|note| format!(": {note}"))
            .unwrap_or_default(),
    };
    format!("claim {}: {}{numbers}\n", verdict.outcome.name(), verdict.claim)
}
