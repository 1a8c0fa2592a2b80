//! `lyceum runs`.

use super::load::home_here;
use super::{Format, print};
use crate::Exit;
use crate::execute::index::{self, Summary};
use crate::units::count;

/// Lists what was run, oldest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the last N.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only runs of the experiment of this name.
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Only runs that stand so: running, done, failed or interrupted.
    #[arg(long, value_name = "STATUS", value_parser = ["running", "done", "failed", "interrupted"])]
    status: Option<String>,
    /// How the listing is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let mut all = index::list(&home_here());
    if let Some(name) = &arguments.experiment {
        all.retain(|run| run.experiment == *name);
    }
    if let Some(status) = &arguments.status {
        all.retain(|run| run.status.name() == status);
    }
    let from = arguments.limit.map_or(0, |limit| all.len().saturating_sub(limit));
    let shown = &all[from..];
    match arguments.format {
        Format::Json => print(&format!("{:#}\n", serde_json::json!(shown))),
        Format::Text => print(&shown.iter().map(line).collect::<String>()),
    }
}

fn line(run: &Summary) -> String {
    let Summary {
        id,
        experiment,
        steps,
        cached,
        ..
    } = run;
    let status = run.status.name();
    format!(
        "{id}  {status:<11}  {experiment}  {}, {cached} cached\n",
        count(*steps, "step")
    )
}
