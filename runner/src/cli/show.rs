//! `lyceum show`.

use super::load::home_here;
use super::{Format, print, say};
use crate::Exit;
use crate::execute::{RunFolder, RunRecord, runs};
use crate::units::{bytes, duration, number};

/// Shows one run: its steps, what they cost, and what its claims came to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The run: an id, the beginning of one, or `latest`.
    #[arg(default_value = "latest")]
    run: String,
    /// How the run is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let (folder, record) = match runs::find(&home_here(), &arguments.run) {
        Ok(found) => found,
        Err(message) => {
            say(&format!("error: {message}"));
            return Exit::Wrong;
        }
    };
    match arguments.format {
        Format::Json => print(&format!("{:#}\n", serde_json::json!(record))),
        Format::Text => print(&text(&folder, &record)),
    }
}

fn text(folder: &RunFolder, run: &RunRecord) -> String {
    let mut out = format!("{}  {}  {}\n", run.id, run.experiment, run.status.name());
    out += &format!("{} on {} ({})\n", run.file.display(), run.device, run.cpu);
    let end = run.finished.as_deref().unwrap_or("…");
    out += &format!("{} to {end}, lyceum {}\n\n", run.started, run.version);
    let width = run
        .steps
        .iter()
        .map(|step| step.id.chars().count())
        .max()
        .unwrap_or_default();
    for step in &run.steps {
        let how = match &step.error {
            Some(error) => format!("failed: {error}"),
            None if step.cached => "cached".to_owned(),
            None => format!(
                "{}, {}",
                duration(step.wall_seconds),
                bytes(step.peak_memory_bytes as f64)
            ),
        };
        let flops = if step.flops > 0.0 {
            format!(", {} FLOPs", number(step.flops))
        } else {
            String::new()
        };
        out += &format!("{:width$}  {}  {how}{flops}\n", step.id, step.component);
    }
    for verdict in &run.verdicts {
        out += &format!("\nclaim {}: {}", verdict.outcome.name(), verdict.claim);
    }
    if folder.report_file().exists() {
        out += &format!("\nreport: {}\n", folder.report_file().display());
    }
    out
}
