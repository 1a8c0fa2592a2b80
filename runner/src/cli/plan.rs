//! `lyceum plan`.

use super::load::{load, open_store};
use super::{print, spec_options};
use crate::{Exit, device, plan};
use std::path::PathBuf;

/// Shows what would run, what is cached, which field made a step new, and what it would cost.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The experiment file.
    file: PathBuf,
    #[command(flatten)]
    spec: spec_options::SpecOptions,
    /// Takes missing files for what the experiment expects of them.
    #[arg(long)]
    assume: bool,
    /// How the plan is written.
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum PlanFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
}

pub(crate) fn run(arguments: &Arguments) -> Exit {
    let mut options = arguments.spec.options();
    options.assume = arguments.assume;
    let resolved = match load(&arguments.file, &options) {
        Ok(resolved) => resolved,
        Err(exit) => return exit,
    };
    let (class, name) = match device::choose(&resolved.runtime.device) {
        Ok(chosen) => (chosen.class, chosen.name),
        // A plan may be made on a machine that cannot run it.
        Err(_) => ("cpu".to_owned(), String::new()),
    };
    let store = open_store(&resolved);
    let mut planner = plan::Planner::new(&store);
    match planner.plan(&resolved, arguments.assume) {
        Ok(planned) => {
            let rates = plan::Rates::of(planner.recent(), &name, &device::cpu_name());
            print(&match arguments.format {
                PlanFormat::Text => plan::to_text(&planned, &class, &rates),
                PlanFormat::Json => format!("{:#}\n", plan::to_json(&planned, &class, &rates)),
                PlanFormat::Dot => plan::to_dot(&planned),
            })
        }
        Err(error) => {
            super::say(&format!("error: {error}"));
            Exit::Failed
        }
    }
}
