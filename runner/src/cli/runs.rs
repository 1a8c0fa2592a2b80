//! `lyceum runs`.

use super::load::home_here;
use super::{Format, print};
use crate::Exit;
use crate::execute::runs;

/// Lists what was run, oldest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How the listing is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let all = runs::all(&home_here());
    match arguments.format {
        Format::Json => {
            let rows: Vec<_> = all
                .iter()
                .map(|(_, run)| {
                    serde_json::json!({
                        "id": run.id, "experiment": run.experiment, "status": run.status.name(),
                        "started": run.started, "finished": run.finished, "steps": run.steps.len(),
                        "cached": run.steps.iter().filter(|step| step.cached).count(),
                    })
                })
                .collect();
            print(&format!("{:#}\n", serde_json::Value::from(rows)))
        }
        Format::Text => {
            let line = |(_, run): &(_, crate::execute::RunRecord)| {
                let cached = run.steps.iter().filter(|step| step.cached).count();
                let (id, status, name, steps) =
                    (&run.id, run.status.name(), &run.experiment, run.steps.len());
                format!("{id}  {status:<11}  {name}  {steps} steps, {cached} cached\n")
            };
            print(&all.iter().map(line).collect::<String>())
        }
    }
}
